"""Interventions that happened anyway: the same product shown for the same query at more than one rank.

Harvested as in Agarwal, Zaitsev, Wang, Li, Najork and Joachims, "Estimating Position Bias without Intrusive
Interventions" (WSDM 2019, arXiv 1812.05161): arms of tests, coins and nightly changes move products for reasons that
have nothing to do with how relevant they are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CHUNK = 50_000
"""Pairs of query and product that are counted at a time: memory stays at this many rows of ranks."""


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
        lengths = {name: len(getattr(self, name)) for name in ("query", "pair", "rank", "seen", "clicked")}
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


@dataclass(frozen=True)
class Harvest:
    """Weighted clicks of products that were shown at both ranks of a pair, by group of queries.

    Args:
        clicked: (groups, ranks, ranks); [g, k, l] are clicks at rank k+1, each divided by its rank's share of the
            product's impressions, of products that were also shown at rank l+1; the diagonal is 0.
        passed: likewise of impressions without a click.
        clicks: (groups, ranks, ranks) the clicks themselves: how much evidence there is.
    """

    clicked: Floats
    passed: Floats
    clicks: Floats

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return int(self.clicked.shape[1])

    def weighted(self, weights: Floats) -> "Harvest":
        """One group, each of these counted ``weights`` (groups,) times."""
        return Harvest(
            *(np.tensordot(weights, part, axes=1)[None] for part in (self.clicked, self.passed, self.clicks))
        )

    def whole(self) -> "Harvest":
        """One group of all."""
        return self.weighted(np.ones(len(self.clicked)))


def harvest(counts: Counts, ranks: int, groups: int = 1) -> Harvest:
    """What ``counts`` say of ranks 1 to ``ranks``; queries fall into ``groups`` by their number, for the bootstrap."""
    sums = np.zeros((3, groups, ranks, ranks))
    keep = counts.rank <= ranks
    order = np.flatnonzero(keep)[np.argsort(counts.pair[keep], kind="stable")]
    pairs, first = np.unique(counts.pair[order], return_index=True)
    ends = np.append(first, len(order))
    for begin in range(0, len(pairs), _CHUNK):
        rows = order[ends[begin] : ends[min(begin + _CHUNK, len(pairs))]]
        _add(sums, counts, rows, groups)
    for part in sums:
        part[:, np.arange(ranks), np.arange(ranks)] = 0
    return Harvest(*sums)


def _add(sums: Floats, counts: Counts, rows: Ints, groups: int) -> None:
    """Count whole pairs, whose rows are next to one another in ``rows``."""
    ranks = sums.shape[-1]
    _, place = np.unique(counts.pair[rows], return_inverse=True)
    seen, clicked = np.zeros((2, int(place.max()) + 1, ranks))
    np.add.at(seen, (place, counts.rank[rows] - 1), counts.seen[rows])
    np.add.at(clicked, (place, counts.rank[rows] - 1), counts.clicked[rows])
    group = np.zeros(len(seen), dtype=np.int64)
    group[place] = counts.query[rows] % groups
    shown = (seen > 0).astype(np.float64)
    # a rank's share of the impressions: where a product mostly stood must not decide what the comparison says
    inverse_share = np.divide(seen.sum(axis=1, keepdims=True), seen, out=np.zeros_like(seen), where=seen > 0)
    for number in np.unique(group):
        of = group == number
        sums[0, number] += (clicked * inverse_share)[of].T @ shown[of]
        sums[1, number] += ((seen - clicked) * inverse_share)[of].T @ shown[of]
        sums[2, number] += clicked[of].T @ shown[of]


@dataclass(frozen=True)
class Connection:
    """Whether ranks can be compared with rank 1 along pairs of ranks with enough clicks (Chen et al., 2309.15560).

    Args:
        connected: (ranks,) whether each is.
        weakest: the pair of ranks on the way whose lesser side has the fewest clicks, the one to aim swaps at; None
            where there is but one rank.
        clicks: that number.
    """

    connected: NDArray[np.bool_]
    weakest: tuple[int, int] | None
    clicks: float

    @property
    def whole(self) -> bool:
        """Whether every rank is connected."""
        return bool(self.connected.all())


def connection(found: Harvest, least: float = 50.0) -> Connection:
    """The spanning tree of greatest clicks from rank 1 (Prim); its edges need ``least`` clicks on both sides."""
    clicks = found.whole().clicks[0]
    strength = np.minimum(clicks, clicks.T)
    reached = np.zeros(found.ranks, dtype=bool)
    connected = reached.copy()
    reached[0] = connected[0] = True
    weakest: tuple[int, int] | None = None
    fewest = np.inf
    for _ in range(found.ranks - 1):
        between = np.where(reached[:, None] & ~reached[None, :], strength, -1.0)
        here, there = np.unravel_index(int(between.argmax()), between.shape)
        reached[there] = True
        connected[there] = connected[here] and strength[here, there] >= least
        if strength[here, there] < fewest:
            weakest, fewest = (int(here) + 1, int(there) + 1), float(strength[here, there])
    return Connection(connected, weakest, fewest if weakest else 0.0)
