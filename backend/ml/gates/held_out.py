"""G2: held-out clicks, positions taken out, by what each ranking makes of the products that shoppers looked at.

The gain of a product for a query is its labels per examination, sum y / sum theta over the lists in which it was in
view: what shoppers would do if all of it was looked at. A product that was never in view has no gain and no place:
rankings are compared on what is known (condensed lists; Sakai, "Alternatives to Bpref", SIGIR 2007), because over the
whole catalogue every product that was never shown would count as bad, and production, which chose what was shown,
would always win. What a new ranking makes of those is the matter of G3.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog
from backend.ml.gates.agreement import MOST_WEIGHT
from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import Check, GateResult, told
from backend.ml.metrics import Interval

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PRIMARY = "NDCG@10"
_SAMPLES = 2000
_CHUNK = 50


@dataclass(frozen=True)
class Gains:
    """What is known of products for the queries that judge, n pairs, query by query.

    Args:
        query: (n,) row in the log's queries, ascending.
        product: (n,) place in the log's products.
        gain: (n,) labels per examination, times the lists of the query.
        naive: (n,) labels, as they are.
        satisfied: (n,) satisfied clicks.
    """

    query: Ints
    product: Ints
    gain: Floats
    naive: Floats
    satisfied: Floats


def known_gains(log: ClickLog, theta: Floats) -> Gains:
    """Of every pair of query and product that was in view in ``log``; ``theta`` (n,) by row."""
    seen = np.asarray(log.rows.viewed)
    query = log.lists.query[log.list_of_rows()[seen]].astype(np.int64)
    key = query * len(log.products) + log.rows.product[seen]
    pairs, number = np.unique(key, return_inverse=True)
    labels = summed(number, log.rows.label[seen])
    examined = summed(number, theta[seen])
    asked = pairs // max(len(log.products), 1)
    lists = np.bincount(log.lists.query, minlength=len(log.asked.keys))[asked]
    # a pair that was looked at less than a tenth of a time says little: no click weighs more than ten
    gain = labels / np.maximum(examined, 1.0 / MOST_WEIGHT) * lists
    satisfied = summed(number, log.rows.satisfied[seen])
    return Gains(asked, pairs % max(len(log.products), 1), gain, labels, satisfied)


@dataclass(frozen=True)
class Measures:
    """Of one ranking, (q,) sums a query by name, and what all of them are divided by."""

    sums: dict[str, Floats]
    totals: dict[str, Floats]


def measured(gains: Gains, scores: Floats, weight: Floats) -> Measures:
    """Recall@1, 5 and 10, MRR and NDCG@10 of the order of ``scores`` (n,) among the known products of each query.

    Each is a ratio of sums over queries, so that a click counts as often as positions say, also where it is its
    query's only one: divided by the query's own best, its weight would fall out.

    Args:
        gains: of the pairs.
        scores: by which they are ranked.
        weight: (n,) what each pair counts: its debiased gain, or another one.
    """
    queries, number = np.unique(gains.query, return_inverse=True)
    rank = _rank_within(number, scores)
    best = _rank_within(number, weight)
    by_query = len(queries)
    total = summed(number, weight, by_query)
    sums = {f"Recall@{k}": summed(number, weight * (rank <= k), by_query) for k in (1, 5, 10)}
    sums["MRR"] = summed(number, weight / rank, by_query)
    totals = dict.fromkeys(sums, total)
    sums[PRIMARY] = summed(number, weight * _discount(rank), by_query)
    totals[PRIMARY] = summed(number, weight * _discount(best), by_query)
    return Measures(sums, totals)


def summed(number: Ints, values: NDArray[Any], size: int = 0) -> Floats:
    """Sum of ``values`` (n,) by group ``number`` (n,), of at least ``size`` groups."""
    return np.asarray(np.bincount(number, values, size), dtype=np.float64)


def _discount(rank: Ints) -> Floats:
    return np.where(rank <= 10, 1.0 / np.log2(rank + 1.0), 0.0)


def _rank_within(number: Ints, scores: Floats) -> Ints:
    """(n,) rank from 1 by score within the group ``number`` (n,), which ascends; ties by place."""
    order = np.lexsort((-scores, number))
    first = np.searchsorted(number, np.arange(int(number.max(initial=-1)) + 1))
    rank = np.empty(len(scores), np.int64)
    rank[order] = np.arange(len(scores)) - first[number[order]] + 1
    return rank


@dataclass(frozen=True)
class Change:
    """A measure under production, and how much more it is under the candidate."""

    before: float
    interval: Interval


def changes(ours: Measures, theirs: Measures, *, seed: int, samples: int = _SAMPLES) -> dict[str, Change]:
    """Paired bootstrap over queries of the difference of each measure: the same queries are drawn for all."""
    found = {}
    count = len(ours.totals[PRIMARY])
    for name, total in ours.totals.items():
        drawn = []
        rng = np.random.default_rng(seed)
        difference = ours.sums[name] - theirs.sums[name]
        for begin in range(0, samples, _CHUNK):
            rows = rng.integers(count, size=(min(_CHUNK, samples - begin), count))
            drawn.append(difference[rows].sum(axis=1) / np.maximum(total[rows].sum(axis=1), 1e-12))
        low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
        whole = max(float(total.sum()), 1e-12)
        mean = float(difference.sum()) / whole
        found[name] = Change(float(theirs.sums[name].sum()) / whole, Interval(mean, float(low), float(high)))
    return found


def word_terms(log: ClickLog, generation: int, gains: Gains, scores: Floats) -> Floats:
    """(n,) what words added to the score of each pair when ``generation`` served it; 0 where it did not.

    It is what the served score has beyond ``scores`` (n,), those of that generation by vectors alone.
    """
    own = (log.lists.generation == generation)[log.list_of_rows()]
    query = log.lists.query[log.list_of_rows()[own]].astype(np.int64)
    size = max(len(log.products), 1)
    pairs = gains.query * size + gains.product
    keys = query * size + log.rows.product[own]
    place = np.minimum(np.searchsorted(pairs, keys), max(len(pairs) - 1, 0))
    known = pairs[place] == keys if len(pairs) else np.zeros(len(keys), np.bool_)
    served = log.rows.score[own][known].astype(np.float64)
    known_place = place[known]
    counted = ~np.isnan(served)
    times = np.bincount(known_place[counted], minlength=len(pairs))
    beyond = summed(known_place[counted], (served - scores[known_place])[counted], len(pairs))
    return np.where(times > 0, np.maximum(beyond / np.maximum(times, 1), 0.0), 0.0)


def held_out_gate(
    gains: Gains, ours: Floats, theirs: Floats, thresholds: Thresholds, *, seed: int, words: Floats | None = None
) -> GateResult:
    """G2.

    Args:
        gains: of the queries that judge.
        ours: (n,) scores of these pairs by the candidate.
        theirs: (n,) by production.
        thresholds: what is asked.
        seed: of the bootstrap.
        words: (n,) what words add to both; None: not known. Told, not asked: the vectors are judged alone.
    """
    if not gains.gain.sum():
        nothing = Check(PRIMARY, None, 0.0, False, "least", why="Nothing was clicked for the queries that judge.")
        return GateResult("G2", _TITLE, (nothing,))
    debiased = changes(measured(gains, ours, gains.gain), measured(gains, theirs, gains.gain), seed=seed)
    least = float(np.median(np.unique(gains.query, return_counts=True)[1]))
    checks = [_not_worse(name, change, thresholds, least) for name, change in debiased.items()]
    checks.append(_better(debiased[PRIMARY]))
    others = {"positions left in": (ours, theirs, gains.naive)}
    if words is not None:
        others["with words"] = (ours + words, theirs + words, gains.gain)
    for name, (one, other, weight) in others.items():
        found = changes(measured(gains, one, weight), measured(gains, other, weight), seed=seed)[PRIMARY].interval
        checks.append(told(f"{PRIMARY}, {name}", found.mean, low=found.low, high=found.high))
    forest = [
        {"name": name, "before": one.before, "change": one.interval.mean, "low": one.interval.low,
         "high": one.interval.high}
        for name, one in debiased.items()
    ]  # fmt: skip
    return GateResult("G2", _TITLE, tuple(checks), {"forest": forest})


_TITLE = "Better on clicks that nothing was trained on"


def _not_worse(name: str, change: Change, thresholds: Thresholds, known: float) -> Check:
    ends = change.interval
    if name.startswith("Recall@") and known < 2 * int(name.removeprefix("Recall@")):
        # what is known is hardly more than what production shows first: it could only lose
        return told(f"{name}, of {known:.0f} known", ends.mean, low=ends.low, high=ends.high)
    margin = -thresholds.inferior * change.before
    # its lower end would ask of every measure to be better: one of them is, and G3 is asked as well
    passed = ends.mean >= margin and not ends.below
    why = (
        f"{name} on held-out clicks is worse: {ends.mean:+.4f}, 95 % interval {ends.low:+.4f} to {ends.high:+.4f}: "
        f"expected {margin:+.4f} or more."
    )
    return Check(f"{name} not worse", ends.mean, margin, passed, "least", ends.low, ends.high, "" if passed else why)


def _better(change: Change) -> Check:
    ends = change.interval
    why = (
        f"{PRIMARY} on held-out clicks is not better beyond doubt: {ends.mean:+.4f}, 95 % interval {ends.low:+.4f} to "
        f"{ends.high:+.4f}."
    )
    neutral = not ends.above and not ends.below
    why = "" if ends.above else why
    return Check(f"{PRIMARY} better", ends.mean, 0.0, ends.above, "least", ends.low, ends.high, why, neutral=neutral)
