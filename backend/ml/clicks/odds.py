"""Odds of a list: the chance of each product at each rank, over the coins that were tossed for it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Wide = NDArray[np.float64]


@dataclass(frozen=True)
class ShowOdds:
    """Where products are shown, over the coins.

    Args:
        items: (m,) product numbers, all different.
        by_rank: (m, r) chance of each at each of the first r ranks; a column sums to 1, or to the chance that the
            list is that long.
    """

    items: Ints
    by_rank: Wide

    def of_order(self, order: Ints) -> Wide:
        """(l,) chance of each product of ``order`` (l,), l up to r, where it stands.

        Raises:
            ValueError: a product is not among those known, or the order is longer than the odds.
        """
        if len(order) > self.by_rank.shape[1]:
            raise ValueError(f"an order of {len(order)} products: expected at most {self.by_rank.shape[1]}")
        unknown = ~np.isin(order, self.items)
        if unknown.any():
            raise ValueError(f"products {order[unknown].tolist()}: expected those the odds are of")
        by_number = np.argsort(self.items)
        rows = by_number[np.searchsorted(self.items, order, sorter=by_number)]
        return np.asarray(self.by_rank[rows, np.arange(len(order))])
