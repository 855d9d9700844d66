"""What simulated shoppers hold for relevant: grades of the demo's products, planted by what was drawn."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backend.demo.catalogue import Product
from backend.ml.clicks.shoppers import BEST_GRADE, gain
from backend.ml.metrics import ndcg

Grades = NDArray[np.int64]


class PlantedTruth:
    """Grades 0 to 4 of p products for what a query names and what a shopper loves.

    A product of another kind than the one named is worth nothing. Else, with m the share of the other named features
    that it has (1 where none is named) and l whether it has anything the shopper loves, the grade is
    4 ((1 - t) m² + t m l), rounded, where t is the weight of taste; without anything loved t is 0.

    Args:
        products: of the demo's catalogue.
        taste: t, 0 to 1.
    """

    def __init__(self, products: Sequence[Product], taste: float) -> None:
        self._rows = {product.id: row for row, product in enumerate(products)}
        names = sorted({feature for product in products for feature in product.item.features})
        self._columns = {name: column for column, name in enumerate(names)}
        self._has = np.zeros((len(products), len(names)), dtype=bool)
        for row, product in enumerate(products):
            self._has[row, [self._columns[feature] for feature in product.item.features]] = True
        self._taste = taste
        self._known: dict[tuple[frozenset[str], tuple[str, ...]], Grades] = {}

    def grades(self, named: frozenset[str], loves: Sequence[str] = ()) -> Grades:
        """(p,) grades of all products."""
        asked = (named, tuple(loves))
        if asked not in self._known:
            self._known[asked] = self._graded(*asked)
        return self._known[asked]

    def gains(self, named: frozenset[str], loves: Sequence[str], product_ids: Sequence[str]) -> NDArray[np.float64]:
        """(k,) gains, 0 to 1, of ``product_ids``; what is no product of the demo is worth nothing."""
        grades = self.grades(named, loves)
        return gain(np.array([grades[self._rows[one]] if one in self._rows else 0 for one in product_ids], dtype=int))

    def knows(self, product_id: str) -> bool:
        """Whether it is a product of the demo."""
        return product_id in self._rows

    def quality(self, named: frozenset[str], loves: Sequence[str], product_ids: Sequence[str], k: int = 10) -> float:
        """NDCG@k of a list by planted gains, over everything the shop has."""
        shown = self.gains(named, loves, product_ids)[None, :]
        return float(ndcg(shown, gain(self.grades(named, loves))[None, :], k)[0])

    def _graded(self, named: frozenset[str], loves: tuple[str, ...]) -> Grades:
        kinds = [name for name in named if name.startswith("kind:")]
        others = [name for name in named if not name.startswith("kind:")]
        right = self._having(kinds).all(axis=1)
        match = self._having(others).mean(axis=1) if others else np.ones(len(self._has))
        taste = self._taste if loves else 0.0
        liked = self._having([name for name in loves if name in self._columns]).any(axis=1)
        share = (1 - taste) * match**2 + taste * match * liked
        return np.where(right, np.rint(BEST_GRADE * share), 0).astype(int)

    def _having(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """(p, names) which products have each; a feature that no product has is had by none."""
        found = np.zeros((len(self._has), len(names)), dtype=bool)
        for place, name in enumerate(names):
            if name in self._columns:
                found[:, place] = self._has[:, self._columns[name]]
        return found
