"""What a painter of one kind of product is given."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from backend.demo.drawing.canvas import Canvas, Rgb, Surface, darker, lighter

INK: Rgb = (44, 38, 48)
CREAM: Rgb = (250, 244, 230)
GOLD: Rgb = (222, 176, 76)
STEEL: Rgb = (176, 182, 190)
TIMBER: Rgb = (196, 146, 96)


@dataclass(frozen=True)
class Sketch:
    """The canvas, the product's main surface, the details it must show, and a source of small variations."""

    canvas: Canvas
    surface: Surface
    details: frozenset[str]
    random: Random

    @property
    def shadowed(self) -> Rgb:
        """The product's colour in shadow."""
        return darker(self.surface.colour, 0.4)

    @property
    def lit(self) -> Rgb:
        """The product's colour in light."""
        return lighter(self.surface.colour, 0.45)

    @property
    def contrast(self) -> Rgb:
        """A colour that shows on the product: dark on light, cream on dark."""
        red, green, blue = self.surface.colour
        return INK if red * 0.3 + green * 0.59 + blue * 0.11 > 120 else CREAM


Painter = Callable[[Sketch], None]

GOLDEN = Surface(GOLD, material="metal")
SILVER = Surface(STEEL, material="metal")
WOODEN = Surface(TIMBER, material="wood")
