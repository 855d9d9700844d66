"""Whether clicks, once positions are taken out of them, agree with the order that chose what was shown.

What a whole shop clicks is not unrelated to what pictures, words and earlier clicks say. Where it seems to be, clicks
are by programs, by somebody with a purpose, or positions were taken out wrongly, and nothing is learned from them.

The order is that of what is live, not of the frozen encoder: within a list that the live ranking chose, a product that
the encoder holds for better is there with less of what production adds to it. So the two are opposed in every list
(Berkson's paradox), and honest clicks may agree with the encoder no more than a coin does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.estimates import clustered_deviation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SUSPICIOUS = 0.8
"""Share of a list that nobody opens who looks at what they open."""

_LEAST_SHOWN = 5
MOST_WEIGHT = 10.0
"""A click at a place that hardly anybody looks at counts no more than this."""


def indiscriminate(log: ClickLog) -> Bools:
    """(m,) lists of five products or more of which nearly everything was clicked."""
    shown = log.ends - log.lists.start
    clicked = np.bincount(log.list_of_rows(), log.rows.clicked, len(shown))
    return np.asarray((shown >= _LEAST_SHOWN) & (clicked >= SUSPICIOUS * shown))


def within_caps(unit: Ints, *, share: float = 0.001, least: int = 5) -> Bools:
    """(m,) lists that count, of the shoppers ``unit`` (m,): of each no more than a share of all, the first ones.

    Args:
        unit: whose list it is.
        share: of all lists.
        least: lists that everybody may have, however few there are in all; not less than 5 times what one has on
            average where shoppers are few.
    """
    _, number, counts = np.unique(unit, return_inverse=True, return_counts=True)
    most = max(least, int(max(share, 5.0 / max(len(counts), 1)) * len(unit)))
    order = np.argsort(number, kind="stable")
    place = np.empty(len(unit), np.int64)
    place[order] = np.arange(len(unit)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(place < most)


@dataclass(frozen=True)
class Agreement:
    """Chance that a ranking puts a clicked product above another one of its list; 0.5 is a coin.

    Args:
        value: of all that counts.
        low: end of its 95 % interval, over shoppers.
        high: the other end.
        lists: how many it is of.
    """

    value: float
    low: float
    high: float
    lists: int


def agreement(log: ClickLog, theta: Floats, scores: Floats) -> Agreement:
    """Mean place of clicked products in an order of their lists, each click over its propensity.

    sum (c / theta) * above / sum (c / theta), where above is the share of the list's other products that score lower:
    under the position-based model its expectation weighs products by relevance alone. The interval is that of a ratio,
    clustered by shopper.

    Args:
        log: of lists that count.
        theta: (n,) propensity of each row's place.
        scores: (n,) score of each row's product by the ranking.
    """
    of = log.list_of_rows()
    lists = len(log.lists.start)
    weight = np.where(log.rows.clicked, np.minimum(1.0 / np.maximum(theta, 1e-9), MOST_WEIGHT), 0.0)
    top = np.bincount(of, weight * share_below(scores, log.lists.start, log.ends), lists)
    bottom = np.bincount(of, weight, lists)
    counted = bottom > 0
    if not counted.any():
        return Agreement(float("nan"), 0.0, 1.0, 0)
    value = float(top.sum() / bottom.sum())
    linear = (top - value * bottom)[counted] / bottom[counted].mean()
    spread = clustered_deviation(linear, log.lists.unit[counted].astype(np.int64))
    return Agreement(value, value - 1.96 * spread, value + 1.96 * spread, int(counted.sum()))


def share_below(scores: Floats, starts: Ints, ends: Ints) -> Floats:
    """(n,) share of the other rows of its list whose score is lower, equal ones counted half; 0.5 where alone."""
    length = ends - starts
    of = np.repeat(np.arange(len(starts)), length)
    order = np.lexsort((scores, of))
    place = np.arange(len(scores)) - np.repeat(starts, length)
    # equal scores of a list share the mean of their places
    fresh = np.ones(len(scores), np.bool_)
    fresh[1:] = (np.diff(scores[order]) != 0) | (np.diff(of[order]) != 0)
    group = np.cumsum(fresh) - 1
    mean = np.bincount(group, place) / np.bincount(group) if len(group) else np.zeros(0)
    below = np.empty(len(scores))
    below[order] = mean[group]
    others = np.repeat(length - 1, length)
    return np.where(others > 0, below / np.maximum(others, 1), 0.5)
