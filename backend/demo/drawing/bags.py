"""Backpacks and sneakers."""

from backend.demo.drawing.canvas import Surface, darker, lighter
from backend.demo.drawing.shapes import Outline, Point, blob, curve, ellipse, mirrored, rounded
from backend.demo.drawing.sketch import CREAM, GOLDEN, Sketch

LEATHER = Surface((150, 98, 62), material="leather")


def draw_backpack(sketch: Sketch) -> None:
    """A rounded bag seen from the front, with straps behind and a grip on top."""
    canvas, surface = sketch.canvas, sketch.surface
    canvas.shadow(0.4)
    if "a bedroll" in sketch.details:
        _bedroll(sketch)
    for side in (-1, 1):
        canvas.stroke(
            curve([(side * 0.3, 0.25), (side * 0.49, 0.45), (side * 0.47, 0.8), (side * 0.36, 0.92)]),
            0.07,
            surface.tinted(sketch.shadowed),
            "tube",
            0.5,
        )
    canvas.stroke(
        curve([(-0.1, 0.12), (-0.09, 0.02), (0.09, 0.02), (0.1, 0.12)]), 0.04, surface.tinted(sketch.shadowed)
    )
    canvas.fill(
        mirrored(
            [(0, 0.08), (0.2, 0.09), (0.34, 0.2), (0.39, 0.45), (0.41, 0.85), (0.37, 0.97), (0.2, 0.995), (0, 1.0)]
        ),
        surface,
        "ball",
        0.85,
    )
    _front(sketch)
    if "a buckle" in sketch.details:
        _buckle(sketch)


def _front(sketch: Sketch) -> None:
    """A flap or a zip above, and pockets where it has them."""
    canvas, surface = sketch.canvas, sketch.surface
    seam = Surface(sketch.shadowed)
    if "a top flap" in sketch.details:
        flap = mirrored([(0, 0.06), (0.22, 0.07), (0.37, 0.2), (0.4, 0.4), (0.3, 0.47), (0, 0.49)])
        canvas.blur(0, 0.47, 0.4, 0.06, (40, 28, 44), 0.6)
        canvas.fill(
            flap,
            surface.tinted(darker(surface.colour, 0.3) if sum(surface.colour) > 240 else lighter(surface.colour, 0.3)),
            "slab",
            0.9,
        )
    else:
        canvas.stroke(curve([(-0.34, 0.42), (-0.26, 0.24), (0, 0.18), (0.26, 0.24), (0.34, 0.42)]), 0.018, seam)
        canvas.fill(rounded(0.255, 0.25, 0.285, 0.36, 0.01), GOLDEN, "flat")
    if "pockets" in sketch.details:
        for x0, x1, y0 in ((-0.27, 0.27, 0.6), (-0.49, -0.36, 0.62), (0.36, 0.49, 0.62)):
            canvas.fill(rounded(x0 - 0.012, y0 - 0.012, x1 + 0.012, 0.952, 0.08), seam, "flat", 0.5)
            canvas.fill(rounded(x0, y0, x1, 0.94, 0.07), surface.tinted(lighter(surface.colour, 0.25)), "slab", 0.8)
            canvas.stroke([(x0 + 0.03, y0 + 0.06), (x1 - 0.03, y0 + 0.06)], 0.02, seam)


def _bedroll(sketch: Sketch) -> None:
    """A rolled mat strapped on top."""
    roll = Surface((232, 214, 170) if sketch.contrast == CREAM else (104, 112, 86), material="wool")
    sketch.canvas.fill(rounded(-0.46, -0.1, 0.46, 0.12, 0.1), roll, "flat", 1.4)
    for x in (-0.43, 0.43):
        sketch.canvas.fill(ellipse(x, 0.01, 0.06, 0.105), roll.tinted(darker(roll.colour, 0.3)), "ball")
        sketch.canvas.fill(ellipse(x, 0.01, 0.028, 0.05), roll.tinted(lighter(roll.colour, 0.2)), "flat")
    for x in (-0.22, 0.22):
        sketch.canvas.fill(rounded(x - 0.03, -0.11, x + 0.03, 0.14, 0.01), LEATHER, "tube")


def _buckle(sketch: Sketch) -> None:
    """A leather strap down the middle that closes in a large buckle."""
    canvas = sketch.canvas
    canvas.fill(rounded(-0.06, 0.1, 0.06, 0.66, 0.02), LEATHER, "tube")
    outer, inner = rounded(-0.125, 0.43, 0.125, 0.61, 0.03), rounded(-0.07, 0.475, 0.07, 0.565, 0.02)
    canvas.fill(outer, GOLDEN, "slab", 1.2, holes=(inner,))
    canvas.stroke([(0, 0.52), (0.1, 0.52)], 0.025, GOLDEN)


def draw_sneaker(sketch: Sketch) -> None:
    """A shoe from its side, toe to the right."""
    sketch.canvas.shadow(0.5, 0.05)
    sole = 0.76 if "a thick sole" in sketch.details else 0.88
    lift = sole - 0.88
    top = -0.06 if "a high collar" in sketch.details else 0.24
    upper: list[Point] = [
        (-0.47, 0.95),
        (-0.48, 0.6),
        (-0.44, top + 0.06),
        (-0.3, top + 0.03),
        (-0.12, top + 0.06),
        (-0.05, top + 0.2),
        (0.12, 0.44),
        (0.3, 0.56),
        (0.44, 0.66),
        (0.5, 0.8),
        (0.5, 0.95),
    ]
    _upper(sketch, [(x, y + lift) for x, y in upper], top + lift, lift)
    _side(sketch, lift)
    _sole(sketch, sole)


def _side(sketch: Sketch, lift: float) -> None:
    """What the side shows: a lightning stripe, straps, both or neither."""
    canvas, surface = sketch.canvas, sketch.surface
    if "a lightning stripe" in sketch.details:
        bolt: Outline = [
            (-0.34, 0.5),
            (-0.08, 0.56),
            (-0.11, 0.64),
            (0.16, 0.76),
            (-0.2, 0.74),
            (-0.17, 0.655),
            (-0.4, 0.62),
        ]
        canvas.fill([(x, y + lift) for x, y in bolt], Surface(sketch.contrast), "flat")
    if "straps" in sketch.details:
        for x, y in ((-0.1, 0.36), (0.04, 0.47), (0.17, 0.56)):
            canvas.stroke(
                [(x - 0.06, y + lift + 0.2), (x + 0.06, y + lift - 0.02)], 0.085, surface.tinted(sketch.shadowed)
            )
            canvas.stroke(
                [(x - 0.06, y + lift + 0.2), (x + 0.06, y + lift - 0.02)],
                0.068,
                Surface(sketch.contrast, material="cotton"),
                "slab",
                0.5,
            )


def _sole(sketch: Sketch, sole: float) -> None:
    """The rubber from `sole` down to the ground, with treads where it is thick."""
    canvas, surface = sketch.canvas, sketch.surface
    rubber = Surface((247, 245, 239) if sum(surface.colour) < 660 else (206, 198, 186))
    canvas.fill(rounded(-0.51, sole, 0.525, 1.0, 0.08), rubber, "slab", 1.1)
    canvas.stroke(
        [(-0.47, (sole + 1) / 2 + 0.01), (0.48, (sole + 1) / 2 + 0.01)], 0.016, Surface(sketch.surface.colour)
    )
    if "a thick sole" in sketch.details:
        for step in range(9):
            canvas.stroke(
                [(-0.45 + step * 0.112, 0.94), (-0.45 + step * 0.112, 0.985)],
                0.02,
                rubber.tinted(darker(rubber.colour, 0.4)),
            )


def _upper(sketch: Sketch, upper: list[Point], top: float, lift: float) -> None:
    """The shoe above the sole: opening, body, toe cap, heel and laces."""
    canvas, surface = sketch.canvas, sketch.surface
    canvas.fill(ellipse(-0.26, top + 0.06, 0.17, 0.05), surface.tinted(sketch.shadowed), "flat")
    canvas.fill(curve(upper), surface, "ball", 0.8)
    canvas.fill(ellipse(-0.27, top + 0.075, 0.13, 0.035), Surface(darker(surface.colour, 0.65)), "flat")
    canvas.fill(
        blob([(0.29, 0.93 + lift), (0.31, 0.72 + lift), (0.42, 0.67 + lift), (0.49, 0.8 + lift), (0.49, 0.93 + lift)]),
        surface.tinted(sketch.lit),
        "ball",
        0.7,
    )
    canvas.fill(
        blob([(-0.47, 0.93 + lift), (-0.47, 0.62 + lift), (-0.37, 0.7 + lift), (-0.34, 0.93 + lift)]),
        surface.tinted(sketch.shadowed),
        "slab",
        0.6,
    )
    if "straps" not in sketch.details:
        for step in range(4):
            x, y = -0.07 + step * 0.085, (0.36 if top > 0 or step else 0.3) + lift + step * 0.075
            canvas.stroke(
                [(x - 0.045, y + 0.09), (x + 0.06, y)],
                0.026,
                Surface(CREAM if sketch.contrast == CREAM else (250, 250, 250)),
            )
