"""Examination by rank by maximum likelihood, with an effect for each pair of query and product.

clicked ~ Poisson(seen * theta_rank * gamma_pair), the family of Aslanyan and Porwal (arXiv 1812.09338). Given how often
a pair was clicked at all, its clicks fall on the ranks it stood at with

    pi_k = seen_k theta_k / sum_l seen_l theta_l

so that gamma falls out and log theta is that of a conditional logit: concave, a few Newton steps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.harvest import Clicks, Counts, component, harvest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS = 60
_LONGEST = 1.0
"""The most that log theta moves in a step."""


@dataclass(frozen=True)
class FixedEffects:
    """What was found.

    Args:
        theta: (ranks,) relative to rank 1; NaN where nothing compares the rank with it.
        deviation: (ranks,) standard error of log theta, the larger one of groups of queries and of shoppers; infinite
            where theta is not known.
    """

    theta: Floats
    deviation: Floats


def fixed_effects(
    counts: Counts, ranks: int, *, clicks: Clicks | None = None, groups: int = 256, tolerance: float = 1e-6
) -> FixedEffects:
    """Theta of ranks 1 to ``ranks``; pairs seen at one rank only, or never clicked, say nothing.

    Standard errors are sandwiches: only groups are independent (Liang and Zeger 1986).

    Args:
        counts: what was seen and clicked.
        ranks: how many ranks.
        clicks: the same clicks in groups of shoppers; None where it is not known whose they are.
        groups: of queries, by their number, and of shoppers.
        tolerance: of log theta.
    """
    compared = counts.compared(ranks)
    few = counts.where(compared)
    edges = harvest(few, ranks).clicks[0] > 0
    free = component((edges & edges.T)[None])[0]
    seen, clicked, pair, query = _dense(few, ranks, free)
    logs, total = np.zeros(ranks), clicked.sum(axis=1)
    known = free.copy()
    free[0] = False
    for _ in range(_STEPS if free.any() else 0):
        chance = _chances(seen, logs)
        expected = total[:, None] * chance
        information = np.diag(expected.sum(axis=0)) - chance.T @ expected
        step = np.zeros(ranks)
        step[free] = np.linalg.solve(information[np.ix_(free, free)], (clicked - expected).sum(axis=0)[free])
        logs += step * min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < tolerance:
            break
    deviation = np.where(np.arange(ranks) == 0, 0.0, np.inf)
    if free.any():
        chance = _chances(seen, logs)
        inverse = np.linalg.inv(information[np.ix_(free, free)])
        scores = [_grouped(clicked - total[:, None] * chance, query % groups, groups)]
        if clicks is not None:
            scores.append(_of_shoppers(few, clicks, compared, chance, pair, groups))
        deviation[free] = np.max([_sandwich(inverse, one[:, free]) for one in scores], axis=0)
    return FixedEffects(np.where(known, np.exp(logs), np.nan), deviation)


def _chances(seen: Floats, logs: Floats) -> Floats:
    """(p, ranks) pi."""
    weight = seen * np.exp(logs)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _dense(counts: Counts, ranks: int, known: NDArray[np.bool_]) -> tuple[Floats, Floats, Ints, Ints]:
    """(p, ranks) seen and clicked of pairs that were clicked; (m,) pair of each row, -1 for none; (p,) its query."""
    within = known[counts.rank - 1]
    pairs, number = np.unique(counts.pair, return_inverse=True)
    of_pair = np.bincount(number, counts.clicked * within, len(pairs)) > 0
    pair = np.where(within & of_pair[number], (np.cumsum(of_pair) - 1)[number], -1)
    rows, size = pair >= 0, int(of_pair.sum())
    cell = pair[rows] * ranks + counts.rank[rows] - 1
    seen, clicked = (
        np.bincount(cell, column[rows], size * ranks).reshape(size, ranks) for column in (counts.seen, counts.clicked)
    )
    query = np.zeros(size, np.int64)
    query[pair[rows]] = counts.query[rows]
    return seen.astype(np.float64), clicked.astype(np.float64), pair, query


def _grouped(scores: Floats, group: Ints, groups: int) -> Floats:
    """(groups, ranks) sums of ``scores`` (p, ranks)."""
    return np.stack([np.bincount(group, column, groups) for column in scores.T], axis=1)


def _of_shoppers(
    counts: Counts, clicks: Clicks, compared: NDArray[np.bool_], chance: Floats, pair: Ints, groups: int
) -> Floats:
    """(groups, ranks) scores of shoppers' clicks: where each fell less where it was to be expected."""
    row = (np.cumsum(compared) - 1)[clicks.row]
    kept = compared[clicks.row] & (pair[row] >= 0)
    row, group, times = row[kept], clicks.group[kept], clicks.times[kept]
    found = np.zeros((groups, chance.shape[1]))
    for rank in range(chance.shape[1]):
        beyond = (counts.rank[row] - 1 == rank) - chance[pair[row], rank]
        found[:, rank] = np.bincount(group, times * beyond, groups)
    return found


def _sandwich(inverse: Floats, scores: Floats) -> Floats:
    """(free,) standard errors."""
    count = max(int((scores != 0).any(axis=1).sum()), 2)
    spread = inverse @ (scores.T @ scores) @ inverse * count / (count - 1)
    return np.sqrt(np.diag(spread))
