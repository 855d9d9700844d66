"""What a night's arms learn from: one log, the catalogue as vectors, the ranking in use and captions to remember."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog, part_of
from backend.ml.heads import ItemHeads, QueryHeads
from backend.ml.scoring import Calibration, Ints, Side

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ItemVectors:
    """Every picture and every caption of a catalogue: unit rows, each with the number of its product.

    Args:
        images: of pictures.
        captions: of captions.
    """

    images: Side
    captions: Side

    def through(self, heads: ItemHeads) -> Self:
        """The same rows, through the heads of an index build."""
        return type(self)(
            Side(heads.adapt("image", self.images.vectors), self.images.products),
            Side(heads.adapt("caption", self.captions.vectors), self.captions.products),
        )


@dataclass(frozen=True)
class Captions:
    """c captions that are to find their product before and after: what they find shows what is forgotten.

    Args:
        vectors: (c, d) unit rows of the frozen encoder.
        products: (c,) number of the product that each tells of.
        parts: (c,) training, validation or judged, by :func:`part_of` the product's id.
    """

    vectors: NDArray[np.float32]
    products: Ints
    parts: NDArray[np.str_]

    @classmethod
    def of(cls, captions: Side, ids: Mapping[int, str]) -> Self:
        """Captions as the encoder gave them; ``ids`` names each product number."""
        parts = {number: part_of(name) for number, name in ids.items()}
        of_each = np.array([parts[number] for number in captions.products.tolist()], dtype="U10")
        return cls(captions.vectors, captions.products, of_each)

    def part(self, name: str) -> Self:
        """Those of one part."""
        chosen = np.flatnonzero(self.parts == name)
        return type(self)(self.vectors[chosen], self.products[chosen], self.parts[chosen])


@dataclass(frozen=True)
class Problem:
    """All that an arm is trained with.

    Args:
        log: what was shown and done; n rows.
        theta: (n,) examination of each row at its place, of what is in view; 1 at the first place.
        items: of the live build, as its collections hold them.
        calibration: of the live generation.
        production: heads of the live generation.
        captions: to be replayed, and to tell what is forgotten.
        raw: the same rows as the encoder gave them; None where the build leaves them as they are.
        item_heads: of the live build.

    Raises:
        ValueError: not one theta a row, or one that is no share.
    """

    log: ClickLog
    theta: Floats
    items: ItemVectors
    calibration: Calibration
    production: QueryHeads
    captions: Captions
    raw: ItemVectors | None = None
    item_heads: ItemHeads = field(default_factory=ItemHeads)

    def __post_init__(self) -> None:
        rows = len(self.log.rows.product)
        if self.theta.shape != (rows,):
            raise ValueError(f"found theta of shape {self.theta.shape}: expected ({rows},), one for each row")
        if rows and not (self.theta.min() > 0 and np.isfinite(self.theta.max())):
            raise ValueError(f"found theta from {self.theta.min()} to {self.theta.max()}: expected all above 0")

    @property
    def frozen_items(self) -> ItemVectors:
        """The items as the encoder gave them."""
        return self.items if self.raw is None else self.raw
