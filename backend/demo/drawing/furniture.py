"""Lamps and chairs."""

from dataclasses import replace

from backend.demo.drawing.canvas import Surface, darker, lighter
from backend.demo.drawing.shapes import Point, blob, curve, ellipse, mirrored, rounded
from backend.demo.drawing.sketch import CREAM, GOLDEN, INK, SILVER, WOODEN, Sketch

STANDS: dict[str, Surface] = {"metal": SILVER, "wood": WOODEN, "ceramic": Surface((238, 232, 222), material="ceramic")}


def draw_lamp(sketch: Sketch) -> None:
    """A table lamp: the shade has the colour and the pattern, the stand shows the material."""
    canvas, shade = sketch.canvas, replace(sketch.surface, material="cotton")
    stand = STANDS[sketch.surface.material]
    canvas.shadow(0.3)
    _stand(sketch, stand)
    glowing = "a glowing bulb" in sketch.details
    if glowing:
        canvas.blur(0, 0.42, 0.6, 0.34, (255, 224, 140), 0.95)
        canvas.fill(ellipse(0, 0.49, 0.1, 0.085), Surface((255, 248, 206)), "flat", 0.2)
    if "a pull cord" in sketch.details:
        canvas.stroke([(0.24, 0.42), (0.24, 0.69)], 0.016, Surface(darker(CREAM, 0.5)))
        canvas.fill(ellipse(0.24, 0.71, 0.045, 0.035), GOLDEN, "ball")
    cone: list[Point] = [
        (-0.25, 0.04),
        (0.25, 0.04),
        (0.48, 0.45),
        (0.3, 0.475),
        (0, 0.485),
        (-0.3, 0.475),
        (-0.48, 0.45),
    ]
    canvas.fill(cone, shade, "tube", 0.75)
    canvas.fill(ellipse(0, 0.042, 0.25, 0.022), shade.tinted(lighter(shade.colour, 0.4)), "flat")
    canvas.fill(ellipse(0, 0.045, 0.21, 0.014), shade.tinted(darker(shade.colour, 0.35)), "flat")
    canvas.stroke(
        curve([(-0.47, 0.45), (-0.25, 0.475), (0, 0.48), (0.25, 0.475), (0.47, 0.45)]),
        0.02,
        shade.tinted(sketch.shadowed),
    )
    if glowing:
        canvas.blur(0, 0.38, 0.36, 0.16, (255, 240, 180), 0.75)
    if "a fringe" in sketch.details:
        for step in range(21):
            x = -0.46 + step * 0.046
            y = 0.452 + 0.03 * (1 - (x / 0.47) ** 2)
            canvas.stroke([(x, y), (x, y + 0.1)], 0.026, Surface(sketch.contrast if step % 2 else sketch.lit))


def _stand(sketch: Sketch, stand: Surface) -> None:
    """Three splayed legs, or a foot with a stem: turned in wood, bellied in ceramic, slim in metal."""
    canvas = sketch.canvas
    if "three legs" in sketch.details:
        for x, y in ((0.0, 0.965), (-0.33, 0.995), (0.33, 0.995)):
            canvas.stroke([(x * 0.2, 0.42), (x, y)], 0.058, stand.tinted(darker(stand.colour, 0.35)))
            canvas.stroke([(x * 0.2, 0.42), (x, y)], 0.044, stand, "tube", 0.6)
        canvas.fill(ellipse(0, 0.6, 0.1, 0.03), stand, "ball")
        return
    canvas.fill(rounded(-0.035, 0.42, 0.035, 0.95, 0.02), stand, "tube")
    if stand.material == "ceramic":
        canvas.fill(
            mirrored([(0.06, 0.56), (0.1, 0.6), (0.26, 0.76), (0.24, 0.9), (0.14, 0.98), (0.14, 1.0)]), stand, "tube"
        )
    elif stand.material == "wood":
        canvas.fill(
            mirrored([(0.05, 0.56), (0.1, 0.62), (0.05, 0.69), (0.13, 0.78), (0.06, 0.88), (0.08, 0.93)]), stand, "tube"
        )
        canvas.fill(rounded(-0.27, 0.92, 0.27, 1.0, 0.04), stand, "tube")
    else:
        canvas.fill(ellipse(0, 0.975, 0.29, 0.035), stand.tinted(darker(stand.colour, 0.35)), "tube")
        canvas.fill(ellipse(0, 0.955, 0.29, 0.035), stand, "tube")


def draw_chair(sketch: Sketch) -> None:
    """An easy chair seen from the front: back, arms and a padded base, in wood slats, leather or wicker."""
    canvas, surface = sketch.canvas, sketch.surface
    canvas.shadow(0.46)
    _legs(sketch)
    top = -0.02 if "a high back" in sketch.details else 0.24
    back = blob(
        [
            (-0.33, top + 0.04),
            (0, top),
            (0.33, top + 0.04),
            (0.36, top + 0.2),
            (0.345, 0.62),
            (-0.345, 0.62),
            (-0.36, top + 0.2),
        ]
    )
    canvas.fill(back, surface, "slab" if surface.material == "wood" else "ball", 0.8)
    _upholstery(sketch, top)
    canvas.blur(0, 0.58, 0.36, 0.06, (40, 28, 44), 0.45)
    canvas.fill(
        blob(
            [
                (-0.37, 0.57),
                (0, 0.545),
                (0.37, 0.57),
                (0.42, 0.66),
                (0.38, 0.755),
                (0, 0.77),
                (-0.38, 0.755),
                (-0.42, 0.66),
            ]
        ),
        surface,
        "ball",
        0.7,
    )
    if "armrests" in sketch.details:
        _arms(sketch)


def _upholstery(sketch: Sketch, top: float) -> None:
    """Slots between wooden slats, or the buttons of a leather back that begins at `top`."""
    canvas, surface = sketch.canvas, sketch.surface
    if surface.material == "wood":
        for x in (-0.17, 0.0, 0.17):
            canvas.fill(
                rounded(x - 0.022, top + 0.1, x + 0.022, 0.58, 0.02), Surface(darker(surface.colour, 0.55)), "flat"
            )
    if surface.material == "leather":
        for x, y in ((-0.17, top + 0.16), (0, top + 0.16), (0.17, top + 0.16)):
            canvas.blur(x, y, 0.07, 0.06, sketch.shadowed, 0.9)
            canvas.fill(ellipse(x, y, 0.022, 0.02), surface.tinted(sketch.shadowed), "ball")


def _arms(sketch: Sketch) -> None:
    """Two rests that curl at the front."""
    canvas, plain = sketch.canvas, sketch.surface.plain()
    for side in (-1, 1):
        x0, x1 = sorted((side * 0.36, side * 0.52))
        canvas.fill(rounded(x0, 0.42, x1, 0.78, 0.06), plain, "tube", 0.9)
        canvas.fill(ellipse(side * 0.44, 0.45, 0.1, 0.07), plain.tinted(lighter(plain.colour, 0.18)), "ball", 0.9)


def _legs(sketch: Sketch) -> None:
    """Four wooden legs, a star base on castors, or thin dark ones."""
    canvas = sketch.canvas
    if "wheels" in sketch.details:
        canvas.stroke([(0, 0.72), (0, 0.9)], 0.06, SILVER, "tube")
        for x, y in ((-0.36, 0.945), (0.36, 0.945), (0, 0.955)):
            canvas.stroke([(0, 0.88), (x, y - 0.02)], 0.04, SILVER, "tube")
            canvas.fill(ellipse(x, y + 0.01, 0.055, 0.045), Surface(INK, material="ceramic"), "ball")
    ends: list[tuple[Point, Point]] = [
        ((-0.26, 0.72), (-0.27, 0.95)),
        ((0.26, 0.72), (0.27, 0.95)),
        ((-0.33, 0.72), (-0.37, 0.995)),
        ((0.33, 0.72), (0.37, 0.995)),
    ]
    if "wooden legs" in sketch.details:
        for start, end in ends:
            canvas.stroke([start, end], 0.062, WOODEN.tinted(darker(WOODEN.colour, 0.4)))
            canvas.stroke([start, end], 0.048, WOODEN, "tube", 0.6)
    elif "wheels" not in sketch.details:
        for start, end in ends:
            canvas.stroke([start, end], 0.022, Surface(INK, material="metal"))
