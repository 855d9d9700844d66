"""Interventions that happened anyway: the same product shown for the same query at more than one rank.

Harvested as in Agarwal, Zaitsev, Wang, Li, Najork and Joachims, "Estimating Position Bias without Intrusive
Interventions" (WSDM 2019, arXiv 1812.05161): arms of tests, coins and nightly changes move products for reasons that
have nothing to do with how relevant they are.

Clicks at both ranks are weighed as in a rate ratio of Mantel and Haenszel: like the inverse shares of the paper this
lets impressions at both ranks count alike, but no click that stood where it rarely does counts a hundred times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """How often a product was seen at a rank for a query, and clicked there; a row for each of the three.

    Args:
        query: (m,) number of the query.
        pair: (m,) number of (query, product), from 0.
        rank: (m,) from 1.
        seen: (m,) impressions.
        clicked: (m,) clicks among them.
    """

    query: Ints
    pair: Ints
    rank: Ints
    seen: Floats
    clicked: Floats

    def __post_init__(self) -> None:
        lengths = {one.name: len(getattr(self, one.name)) for one in fields(self)}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"found columns of {lengths} rows: expected as many of each")
        if len(self.rank) and self.rank.min() < 1:
            raise ValueError(f"found rank {self.rank.min()}: expected ranks from 1")
        wrong = np.flatnonzero((self.seen <= 0) | (self.clicked < 0) | (self.clicked > self.seen))
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"found {self.clicked[row]:g} clicks of {self.seen[row]:g} impressions in row {row}: "
                "expected impressions above 0 and clicks among them"
            )

    def where(self, kept: NDArray[np.bool_] | Ints) -> Self:
        """These rows of it."""
        return type(self)(**{one.name: getattr(self, one.name)[kept] for one in fields(self)})

    def compared(self, ranks: int) -> NDArray[np.bool_]:
        """(m,) which rows are of pairs that were seen at two of the first ``ranks`` ranks or more."""
        within = self.rank <= ranks
        if not within.any():
            return within
        _, number = np.unique(self.pair, return_inverse=True)
        return np.asarray(within & (np.bincount(number, within)[number] > 1))

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """All of them, no pair of one being a pair of another."""
        behind = np.cumsum([0, *(int(one.pair.max(initial=-1)) + 1 for one in parts)])
        columns = {one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)}
        columns["pair"] = np.concatenate([one.pair + first for one, first in zip(parts, behind, strict=False)])
        return cls(**columns)


@dataclass(frozen=True)
class Harvest:
    """Weighted clicks of products that were shown at both ranks of a pair, by group of what is independent.

    Args:
        clicked: (groups, ranks, ranks); [g, k, l] are clicks at rank k+1 of products that were also shown at rank l+1,
            each counted n_l / (n_k + n_l) times, n being the product's impressions at both; the diagonal is 0.
        clicks: (groups, ranks, ranks) the clicks themselves: how much evidence there is.
        squares: (groups, ranks, ranks) sums of the squares of what each click counts: the variance of ``clicked``.
    """

    clicked: Floats
    clicks: Floats
    squares: Floats

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return int(self.clicked.shape[1])

    def weighted(self, weights: Floats) -> "Harvest":
        """As many groups as ``weights`` (new, groups) has rows: the sums of these, counted so many times."""
        return Harvest(*(np.tensordot(weights, part, axes=1) for part in self._parts))

    def whole(self) -> "Harvest":
        """One group of all."""
        return Harvest(*(part.sum(axis=0, keepdims=True) for part in self._parts))

    def __add__(self, other: "Harvest") -> "Harvest":
        return Harvest(*(one + two for one, two in zip(self._parts, other._parts, strict=True)))

    @property
    def _parts(self) -> tuple[Floats, Floats, Floats]:
        return self.clicked, self.clicks, self.squares


@dataclass(frozen=True)
class Clicks:
    """Clicks of rows of some ``Counts``, by whose they are; (c,) each.

    Args:
        row: of the counts.
        group: of shoppers.
        times: how many.
    """

    row: Ints
    group: Ints
    times: Floats


def harvest(counts: Counts, ranks: int, groups: int = 1) -> Harvest:
    """What ``counts`` say of ranks 1 to ``ranks``; queries fall into ``groups`` by their number, for the bootstrap."""
    pairs, number = np.unique(counts.pair, return_inverse=True)
    within = counts.rank <= ranks
    rank = np.minimum(counts.rank, ranks) - 1
    seen = np.zeros((len(pairs), ranks))
    seen[number[within], rank[within]] = counts.seen[within]
    row = np.flatnonzero(within & ((seen > 0).sum(axis=1) > 1)[number] & (counts.clicked > 0))
    times, cell = counts.clicked[row], (counts.query[row] % groups) * ranks + rank[row]
    sums = np.zeros((3, ranks, groups * ranks))
    for other in range(ranks):
        there = seen[number[row], other] * (rank[row] != other)
        # where a product mostly stood must not decide what the comparison says, nor the few times it stood elsewhere
        weight = there / (counts.seen[row] + there)
        sums[0, other] = np.bincount(cell, times * weight, groups * ranks)
        sums[1, other] = np.bincount(cell, times * (there > 0), groups * ranks)
        sums[2, other] = np.bincount(cell, times * weight**2, groups * ranks)
    return Harvest(*(np.ascontiguousarray(part.T.reshape(groups, ranks, ranks)) for part in sums))


@dataclass(frozen=True)
class Connection:
    """Whether ranks can be compared with rank 1 along pairs of ranks with enough clicks (Chen et al., 2309.15560).

    Args:
        connected: (ranks,) whether each is.
        weakest: the pair of ranks on the way whose lesser side has the fewest clicks, the one to aim swaps at; None
            where there is but one rank.
        clicks: that number.
        strength: (ranks, ranks) clicks of the lesser side of each pair.
    """

    connected: NDArray[np.bool_]
    weakest: tuple[int, int] | None
    clicks: float
    strength: Floats

    @property
    def whole(self) -> bool:
        """Whether every rank is connected."""
        return bool(self.connected.all())


def connection(found: Harvest, least: float = 50.0, needed: int | None = None) -> Connection:
    """The spanning tree of greatest clicks from rank 1 (Prim); its edges need ``least`` clicks on both sides.

    The weakest edge is that on the way to the first ``needed`` ranks; None: to all.
    """
    clicks = found.whole().clicks[0]
    strength = np.minimum(clicks, clicks.T)
    reached = np.arange(found.ranks) == 0
    weakest: tuple[int, int] | None = None
    fewest = np.inf
    while not reached[:needed].all():
        between = np.where(reached[:, None] & ~reached[None, :], strength, -1.0)
        here, there = np.unravel_index(int(between.argmax()), between.shape)
        reached[there] = True
        if strength[here, there] < fewest:
            weakest, fewest = (int(here) + 1, int(there) + 1), float(strength[here, there])
    return Connection(component((strength >= least)[None])[0], weakest, fewest if weakest else 0.0, strength)


def component(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(groups, n) whether each node can be reached from the first along ``edges`` (groups, n, n), both ways."""
    reached = np.zeros(edges.shape[:2], dtype=bool)
    reached[:, 0] = True
    while True:
        grown = reached | (reached[:, :, None] & edges).any(axis=1)
        if (grown == reached).all():
            return reached
        reached = grown
