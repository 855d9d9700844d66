"""A picture being drawn: parts are outlined in object units, filled with a surface, lit and laid over what is there."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from backend.demo.drawing.shapes import Outline, Point
from backend.demo.drawing.textures import light_map, pattern_mask, relief, soft_spot

Rgb = tuple[int, int, int]
Box = tuple[int, int, int, int]

GLOSS = {"ceramic": 1.5, "glass": 1.9, "metal": 1.9, "leather": 1.15, "silk": 1.7, "velvet": 1.0, "wood": 0.8}
"""How bright highlights are by material; 0.6 for matt ones."""


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """The colour a fraction `share` of the way from the first to the second."""
    a, b, c = (round(one + (two - one) * share) for one, two in zip(first, second, strict=True))
    return a, b, c


def darker(colour: Rgb, share: float) -> Rgb:
    """The colour in shadow: towards a deep warm violet rather than black."""
    return mix(colour, (34, 26, 44), share)


def lighter(colour: Rgb, share: float) -> Rgb:
    """The colour in light."""
    return mix(colour, (255, 252, 244), share)


@dataclass(frozen=True)
class Surface:
    """What a part is covered with: a colour, a pattern in a second colour, and a material's relief and gloss."""

    colour: Rgb
    pattern: str = "plain"
    second: Rgb = (255, 255, 255)
    material: str = ""
    opacity: float = 1.0

    def plain(self) -> "Surface":
        """The same material without its pattern."""
        return replace(self, pattern="plain")

    def tinted(self, colour: Rgb) -> "Surface":
        """The same material in another colour, without pattern."""
        return replace(self, colour=colour, pattern="plain")


@dataclass(frozen=True)
class Frame:
    """Where object units lie: the ground point and the object's width and height, as shares of the picture."""

    centre: float
    ground: float
    width: float
    height: float


class Canvas:
    """An RGB picture of `side` x `side` pixels and the frame its object is drawn in."""

    def __init__(self, image: Image.Image, frame: Frame, drift: Point) -> None:
        """Draw over `image`, which is changed; `drift` (0 to 1 each) moves the patterns about."""
        self.image = image
        self.side = image.width
        self.frame = frame
        self.drift = (int(drift[0] * self.side), int(drift[1] * self.side))

    def raised(self, share: float) -> "Canvas":
        """The same picture with the object lifted off the ground by a share of its height."""
        lifted = copy(self)
        lifted.frame = replace(self.frame, ground=self.frame.ground - share * self.frame.height)
        return lifted

    def place(self, points: Sequence[Point]) -> list[Point]:
        """Object units to pixels."""
        frame, side = self.frame, self.side
        return [
            ((frame.centre + x * frame.width) * side, (frame.ground + (y - 1) * frame.height) * side) for x, y in points
        ]

    def fill(
        self, outline: Outline, surface: Surface, form: str = "flat", shade: float = 1.0, holes: Sequence[Outline] = ()
    ) -> None:
        """Lay a closed part over the picture."""
        pixels = self.place(outline)
        box = self._box(pixels)
        if box is None:
            return
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]), 0)
        draw = ImageDraw.Draw(mask)
        draw.polygon([(x - box[0], y - box[1]) for x, y in pixels], fill=255)
        for hole in holes:
            draw.polygon([(x - box[0], y - box[1]) for x, y in self.place(hole)], fill=0)
        self._lay(mask, box, surface, form, shade)

    def stroke(
        self, points: Sequence[Point], width: float, surface: Surface, form: str = "flat", shade: float = 1.0
    ) -> None:
        """Lay a line with round ends over the picture; `width` is in object units of the mean of width and height."""
        pixels = self.place(points)
        thick = max(2.0, width * (self.frame.width + self.frame.height) / 2 * self.side)
        box = self._box(pixels, int(thick / 2) + 2)
        if box is None:
            return
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]), 0)
        draw = ImageDraw.Draw(mask)
        local = [(x - box[0], y - box[1]) for x, y in pixels]
        draw.line(local, fill=255, width=round(thick), joint="curve")
        for x, y in (local[0], local[-1]):
            draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=255)
        self._lay(mask, box, surface, form, shade)

    def spot(self, outline: Outline, colour: Rgb, opacity: float = 1.0) -> None:
        """Lay a small flat mark, without light or relief, over the picture."""
        pixels = self.place(outline)
        if opacity >= 1:
            ImageDraw.Draw(self.image).polygon(pixels, fill=colour)
            return
        box = self._box(pixels)
        if box is not None:
            mask = Image.new("L", (box[2] - box[0], box[3] - box[1]), 0)
            ImageDraw.Draw(mask).polygon([(x - box[0], y - box[1]) for x, y in pixels], fill=round(255 * opacity))
            self.image.paste(colour, box, mask)

    def blur(self, cx: float, cy: float, rx: float, ry: float, colour: Rgb, opacity: float) -> None:
        """Lay a spot that fades out, such as a contact shadow or a glow, over the picture."""
        (x0, y0), (x1, y1) = self.place([(cx - rx, cy - ry), (cx + rx, cy + ry)])
        box = (round(x0), round(y0), max(round(x1), round(x0) + 1), max(round(y1), round(y0) + 1))
        spot = soft_spot().resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR)
        self.image.paste(colour, box, spot.point([round(level * opacity) for level in range(256)]))

    def shadow(self, half: float, depth: float = 0.05, strength: float = 0.55) -> None:
        """The object's shadow on the ground: a wide soft one to the right and a dark one where it touches."""
        self.blur(0.16, 1.0, half * 1.55, depth * 2.4, (60, 44, 60), strength * 0.55)
        self.blur(0.02, 0.998, half * 1.12, depth, (40, 28, 44), strength)

    def _box(self, pixels: Sequence[Point], margin: int = 1) -> Box | None:
        """The pixel box around the points, clipped to the picture; None where nothing of it is inside."""
        xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
        x0, y0 = max(int(min(xs)) - margin, 0), max(int(min(ys)) - margin, 0)
        x1, y1 = min(int(max(xs)) + margin + 1, self.side), min(int(max(ys)) + margin + 1, self.side)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _lay(self, mask: Image.Image, box: Box, surface: Surface, form: str, shade: float) -> None:
        """Cover the box with the surface, light it and paste it through the mask."""
        size = mask.size
        tile = Image.new("RGB", size, surface.colour)
        if surface.pattern != "plain":
            x, y = (box[0] + self.drift[0]) % self.side, (box[1] + self.drift[1]) % self.side
            tile.paste(
                surface.second, (0, 0), pattern_mask(surface.pattern, self.side).crop((x, y, x + size[0], y + size[1]))
            )
        grain = relief(surface.material, self.side)
        if grain is not None:
            tile.paste(darker(surface.colour, 0.8), (0, 0), grain[0].crop(box))
            tile.paste((255, 253, 247), (0, 0), grain[1].crop(box))
        dark, light = light_map(form)
        gloss = GLOSS.get(surface.material, 0.6) * shade
        tile.paste(darker(surface.colour, 0.85), (0, 0), _sized(dark, size, shade))
        tile.paste((255, 254, 250), (0, 0), _sized(light, size, gloss))
        if surface.opacity < 1:
            mask = mask.point([round(level * surface.opacity) for level in range(256)])
        self.image.paste(tile, box, mask)


def _sized(light: Image.Image, size: tuple[int, int], strength: float) -> Image.Image:
    """A light map stretched over a part, its opacity scaled by `strength`."""
    scaled = light if strength == 1 else light.point([min(255, round(level * strength)) for level in range(256)])
    return scaled.resize(size, Image.Resampling.BILINEAR)
