"""Clocks."""

import math

from backend.demo.drawing.canvas import Surface, darker, lighter
from backend.demo.drawing.shapes import Point, ellipse, rounded
from backend.demo.drawing.sketch import CREAM, GOLDEN, INK, SILVER, WOODEN, Sketch

CASES: dict[str, Surface] = {"wood": WOODEN, "metal": SILVER, "ceramic": Surface((242, 238, 230), material="ceramic")}
DIGITS: dict[str, tuple[tuple[Point, ...], ...]] = {
    "12": (((-0.55, -0.6), (-0.55, 0.6)), ((-0.05, -0.45), (0.35, -0.6), (0.5, -0.2), (-0.05, 0.6), (0.55, 0.6))),
    "3": (((-0.3, -0.6), (0.25, -0.6), (-0.02, -0.05), (0.3, 0.25), (0.0, 0.6), (-0.35, 0.5)),),
    "6": (((0.25, -0.6), (-0.25, -0.1), (-0.25, 0.45), (0.05, 0.6), (0.3, 0.35), (0.05, 0.0), (-0.25, 0.25)),),
    "9": (((-0.25, 0.6), (0.25, 0.1), (0.25, -0.45), (-0.05, -0.6), (-0.3, -0.35), (-0.05, 0.0), (0.25, -0.25)),),
}
"""The strokes of each numeral, x and y from about -0.6 to 0.6."""


def draw_clock(sketch: Sketch) -> None:
    """A round clock: the case shows the material, the face the colour and the pattern."""
    canvas, case = sketch.canvas, CASES[sketch.surface.material]
    canvas.shadow(0.36)
    pendulum = "a pendulum" in sketch.details
    middle, radius = (0.38, 0.34) if pendulum else (0.54, 0.44)
    if pendulum:
        _pendulum(sketch, case)
    if "little feet" in sketch.details:
        for side in (-1, 1):
            canvas.stroke(
                [(side * 0.22, 0.8), (side * 0.34, 0.985)], 0.075, case.tinted(darker(case.colour, 0.3)), "tube"
            )
            canvas.fill(ellipse(side * 0.345, 0.975, 0.062, 0.04), case, "ball")
    if "two bells" in sketch.details:
        _bells(sketch, middle, radius)
    wide = radius * (1.06 if not pendulum else 1.1)
    canvas.fill(ellipse(0, middle, wide, radius), case, "ball", 0.9)
    canvas.fill(ellipse(0, middle, wide * 0.86, radius * 0.86), Surface(darker(case.colour, 0.45)), "flat")
    canvas.fill(
        ellipse(0.004, middle + 0.006, wide * 0.83, radius * 0.83),
        sketch.surface.__class__(sketch.surface.colour, sketch.surface.pattern, sketch.surface.second),
        "flat",
        0.5,
    )
    _dial(sketch, middle, wide * 0.83, radius * 0.83)


def _pendulum(sketch: Sketch, case: Surface) -> None:
    """A long case below the face with a swinging weight."""
    canvas = sketch.canvas
    canvas.fill(rounded(-0.25, 0.5, 0.25, 1.0, 0.04), case, "slab")
    canvas.fill(rounded(-0.19, 0.62, 0.19, 0.96, 0.02), Surface(darker(case.colour, 0.6)), "flat")
    swing = sketch.random.uniform(-0.07, 0.07)
    canvas.stroke([(0, 0.6), (swing, 0.84)], 0.02, GOLDEN)
    canvas.fill(ellipse(swing, 0.86, 0.085, 0.072), GOLDEN, "ball")


def _bells(sketch: Sketch, middle: float, radius: float) -> None:
    """Two bells and the hammer between them."""
    canvas, top = sketch.canvas, middle - radius
    canvas.stroke([(0, top + 0.03), (0, top - 0.06)], 0.03, SILVER)
    canvas.fill(ellipse(0, top - 0.07, 0.05, 0.03), SILVER, "ball")
    for side in (-1, 1):
        canvas.stroke([(side * 0.2, top + 0.1), (side * 0.28, top - 0.02)], 0.035, SILVER)
        canvas.fill(ellipse(side * 0.27, top + 0.015, 0.19, 0.1, side * 32), GOLDEN, "ball")


def _dial(sketch: Sketch, middle: float, wide: float, tall: float) -> None:
    """Numerals or ticks, and the hands."""
    canvas, mark = sketch.canvas, sketch.contrast
    if "big numbers" in sketch.details:
        _numbers(sketch, middle, wide, tall)
    else:
        for hour in range(12):
            angle = math.radians(30 * hour)
            x, y = math.sin(angle), -math.cos(angle)
            inner = 0.76 if hour % 3 == 0 else 0.84
            canvas.stroke(
                [(x * wide * inner, middle + y * tall * inner), (x * wide * 0.91, middle + y * tall * 0.91)],
                0.018,
                Surface(mark),
            )
    hour, minute = sketch.random.choice(((10, 10), (1, 50), (8, 20), (4, 40)))
    for angle, length, width in ((30 * hour + minute / 2, 0.42, 0.042), (6 * minute, 0.64, 0.028)):
        x, y = math.sin(math.radians(angle)), -math.cos(math.radians(angle))
        canvas.stroke([(0, middle), (x * wide * length, middle + y * tall * length)], width, Surface(mark))
    canvas.fill(ellipse(0, middle, 0.04, 0.038), Surface(lighter(mark, 0.3)), "ball")
    canvas.fill(
        ellipse(-wide * 0.35, middle - tall * 0.45, wide * 0.3, tall * 0.14, -35),
        Surface((255, 255, 255), opacity=0.22),
        "flat",
        0,
    )


def _numbers(sketch: Sketch, middle: float, wide: float, tall: float) -> None:
    """Large 12, 3, 6 and 9 on white plates."""
    for name, x, y in (("12", 0, -0.68), ("3", 0.68, 0), ("6", 0, 0.68), ("9", -0.68, 0)):
        cx, cy = x * wide, middle + y * tall
        sketch.canvas.fill(ellipse(cx, cy, wide * 0.29, tall * 0.29), Surface(CREAM), "flat", 0.4)
        for path in DIGITS[name]:
            sketch.canvas.stroke(
                [(cx + px * wide * 0.27, cy + py * tall * 0.27) for px, py in path], 0.034, Surface(INK)
            )
