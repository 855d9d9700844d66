"""Scarves and hats."""

from backend.demo.drawing.canvas import Canvas, Surface, darker, lighter
from backend.demo.drawing.shapes import Point, blob, curve, ellipse, flipped, mirrored, ribbon, rounded
from backend.demo.drawing.sketch import CREAM, Sketch


def draw_scarf(sketch: Sketch) -> None:
    """A scarf laid in a loop, its two ends crossing in front."""
    canvas, cloth = sketch.canvas, sketch.surface
    canvas.shadow(0.36, 0.03, 0.35)
    behind = cloth.tinted(darker(cloth.colour, 0.28)) if cloth.pattern == "plain" else cloth
    canvas.fill(
        ribbon(
            [(-0.02, 0.36), (-0.24, 0.24), (-0.22, 0.08), (0, 0.05), (0.22, 0.08), (0.24, 0.24), (0.02, 0.36)], 0.15
        ),
        behind,
        "ball",
        1.1,
    )
    _end(sketch, [(0.3, 0.2), (0.14, 0.38), (-0.1, 0.58), (-0.24, 0.87)], -1)
    canvas.blur(0.02, 0.5, 0.2, 0.2, (40, 28, 44), 0.45)
    _end(sketch, [(-0.3, 0.2), (-0.14, 0.38), (0.1, 0.58), (0.24, 0.87)], 1)
    if "a big knot" in sketch.details:
        canvas.blur(0.01, 0.5, 0.26, 0.17, (40, 28, 44), 0.75)
        canvas.fill(
            blob([(-0.2, 0.4), (0.0, 0.35), (0.19, 0.41), (0.18, 0.56), (0.0, 0.6), (-0.2, 0.55)]), cloth, "ball", 1.2
        )
        for offset in (-0.09, 0.0, 0.09):
            fold = curve([(offset - 0.02, 0.38), (offset + 0.03, 0.47), (offset - 0.03, 0.58)])
            canvas.stroke(fold, 0.016, Surface(sketch.shadowed, opacity=0.7))


def _end(sketch: Sketch, line: list[Point], side: int) -> None:
    """One end that falls to the left (-1) or the right (1), with what finishes it: a border, pompoms or a fringe."""
    canvas, cloth = sketch.canvas, sketch.surface
    x, y = line[-1]
    tips = [(x + share * 0.23, y - side * share * 0.1) for share in (-0.5, -0.33, -0.17, 0.0, 0.17, 0.33, 0.5)]
    if "a fringe" in sketch.details:
        for step, (tx, ty) in enumerate(tips):
            canvas.stroke(
                [(tx, ty - 0.03), (tx + side * 0.045, ty + 0.1)],
                0.028,
                Surface(sketch.lit if step % 2 else sketch.shadowed, material="cotton"),
            )
    canvas.fill(ribbon(line, 0.24), cloth, "slab", 0.9)
    if "a wide border" in sketch.details:
        canvas.fill(
            ribbon([(x - side * 0.09, y - 0.2), (x - side * 0.05, y - 0.11), (x, y)], 0.245),
            Surface(sketch.contrast, material=cloth.material),
            "slab",
            0.8,
        )
    if "pompoms" in sketch.details:
        for tx, ty in (tips[0], tips[3], tips[6]):
            canvas.fill(
                ellipse(tx, ty + 0.03, 0.075, 0.066), Surface(lighter(sketch.contrast, 0.15), material="wool"), "ball"
            )


def draw_hat(sketch: Sketch) -> None:
    """A cap with a rolled edge, or a brimmed hat."""
    canvas, surface = sketch.canvas, sketch.surface
    brimmed = "a wide brim" in sketch.details
    canvas.shadow(0.5 if brimmed else 0.38)
    if "ear flaps" in sketch.details:
        canvas = canvas.raised(0.16)
        for side in (-1, 1):
            flap: list[Point] = [(0.2, 0.6), (0.4, 0.6), (0.43, 0.85), (0.37, 1.13), (0.27, 1.1), (0.2, 0.9)]
            canvas.fill(
                blob(flap if side > 0 else flipped(flap)), surface.tinted(darker(surface.colour, 0.15)), "ball", 0.9
            )
            canvas.fill(ellipse(side * 0.325, 1.0, 0.06, 0.11), Surface(CREAM, material="wool"), "ball", 0.6)
    if brimmed:
        canvas.fill(ellipse(0, 0.9, 0.56, 0.13), surface.tinted(sketch.shadowed), "tube", 0.7)
        canvas.fill(ellipse(0, 0.865, 0.56, 0.125), surface.plain(), "slab", 0.9)
        canvas.blur(0.03, 0.86, 0.4, 0.1, (40, 28, 44), 0.55)
    crown = mirrored([(0, 0.12), (0.16, 0.13), (0.3, 0.28), (0.36, 0.6), (0.365, 0.84), (0.2, 0.905), (0, 0.925)])
    canvas.fill(crown, surface, "ball", 0.9)
    if not brimmed:
        canvas.fill(rounded(-0.4, 0.68, 0.4, 0.92, 0.1), surface.tinted(sketch.lit), "tube", 0.9)
        for step in range(13):
            canvas.stroke(
                [(-0.36 + step * 0.06, 0.71), (-0.36 + step * 0.06, 0.895)], 0.01, Surface(sketch.shadowed, opacity=0.5)
            )
    if "a ribbon" in sketch.details:
        _ribbon(sketch, canvas, 0.6 if not brimmed else 0.72)
    if "a pompom" in sketch.details:
        canvas.fill(ellipse(0, 0.08, 0.15, 0.19), Surface(lighter(sketch.contrast, 0.12), material="wool"), "ball")


def _ribbon(sketch: Sketch, canvas: Canvas, y: float) -> None:
    """A silk band with a bow on the right."""
    silk = Surface((186, 46, 66) if sketch.surface.colour[0] < 180 else (44, 62, 120), material="silk")
    band = curve([(-0.36, y), (-0.2, y + 0.05), (0, y + 0.065), (0.2, y + 0.05), (0.36, y)])
    canvas.stroke(band, 0.115, silk, "flat")
    for wing in (
        [(0.22, y + 0.03), (0.12, y - 0.12), (0.05, y + 0.02), (0.1, y + 0.14)],
        [(0.22, y + 0.03), (0.32, y - 0.13), (0.41, y), (0.35, y + 0.14)],
    ):
        canvas.fill(blob(wing), silk, "ball", 0.9)
    canvas.fill(ellipse(0.22, y + 0.03, 0.045, 0.06), silk.tinted(darker(silk.colour, 0.25)), "ball")
