"""How good rankings are, a number a query, and whether one system is better than another.

Definitions are those of trec_eval, with which tests compare them through ir-measures: nDCG takes gains as they are and
discounts by log2(rank + 1), and a query without anything relevant scores 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

_CHUNK = 100
"""Resamples drawn at a time: memory stays at this many rows of queries."""


def target_ranks(scores: Floats, targets: Ints) -> Ints:
    """Rank (n,), from 1, of the one relevant item of each query: ``targets`` (n,) are columns of ``scores`` (n, p).

    Among equal scores the lower column comes first, as serving orders products.
    """
    scores, targets = np.asarray(scores), np.asarray(targets)
    own = scores[np.arange(len(targets)), targets][:, None]
    earlier = np.arange(scores.shape[1])[None, :] < targets[:, None]
    ahead = (scores > own) | ((scores == own) & earlier)
    return np.asarray(1 + ahead.sum(axis=1), dtype=np.int64)


def hits(ranks: Ints, k: int) -> NDArray[np.float64]:
    """Hits@k (n,) of one relevant item a query, by its ``ranks`` (n,): 1 where it is among the first k."""
    return np.asarray(ranks <= k, dtype=np.float64)


def reciprocal_rank(ranks: Ints, k: int | None = None) -> NDArray[np.float64]:
    """Reciprocal rank@k (n,) of one relevant item a query: 1 / rank, and 0 behind the first k."""
    inverse = 1.0 / np.asarray(ranks, dtype=np.float64)
    return inverse if k is None else np.where(ranks <= k, inverse, 0.0)


def gain_reciprocal_rank(gains: Floats, k: int) -> NDArray[np.float64]:
    """Reciprocal rank@k (n,) of the first item with a gain above 0 in ``gains`` (n, m), ranked, best first."""
    relevant = np.asarray(gains)[:, :k] > 0
    first = relevant.argmax(axis=1)
    return np.where(relevant.any(axis=1), 1.0 / (first + 1.0), 0.0)


def precision(gains: Floats, k: int) -> NDArray[np.float64]:
    """Precision@k (n,): the share of the first k with a gain above 0; a list shorter than k is divided by k, too."""
    return np.asarray((np.asarray(gains)[:, :k] > 0).sum(axis=1) / k, dtype=np.float64)


def recall(gains: Floats, relevant: Ints, k: int) -> NDArray[np.float64]:
    """Recall@k (n,): how much of each query's ``relevant`` (n,) items is among the first k; 0 where there is none."""
    found = (np.asarray(gains)[:, :k] > 0).sum(axis=1)
    return np.asarray(found / np.maximum(relevant, 1), dtype=np.float64)


def ndcg(gains: Floats, judged: Floats, k: int) -> NDArray[np.float64]:
    """nDCG@k (n,) (Järvelin and Kekäläinen 2002) of ``gains`` (n, m), ranked.

    ``judged`` (n, j) are the gains of everything judged for the query, in any order, filled up with 0.
    """
    best = -np.sort(-np.asarray(judged, dtype=np.float64), axis=1)
    ideal = _discounted(best, k)
    return np.where(ideal > 0, _discounted(np.asarray(gains, dtype=np.float64), k) / np.where(ideal > 0, ideal, 1), 0.0)


@dataclass(frozen=True)
class Interval:
    """A mean difference and its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def above(self) -> bool:
        """Whether the interval lies above 0."""
        return self.low > 0

    @property
    def below(self) -> bool:
        """Whether the interval lies below 0."""
        return self.high < 0


def paired_bootstrap(
    ours: Floats, theirs: Floats, *, samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of mean(``ours`` - ``theirs``), both (n,), a number for each of the same queries.

    Queries are drawn again with replacement, ``samples`` times (Efron 1979). The same seed gives the same interval.

    Raises:
        ValueError: different shapes, or no query.
    """
    if np.shape(ours) != np.shape(theirs) or np.ndim(ours) != 1 or not len(ours):
        raise ValueError(f"shapes {np.shape(ours)} and {np.shape(theirs)}: expected two of (n,) with n above 0")
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = []
    for begin in range(0, samples, _CHUNK):
        drawn = rng.integers(len(differences), size=(min(_CHUNK, samples - begin), len(differences)))
        means.append(differences[drawn].mean(axis=1))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail])
    return Interval(float(differences.mean()), float(low), float(high))


def _discounted(gains: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    first = gains[:, :k]
    return np.asarray(first @ (1.0 / np.log2(np.arange(2, first.shape[1] + 2))), dtype=np.float64)
