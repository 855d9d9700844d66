"""How much each click counts: what it is worth, how seldom its place is looked at, and how many others say so.

    w = y · min(1/θ, most) · 2^(-age / half-life) · m_cell · m_capped, of mean 1

No query and no shopper has more than a share of all weight (bots, fans), and what comes from a rare device, cohort or
type of query is weighed up, so that the loop does not learn for the many alone.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backend.ml.click_training.plan import ClickPlan, Labels
from backend.ml.click_training.problem import Floats
from backend.ml.clicks.click_log import ClickLog

Rows = NDArray[np.int64]
Weights = NDArray[np.float64]
Numbers = NDArray[np.integer[Any]]

_ROUNDS = 50
_CLOSE = 1e-3
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Clicks:
    """k clicks, or likes and other judgements; (k,) each.

    Args:
        label: what each is worth.
        theta: examination of its place; 1 where it has none.
        query: row in ``Asked``.
        unit: whose it is; below 0 where nobody's.
        age: in days, before the newest list.
        cell: number of its device, cohort and type of query.
    """

    label: Weights
    theta: Weights
    query: Numbers
    unit: Numbers
    age: Weights
    cell: Numbers

    @classmethod
    def of(cls, log: ClickLog, theta: Floats, rows: Rows, lists: Rows) -> Self:
        """Of the rows (k,), which are in ``lists`` (k,)."""
        served = log.lists.served
        age = (served.max(initial=0.0) - served[lists]) / _DAY_S
        query, unit = log.lists.query[lists], log.lists.unit[lists]
        return cls(
            np.asarray(log.rows.label[rows], np.float64),
            np.asarray(theta[rows], np.float64),
            query,
            unit,
            age,
            cells_of(log, lists),
        )

    def and_judgements(self, log: ClickLog, rows: Rows) -> Self:
        """These and judgements: with certainty looked at, as new as can be, in the cell that has most clicks."""
        told, count = log.judgements, len(rows)
        common = int(np.bincount(self.cell).argmax()) if len(self.cell) else 0
        label = np.concatenate([self.label, told.label[rows]])
        return type(self)(
            label,
            np.concatenate([self.theta, np.ones(count)]),
            np.concatenate([self.query, told.query[rows]]),
            np.concatenate([self.unit, told.unit[rows]]),
            np.concatenate([self.age, np.zeros(count)]),
            np.concatenate([self.cell, np.full(count, common)]),
        )


def weights_of(clicks: Clicks, plan: ClickPlan, labels: Labels) -> Weights:
    """(k,) weights, of mean 1, or all 0 where nothing speaks for anything; ``naive`` leaves theta out."""
    if not (clicks.label > 0).any():
        return np.zeros(len(clicks.label))
    weights = np.asarray(clicks.label * 0.5 ** (clicks.age / plan.half_life), np.float64)
    if labels != "naive":
        weights *= np.minimum(1.0 / clicks.theta, plan.most_weight)
    weights *= lifted(clicks.cell, plan.most_lifted)
    weights = capped(weights, clicks.query, clicks.unit, plan.query_share, plan.unit_share)
    return np.asarray(weights / weights.mean())


def cells_of(log: ClickLog, lists: Rows) -> Rows:
    """(k,) number of the device, cohort and type of query of each list."""
    named = [(one.device, one.query_type) for one in log.contexts]
    of_context = np.array([sorted(set(named)).index(one) for one in named], dtype=np.int64)
    numbers = of_context[log.lists.context[lists]] * len(log.cohorts) + log.lists.cohort[lists]
    return np.asarray(np.unique(numbers, return_inverse=True)[1], dtype=np.int64)


def lifted(cells: Numbers, most: float) -> Weights:
    """(k,) factors by which a cell's weight grows as its size to the .5 and not to the 1; the greatest cell has 1."""
    sizes = np.bincount(cells)[cells]
    return np.asarray(np.minimum(most, np.sqrt(sizes.max(initial=1) / sizes)))


def capped(weights: Weights, query: Numbers, unit: Numbers, query_share: float, unit_share: float) -> Weights:
    """``weights`` (k,), lowered until no query and no shopper has more than its share of what is left."""
    return np.asarray(weights * shares_left(weights, query, unit, query_share, unit_share))


def shares_left(weights: Weights, query: Numbers, unit: Numbers, query_share: float, unit_share: float) -> Weights:
    """(k,) what is left of each of ``weights`` (k,) where no query and no shopper has more than its share of the rest.

    Where there are few of them a share is 5 / count: less would be no share for anybody. What is left is the same for
    all that a shopper did for a query, also where it weighs nothing.
    """
    left = np.ones(len(weights))
    for _ in range(_ROUNDS):
        by_query = left * _held(weights * left, query, query_share)
        lower = by_query * _held(weights * by_query, unit, unit_share)
        if (weights * lower).sum() >= (weights * left).sum() * (1 - _CLOSE):
            return np.asarray(lower)
        left = lower
    return left


def share_of_heaviest(weights: Weights, of: Numbers) -> float:
    """Greatest share of all weight that one of ``of`` (k,) has; 0 of none."""
    total = float(weights.sum())
    _, places = np.unique(of, return_inverse=True)
    return float(np.bincount(places, weights).max() / total) if total else 0.0


def effective(weights: Floats) -> float:
    """Effective number of clicks, (sum w)^2 / sum w^2; 0 of none."""
    squares = float((weights.astype(np.float64) ** 2).sum())
    return float(weights.sum(dtype=np.float64)) ** 2 / squares if squares else 0.0


def _held(weights: Weights, of: Numbers, share: float) -> Weights:
    """(k,) factors that leave each group's sum of ``weights`` at most t, where t is ``share`` of all that is left.

    With the k heaviest groups at t and the others' sum R, t = share (k t + R): the least k is right whose t no other
    group exceeds.
    """
    _, places = np.unique(of, return_inverse=True)
    sums = np.bincount(places, weights)
    share = max(share, 5.0 / max(int((sums > 0).sum()), 1))
    ordered = np.sort(sums)[::-1]
    if share >= 1 or ordered[0] <= share * ordered.sum():
        return np.ones(len(weights))
    room = 1 - share * np.arange(1, len(ordered) + 1)
    rest = ordered.sum() - np.cumsum(ordered)
    most = np.where(room > 0, share * rest / np.where(room > 0, room, 1.0), np.inf)
    limit = most[np.flatnonzero(np.append(ordered[1:], 0.0) <= most)[0]]
    factor = np.minimum(1.0, limit / np.maximum(sums, 1e-300))
    return np.asarray(factor[places])
