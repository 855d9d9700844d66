"""Mugs, vases and bottles: turned vessels of ceramic, glass or metal."""

from dataclasses import replace

from backend.demo.drawing.canvas import Surface, darker, lighter
from backend.demo.drawing.shapes import Outline, Point, blob, curve, ellipse, mirrored, rounded
from backend.demo.drawing.sketch import CREAM, GOLDEN, INK, SILVER, TIMBER, WOODEN, Sketch


def _vessel(sketch: Sketch, outline: Outline) -> None:
    """The body of a vessel; glass lets the room shine through and carries two bright streaks."""
    surface = sketch.surface
    if surface.material != "glass":
        sketch.canvas.fill(outline, surface, "tube")
        return
    sketch.canvas.fill(outline, replace(surface, opacity=0.72), "tube", 0.55)


def _glints(sketch: Sketch, left: float, top: float, bottom: float) -> None:
    """The streaks that tell glass and glaze from matt ware, along a vessel's left side."""
    if sketch.surface.material == "glass":
        sketch.canvas.stroke([(left, top), (left, bottom)], 0.045, Surface((255, 255, 255), opacity=0.8))
        sketch.canvas.stroke([(-left, top + 0.1), (-left, bottom)], 0.022, Surface((255, 255, 255), opacity=0.6))
    if sketch.surface.material == "ceramic":
        sketch.canvas.fill(
            ellipse(left, top + (bottom - top) * 0.2, 0.028, (bottom - top) * 0.2),
            Surface((255, 255, 255), opacity=0.55),
        )


def _mouth(sketch: Sketch, y: float, half: float, tall: float) -> None:
    """The opening of a vessel seen from a little above, with a gold rim where it has one."""
    canvas = sketch.canvas
    golden = "a gold rim" in sketch.details
    canvas.fill(ellipse(0, y, half, tall), GOLDEN if golden else sketch.surface.tinted(sketch.lit), "tube", 0.6)
    margin = 0.045 if golden else 0.028
    inside = darker(sketch.surface.colour, 0.45 if sketch.surface.material != "glass" else 0.15)
    canvas.fill(ellipse(0, y + tall * 0.08, half - margin, tall * 0.76), Surface(inside), "flat")
    if golden:
        canvas.stroke(
            curve(
                [
                    (-half * 0.985, y + 0.01),
                    (-half * 0.6, y + tall * 0.95),
                    (0, y + tall * 1.22),
                    (half * 0.6, y + tall * 0.95),
                    (half * 0.985, y + 0.01),
                ]
            ),
            0.04,
            GOLDEN,
            "tube",
            0.5,
        )


def draw_mug(sketch: Sketch) -> None:
    """A straight mug with its handle on the right."""
    canvas, plain = sketch.canvas, sketch.surface.plain()
    saucer = "a saucer" in sketch.details
    canvas.shadow(0.5 if saucer else 0.36)
    if saucer:
        canvas.fill(ellipse(-0.04, 0.965, 0.52, 0.085), plain.tinted(sketch.shadowed), "tube")
        canvas.fill(ellipse(-0.04, 0.94, 0.52, 0.08), plain, "tube", 0.7)
        canvas.fill(ellipse(-0.04, 0.94, 0.36, 0.05), plain.tinted(sketch.shadowed), "flat")
    big = "a big handle" in sketch.details
    reach, thick = (0.56, 0.09) if big else (0.4, 0.055)
    top, bottom = (0.2, 0.84) if big else (0.34, 0.68)
    grip: list[Point] = [
        (0.24, top),
        (reach - 0.06, top - 0.01),
        (reach, (top + bottom) / 2),
        (reach - 0.08, bottom),
        (0.22, bottom),
    ]
    canvas.stroke(curve(grip), thick + 0.012, plain.tinted(sketch.shadowed))
    canvas.stroke(curve(grip), thick, plain, "tube", 0.7)
    body = [
        (-0.36, 0.12),
        *curve([(-0.36, 0.14), (-0.35, 0.6), (-0.32, 0.92), (-0.2, 0.985), (0, 0.99)]),
        *curve([(0, 0.99), (0.12, 0.985), (0.24, 0.92), (0.27, 0.6), (0.28, 0.14)]),
        (0.28, 0.12),
    ]
    _vessel(sketch, [(x + 0.04, y) for x, y in body])
    _top(sketch)
    _glints(sketch, -0.24, 0.3, 0.85)


def _top(sketch: Sketch) -> None:
    """The mug's opening, or the lid that covers it."""
    canvas = sketch.canvas
    if "a lid" in sketch.details:
        knob = WOODEN if sketch.surface.material != "metal" else SILVER
        canvas.fill(ellipse(0, 0.13, 0.345, 0.085), knob.tinted(darker(knob.colour, 0.3)), "tube")
        canvas.fill(
            blob(
                [
                    (-0.33, 0.11),
                    (-0.2, 0.04),
                    (0, 0.02),
                    (0.2, 0.04),
                    (0.33, 0.11),
                    (0.2, 0.165),
                    (0, 0.18),
                    (-0.2, 0.165),
                ]
            ),
            knob,
            "tube",
            0.8,
        )
        canvas.fill(ellipse(0, -0.015, 0.075, 0.07), knob, "ball")
        if "a gold rim" in sketch.details:
            canvas.stroke(
                curve([(-0.325, 0.17), (-0.2, 0.235), (0, 0.26), (0.2, 0.235), (0.325, 0.17)]),
                0.045,
                GOLDEN,
                "tube",
                0.5,
            )
    else:
        _mouth(sketch, 0.13, 0.325, 0.085)


def draw_vase(sketch: Sketch) -> None:
    """A belly on a foot; its neck is wide, or narrow where that is the detail."""
    canvas = sketch.canvas
    narrow = "a narrow neck" in sketch.details
    canvas.shadow(0.3)
    stems = "dried stems" in sketch.details
    top = 0.32 if stems else 0.08
    if stems:
        _stems(sketch, top)
    neck = 0.085 if narrow else 0.25
    span = 1 - top
    half: list[Point] = [
        (neck + 0.03, top),
        (neck, top + 0.06 * span),
        (neck, top + (0.3 if narrow else 0.12) * span),
        (0.38, top + 0.55 * span),
        (0.37, top + 0.72 * span),
        (0.22, top + 0.96 * span),
        (0.2, 1.0),
    ]
    if "two handles" in sketch.details:
        for side in (-1, 1):
            loop: list[Point] = [
                (side * neck, top + 0.07 * span),
                (side * (neck + 0.2), top + 0.02 * span),
                (side * 0.47, top + 0.24 * span),
                (side * 0.36, top + 0.46 * span),
            ]
            canvas.stroke(curve(loop), 0.072, sketch.surface.tinted(sketch.shadowed))
            canvas.stroke(curve(loop), 0.056, sketch.surface.plain(), "tube", 0.6)
    _vessel(sketch, mirrored(half))
    _mouth(sketch, top + 0.005, neck + 0.03, 0.022 if narrow else 0.045)
    _glints(sketch, -0.24, top + 0.5 * span, top + 0.85 * span)


def _stems(sketch: Sketch, top: float) -> None:
    """Dried grasses with seed heads."""
    for lean in (-0.3, -0.17, -0.04, 0.1, 0.22, 0.33):
        height = abs(lean) * 0.3 + sketch.random.uniform(-0.03, 0.03)
        path = curve([(lean * 0.2, top + 0.1), (lean * 0.5, top - 0.1), (lean, height + 0.06)])
        sketch.canvas.stroke(path, 0.014, Surface((150, 120, 72)))
        sketch.canvas.fill(
            ellipse(lean * 1.04, height, 0.04, 0.085, lean * 70), Surface((206, 170, 110), material="wool"), "ball", 0.7
        )


def draw_bottle(sketch: Sketch) -> None:
    """A drinking bottle with rounded shoulders."""
    canvas, surface = sketch.canvas, sketch.surface
    canvas.shadow(0.42)
    half: list[Point] = [(0.2, 0.13), (0.2, 0.2), (0.24, 0.26), (0.42, 0.36), (0.44, 0.46), (0.44, 0.94), (0.38, 1.0)]
    cap = Surface(INK if sketch.contrast == INK else CREAM, material="ceramic")
    if "a straw" in sketch.details:
        canvas.stroke(
            [(0.04, 0.16), (0.08, -0.05), (0.3, -0.1)],
            0.07,
            Surface((214, 62, 70) if sketch.surface.colour[0] < 190 else (60, 96, 170)),
            "tube",
            0.4,
        )
    _vessel(sketch, mirrored(half))
    _glints(sketch, -0.28, 0.48, 0.9)
    if "a lid" in sketch.details:
        canvas.fill(rounded(-0.3, -0.02, 0.3, 0.175, 0.07), cap, "tube")
        canvas.fill(rounded(-0.3, 0.13, 0.3, 0.175, 0.02), cap.tinted(lighter(cap.colour, 0.25)), "tube")
    else:
        canvas.fill(ellipse(0, 0.13, 0.2, 0.02), surface.tinted(darker(surface.colour, 0.5)))
        canvas.fill(rounded(-0.215, 0.12, 0.215, 0.165, 0.02), surface.tinted(sketch.lit), "tube")
    if "a carry loop" in sketch.details:
        loop = curve([(-0.19, 0.19), (-0.44, 0.09), (-0.4, -0.05), (0, -0.1), (0.4, -0.05), (0.44, 0.09), (0.19, 0.19)])
        canvas.stroke(loop, 0.075, Surface(darker(TIMBER, 0.35)))
        canvas.stroke(loop, 0.055, Surface(TIMBER, material="leather"), "tube", 0.5)
    if "a sleeve" in sketch.details:
        _sleeve(sketch)


def _sleeve(sketch: Sketch) -> None:
    """A knitted band about the lower half."""
    yarn = Surface((112, 98, 88) if sketch.contrast == INK else (226, 214, 192), material="wool")
    sketch.canvas.fill(rounded(-0.465, 0.58, 0.465, 0.9, 0.04), yarn, "tube")
    for y in (0.6, 0.875):
        sketch.canvas.stroke([(-0.44, y), (0.44, y)], 0.03, yarn.tinted(darker(yarn.colour, 0.25)))
