"""Calm rooms to show a product in: a wall, a ground it stands on and soft light from the upper left."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from backend.demo.drawing.canvas import Rgb, darker, lighter, mix

WALLS: dict[str, Rgb] = {
    "cream": (246, 237, 220),
    "pale grey": (226, 228, 231),
    "sand": (232, 216, 194),
    "mint": (215, 232, 221),
    "rose": (245, 222, 218),
    "sky": (214, 228, 240),
    "lilac": (228, 221, 238),
    "warm white": (248, 245, 239),
}
SETTINGS: dict[str, str] = {
    "cream": "shelf",
    "pale grey": "studio",
    "sand": "arch",
    "mint": "shelf",
    "rose": "arch",
    "sky": "disc",
    "lilac": "studio",
    "warm white": "disc",
}
GROUND = 0.86
"""Height of the line where products stand, as a share of the picture from the top."""


@lru_cache(maxsize=32)
def _room(background: str, side: int) -> Image.Image:
    """The empty room; callers copy it."""
    wall = WALLS[background]
    image = Image.new("RGB", (side, side), wall)
    draw = ImageDraw.Draw(image)
    setting = SETTINGS[background]
    if setting == "arch":
        panel = mix(darker(wall, 0.1), (214, 160, 120), 0.16)
        draw.rounded_rectangle((0.14 * side, 0.06 * side, 0.86 * side, 1.2 * side), radius=0.36 * side, fill=panel)
    if setting == "disc":
        disc = lighter(wall, 0.55) if background == "sky" else mix(wall, (233, 214, 186), 0.55)
        draw.ellipse((0.13 * side, 0.08 * side, 0.87 * side, 0.82 * side), fill=disc)
    _ground(draw, setting, wall, side)
    return _lit(image)


def _ground(draw: ImageDraw.ImageDraw, setting: str, wall: Rgb, side: int) -> None:
    """The floor or the shelf board, whose lines tell how large the product is."""
    top, front = 0.80 * side, 0.915 * side
    if setting == "shelf":
        board = mix(wall, (206, 164, 118), 0.75)
        draw.rectangle((0, top, side, front), fill=lighter(board, 0.12))
        draw.rectangle((0, front, side, 0.965 * side), fill=darker(board, 0.18))
        draw.rectangle((0, 0.965 * side, side, side), fill=darker(wall, 0.2))
    else:
        draw.rectangle((0, top, side, side), fill=darker(wall, 0.09))
        draw.rectangle((0, top, side, top + max(1, side // 160)), fill=darker(wall, 0.15))


def _lit(image: Image.Image) -> Image.Image:
    """The picture under a light that fades from the upper left, darker towards the corners."""
    side = image.width
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    light = 1.045 - 0.15 * ((x - 0.32) ** 2 + (y - 0.3) ** 2) ** 0.75
    pixels = np.asarray(image, dtype=np.float32) * light[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")


def room(background: str, side: int) -> Image.Image:
    """A fresh picture of the empty room, `side` x `side` pixels RGB."""
    return _room(background, side).copy()
