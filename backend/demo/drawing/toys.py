"""Plush toys and cushions: soft round things."""

from backend.demo.drawing.canvas import Surface, darker
from backend.demo.drawing.shapes import Point, blob, curve, ellipse, flipped, mirrored, rounded
from backend.demo.drawing.sketch import CREAM, INK, Sketch


def draw_plush_toy(sketch: Sketch) -> None:
    """A sitting bear: big head, round belly, four paws."""
    canvas, fur = sketch.canvas, sketch.surface
    plain = fur.plain()
    canvas.shadow(0.42)
    for side in (-1, 1):
        canvas.fill(ellipse(side * 0.3, 0.68, 0.11, 0.18, side * -32), plain, "ball", 0.8)
    canvas.fill(ellipse(0, 0.74, 0.29, 0.26), fur, "ball", 0.9)
    canvas.fill(ellipse(0, 0.77, 0.16, 0.16), plain.tinted(sketch.lit), "ball", 0.35)
    for side in (-1, 1):
        canvas.fill(ellipse(side * 0.24, 0.91, 0.15, 0.105, side * 8), plain, "ball", 0.8)
        canvas.fill(ellipse(side * 0.25, 0.915, 0.085, 0.06), plain.tinted(sketch.lit), "flat", 0.5)
    _ears(sketch)
    canvas.blur(0, 0.54, 0.26, 0.06, (40, 28, 44), 0.5)
    canvas.fill(mirrored([(0, 0.08), (0.2, 0.1), (0.34, 0.25), (0.36, 0.38), (0.25, 0.52), (0, 0.56)]), fur, "ball")
    _face(sketch)
    if "a bow tie" in sketch.details:
        _bow(sketch)


def _ears(sketch: Sketch) -> None:
    """Round ears on top, or long ones that stand up and bend outward."""
    canvas, plain = sketch.canvas, sketch.surface.plain()
    inner = plain.tinted(sketch.lit)
    for side in (-1, 1):
        if "long ears" in sketch.details:
            long: list[Point] = [(0.1, 0.2), (0.11, -0.02), (0.19, -0.17), (0.29, -0.13), (0.3, 0.03), (0.24, 0.2)]
            lining: list[Point] = [(0.15, 0.12), (0.16, -0.01), (0.2, -0.1), (0.25, -0.07), (0.25, 0.03), (0.21, 0.12)]
            canvas.fill(blob(long if side > 0 else flipped(long)), plain, "tube", 0.8)
            canvas.fill(blob(lining if side > 0 else flipped(lining)), inner, "flat", 0.8)
        else:
            canvas.fill(ellipse(side * 0.25, 0.13, 0.115, 0.105), plain, "ball", 0.8)
            canvas.fill(ellipse(side * 0.25, 0.135, 0.065, 0.058), inner, "flat", 0.8)


def _face(sketch: Sketch) -> None:
    """Eyes, muzzle and nose."""
    canvas = sketch.canvas
    canvas.fill(ellipse(0, 0.42, 0.145, 0.105), sketch.surface.tinted(sketch.lit), "ball", 0.35)
    if "rosy cheeks" in sketch.details:
        for side in (-1, 1):
            canvas.blur(side * 0.235, 0.415, 0.105, 0.085, (236, 84, 110), 1.0)
            canvas.blur(side * 0.235, 0.415, 0.08, 0.065, (236, 84, 110), 1.0)
    for side in (-1, 1):
        if "big eyes" in sketch.details:
            canvas.fill(
                ellipse(side * 0.145, 0.28, 0.108, 0.108), Surface((252, 251, 247), material="ceramic"), "ball", 0.3
            )
            canvas.spot(ellipse(side * 0.13, 0.29, 0.07, 0.07), INK)
            canvas.spot(ellipse(side * 0.13 - 0.028, 0.262, 0.026, 0.026), (255, 255, 255))
        else:
            canvas.spot(ellipse(side * 0.13, 0.31, 0.03, 0.03), INK)
            canvas.spot(ellipse(side * 0.13 - 0.01, 0.302, 0.009, 0.009), (255, 255, 255))
    canvas.fill(blob([(-0.05, 0.375), (0.05, 0.375), (0.02, 0.415), (-0.02, 0.415)]), Surface(INK), "ball", 0.6)
    canvas.stroke(curve([(-0.06, 0.455), (-0.02, 0.47), (0, 0.445), (0.02, 0.47), (0.06, 0.455)]), 0.013, Surface(INK))


def _bow(sketch: Sketch) -> None:
    """A bow tie under the chin."""
    silk = Surface((196, 48, 62) if sketch.surface.colour[0] < 190 else (52, 78, 146), material="silk")
    for side in (-1, 1):
        wing: list[Point] = [(0.0, 0.575), (0.17, 0.5), (0.19, 0.58), (0.17, 0.66)]
        sketch.canvas.fill(blob(wing if side > 0 else flipped(wing)), silk, "ball", 0.9)
    sketch.canvas.fill(rounded(-0.04, 0.54, 0.04, 0.62, 0.03), silk.tinted(darker(silk.colour, 0.25)), "ball", 0.8)


def draw_cushion(sketch: Sketch) -> None:
    """A plump square standing on its edge."""
    canvas, cover = sketch.canvas, sketch.surface
    canvas.shadow(0.44, 0.045)
    if "a fringe" in sketch.details:
        _fringe(sketch)
    body = blob(
        [
            (-0.44, 0.05),
            (-0.2, 0.085),
            (0, 0.07),
            (0.2, 0.085),
            (0.44, 0.05),
            (0.415, 0.3),
            (0.43, 0.5),
            (0.415, 0.75),
            (0.44, 0.985),
            (0.2, 0.96),
            (0, 0.975),
            (-0.2, 0.96),
            (-0.44, 0.985),
            (-0.415, 0.75),
            (-0.43, 0.5),
            (-0.415, 0.3),
        ]
    )
    canvas.fill(body, cover, "ball", 0.85)
    if "a piped edge" in sketch.details:
        canvas.stroke([*body, body[0]], 0.035, Surface(sketch.contrast), "tube", 0.8)
    for x, y, dx, dy in ((-0.43, 0.06, 1, 1), (0.43, 0.06, -1, 1), (-0.43, 0.975, 1, -1), (0.43, 0.975, -1, -1)):
        canvas.stroke(
            [(x + dx * 0.02, y + dy * 0.02), (x + dx * 0.1, y + dy * 0.13)],
            0.012,
            Surface(sketch.shadowed, opacity=0.5),
        )
    _trimmings(sketch)


def _trimmings(sketch: Sketch) -> None:
    """Buttons on the front, pompoms at the corners."""
    canvas = sketch.canvas
    if "buttons" in sketch.details:
        for x, y in ((-0.19, 0.33), (0.19, 0.33), (0, 0.52), (-0.19, 0.72), (0.19, 0.72)):
            canvas.blur(x, y, 0.12, 0.12, sketch.shadowed, 0.8)
            canvas.fill(ellipse(x, y, 0.042, 0.045), Surface(sketch.contrast, material="ceramic"), "ball")
    if "pompoms" in sketch.details:
        for x, y in ((-0.45, 0.05), (0.45, 0.05), (-0.45, 0.95), (0.45, 0.95)):
            canvas.fill(
                ellipse(x, y, 0.085, 0.088),
                Surface(CREAM if sketch.contrast == CREAM else (92, 74, 92), material="wool"),
                "ball",
            )


def _fringe(sketch: Sketch) -> None:
    """Threads along the left and right edges."""
    for step in range(17):
        y = 0.07 + step * 0.0555
        for side in (-1, 1):
            points = [(side * 0.41, y), (side * 0.54, y + 0.02)]
            sketch.canvas.stroke(points, 0.024, Surface(sketch.contrast if step % 2 else sketch.lit, material="cotton"))
