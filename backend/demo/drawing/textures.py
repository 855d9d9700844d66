"""Pattern masks, material relief and light maps, as square 8-bit pictures that are drawn once and cached.

Every size here is in pixels of the picture being drawn; `side` is the whole picture's width.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from backend.demo.drawing.shapes import ellipse, star

Field = NDArray[np.floating[Any]]
LIGHT_SIDE = 48


def _picture(values: Field) -> Image.Image:
    """An 8-bit picture of values between 0 and 1."""
    return Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8), "L")


@lru_cache(maxsize=64)
def pattern_mask(pattern: str, side: int) -> Image.Image:
    """Where the second colour shows, 0 or 255, over a square of twice the picture's side."""
    if pattern in ("floral", "starry", "dotted"):
        return _scattered(pattern, side)
    period = side * {"striped": 0.085, "checked": 0.12, "zigzag": 0.11}[pattern]
    y, x = np.mgrid[0 : 2 * side, 0 : 2 * side].astype(np.float32) / period
    if pattern == "striped":
        mask = (y % 1) < 0.45
        return _picture(mask.astype(np.float32))
    if pattern == "checked":
        mask = ((x % 1) < 0.5) ^ ((y % 1) < 0.5)
        return _picture(mask.astype(np.float32))
    wave = np.abs((x * 0.9) % 1 - 0.5) * 1.3
    return _picture((((y + wave) % 1) < 0.42).astype(np.float32))


def _scattered(pattern: str, side: int) -> Image.Image:
    """Dots, flowers or stars on a staggered grid."""
    pitch = side * {"dotted": 0.085, "starry": 0.115, "floral": 0.13}[pattern]
    image = Image.new("L", (2 * side, 2 * side), 0)
    draw = ImageDraw.Draw(image)
    for row in range(int(2 * side / (pitch * 0.8)) + 2):
        for column in range(int(2 * side / pitch) + 2):
            x, y = (column + 0.5 * (row % 2)) * pitch, row * pitch * 0.82
            if pattern == "dotted":
                draw.polygon(ellipse(x, y, pitch * 0.26, pitch * 0.26), fill=255)
            elif pattern == "starry":
                draw.polygon(star(x, y, pitch * 0.42, inner=0.42), fill=255)
            else:
                _flower(draw, x, y, pitch * 0.4, 18.0 * (row + column))
    return image


def _flower(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, turn: float) -> None:
    """Five petals about an empty heart."""
    for petal in range(5):
        angle = math.radians(turn + 72 * petal)
        draw.polygon(
            ellipse(
                x + math.cos(angle) * radius * 0.62, y + math.sin(angle) * radius * 0.62, radius * 0.4, radius * 0.4
            ),
            fill=255,
        )
    draw.polygon(ellipse(x, y, radius * 0.3, radius * 0.3), fill=0)


@lru_cache(maxsize=32)
def relief(material: str, side: int) -> tuple[Image.Image, Image.Image] | None:
    """(dark, light) opacity maps of the material's surface over the picture, or None for a smooth one."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    makers = {
        "wool": _knit,
        "wicker": _weave,
        "wood": _grain,
        "cotton": _cloth,
        "leather": _pebble,
        "metal": _brushed,
        "velvet": _nap,
    }
    if material not in makers:
        return None
    height = makers[material](x, y)
    return _picture(np.maximum(-height, 0)), _picture(np.maximum(height, 0))


def _knit(x: Field, y: Field) -> Field:
    """Columns of V-shaped stitches."""
    columns, rows = x * 34, y * 30
    across = columns % 1 - 0.5
    stitch = (rows + np.abs(across) * 1.3) % 1
    height: Field = np.where(
        np.abs(across) > 0.42, -0.34, np.where(stitch < 0.3, -0.3, 0.16 * np.sin(stitch * math.pi))
    )
    return height


def _weave(x: Field, y: Field) -> Field:
    """Strands that pass over and under each other."""
    columns, rows = x * 22, y * 22
    over = (np.floor(columns) + np.floor(rows)) % 2
    strand = np.where(over == 0, np.sin((rows % 1) * math.pi), np.sin((columns % 1) * math.pi))
    height = (strand - 0.62) * 0.75
    woven: Field = np.where(strand < 0.35, -0.5, np.minimum(height, 0.25))
    return woven


def _grain(x: Field, y: Field) -> Field:
    """Long wavering rings of wood."""
    rings = np.sin((x * 11 + 0.35 * np.sin(y * 5) + 0.16 * np.sin(y * 17 + x * 9)) * 2 * math.pi)
    fine = np.sin((x * 47 + 0.5 * np.sin(y * 9)) * 2 * math.pi)
    height: Field = 0.2 * rings + 0.07 * fine
    return height - 0.06


def _cloth(x: Field, y: Field) -> Field:
    """A faint plain weave."""
    height: Field = 0.05 * np.sin(x * 70 * 2 * math.pi) * np.sin(y * 70 * 2 * math.pi)
    return height


def _pebble(x: Field, y: Field) -> Field:
    """The small cells of grained leather under a broad sheen."""
    cells = np.sin(x * 210 + 2 * np.sin(y * 61)) * np.sin(y * 200 + 2 * np.sin(x * 57))
    sheen = np.sin((x * 2.1 + y * 2.7 + 0.3 * np.sin(x * 9)) * 2 * math.pi)
    height: Field = 0.04 * cells + 0.14 * sheen
    return height


def _brushed(x: Field, y: Field) -> Field:
    """Broad reflections with fine lines drawn along them."""
    broad = np.sin((x * 2.6 + y * 1.3) * 2 * math.pi)
    fine = np.sin((x * 61 + y * 0.6) * 2 * math.pi)
    height: Field = 0.26 * broad + 0.05 * fine
    return height


def _nap(x: Field, y: Field) -> Field:
    """Soft patches where the pile lies differently."""
    across = np.sin((x * 4.1 + 0.6 * np.sin(y * 8)) * 2 * math.pi)
    along = np.sin((y * 3.7 + 0.5 * np.sin(x * 7)) * 2 * math.pi)
    height: Field = 0.2 * across * along
    return height


@lru_cache(maxsize=16)
def light_map(form: str) -> tuple[Image.Image, Image.Image]:
    """(dark, light) opacity maps of a form lit from the upper left: "ball", "tube", "slab" or "flat"."""
    y, x = np.mgrid[0:LIGHT_SIDE, 0:LIGHT_SIDE].astype(np.float32) / (LIGHT_SIDE - 1) * 2 - 1
    if form == "ball":
        lit = 1 - np.sqrt((x + 0.35) ** 2 + (y + 0.42) ** 2) / 1.75
        return _picture(np.clip(0.5 - lit, 0, 1) * 0.85), _picture(np.clip(lit - 0.6, 0, 1) * 0.75)
    if form == "tube":
        dark = np.clip(np.abs(x + 0.18) - 0.42, 0, 1) * 0.62 + 0.06 * (y + 1) / 2
        return _picture(dark), _picture(np.exp(-(((x + 0.42) / 0.2) ** 2)) * 0.3)
    if form == "slab":
        return _picture(np.clip((x + y) / 2, 0, 1) * 0.3 + np.clip(np.abs(x) - 0.86, 0, 1)), _picture(
            np.clip(-(x + y) / 2 - 0.1, 0, 1) * 0.25
        )
    return _picture(np.clip(y, 0, 1) * 0.1), _picture(np.clip(-y, 0, 1) * 0.06)


@lru_cache(maxsize=1)
def soft_spot() -> Image.Image:
    """A round spot that fades out, the opacity of a contact shadow or a glow."""
    y, x = np.mgrid[0:64, 0:64].astype(np.float32) / 31.5 - 1
    radius = np.sqrt(x * x + y * y)
    return _picture(np.clip(1 - radius, 0, 1) ** 1.4)
