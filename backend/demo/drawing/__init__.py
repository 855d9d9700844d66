"""Drawings of invented products, the same for the same item, seed and size."""

from random import Random

from PIL import Image

from backend.demo.attributes import COLOURS, Item
from backend.demo.drawing import bags, clocks, clothes, furniture, tableware, toys
from backend.demo.drawing.backgrounds import GROUND, room
from backend.demo.drawing.canvas import Canvas, Frame, Rgb, Surface
from backend.demo.drawing.sketch import Painter, Sketch

SUPERSAMPLING = 2

PAINTERS: dict[str, Painter] = {
    "plush toy": toys.draw_plush_toy,
    "cushion": toys.draw_cushion,
    "mug": tableware.draw_mug,
    "vase": tableware.draw_vase,
    "bottle": tableware.draw_bottle,
    "lamp": furniture.draw_lamp,
    "chair": furniture.draw_chair,
    "clock": clocks.draw_clock,
    "backpack": bags.draw_backpack,
    "sneaker": bags.draw_sneaker,
    "scarf": clothes.draw_scarf,
    "hat": clothes.draw_hat,
}
EXTENTS: dict[str, tuple[float, float]] = {
    "plush toy": (0.66, 0.7),
    "mug": (0.56, 0.52),
    "lamp": (0.52, 0.72),
    "chair": (0.56, 0.76),
    "backpack": (0.58, 0.7),
    "sneaker": (0.8, 0.5),
    "scarf": (0.66, 0.74),
    "vase": (0.5, 0.68),
    "clock": (0.58, 0.64),
    "hat": (0.7, 0.5),
    "bottle": (0.33, 0.66),
    "cushion": (0.68, 0.62),
}
"""Width and height of a large one, as shares of the picture."""
STRETCH: dict[str, tuple[float, float]] = {
    "small": (0.66, 0.66),
    "large": (1.0, 1.0),
    "tall": (0.68, 1.08),
    "short": (1.06, 0.58),
}
"""Width and height of each size against those of a large one."""


def draw(item: Item, seed: int, side: int) -> Image.Image:
    """The item as an RGB picture of `side` x `side` pixels; the seed varies place, shade and small forms only."""
    image = room(item.background, side * SUPERSAMPLING)
    paint(item, image, Random(f"{item.combination} {seed}"))
    return image.reduce(SUPERSAMPLING)


def paint(item: Item, image: Image.Image, random: Random, *, centre: float = 0.5, size: float = 1.0) -> None:
    """Draw the item into a room, which is changed: `centre` from left to right, `size` times as large as alone."""
    width, height = EXTENTS[item.kind]
    wide, high = STRETCH[item.size]
    scale = size * random.uniform(0.96, 1.04)
    frame = Frame(
        centre=centre + random.uniform(-0.03, 0.03),
        ground=GROUND + random.uniform(-0.012, 0.012),
        width=width * wide * scale,
        height=height * high * scale,
    )
    canvas = Canvas(image, frame, (random.random(), random.random()))
    second = _shade(COLOURS[item.second], random) if item.second else (255, 255, 255)
    surface = Surface(_shade(COLOURS[item.colour], random), item.pattern, second, item.material)
    PAINTERS[item.kind](Sketch(canvas, surface, frozenset(item.details), random))


def _shade(colour: Rgb, random: Random) -> Rgb:
    """The colour a little lighter or darker."""
    factor = random.uniform(0.93, 1.06)
    red, green, blue = (min(255, max(0, round(level * factor + random.uniform(-5, 5)))) for level in colour)
    return red, green, blue
