"""Which of two interleaved rankings shoppers take from: a preference by unit, with intervals.

A list is won by the team with more credit, the sum of the labels of what was taken from it (a satisfied click 1, a
cart 2); a list without credit for either says nothing. A unit's preference is (lists won by B + half of the ties) /
lists - ½, so that one busy shopper weighs as much as any other (Chapelle, Joachims, Radlinski and Yue, TOIS 2012,
section 4).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.statistics.any_time import half_width
from backend.ml.statistics.ratios import two_sided

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

_FLIPS = 2000
_MOST_FLIPPED = 5000


@dataclass(frozen=True)
class Preference:
    """How much rather shoppers take from B than from A, -½ to ½.

    Args:
        value: mean over units.
        low: lower end of the interval for one look that was planned (Student's t over units).
        high: upper end.
        any_time_low: lower end of the interval that holds at all times together.
        any_time_high: upper end.
        p: two-sided chance where there is no preference: the sign of each unit's preference is flipped.
        units: units with a list that has credit.
        decided: those of them that prefer either.
        wins_a: lists that A won.
        wins_b: lists that B won.
        ties: lists with as much credit for either.
    """

    value: float
    low: float
    high: float
    any_time_low: float
    any_time_high: float
    p: float
    units: int
    decided: int
    wins_a: int
    wins_b: int
    ties: int


def preference(
    units: Ints, credit_a: Floats, credit_b: Floats, *, level: float = 0.9, tuned_for: float = 2000, seed: int = 0
) -> Preference:
    """What lists with credit (m,) for each team say.

    Args:
        units: (m,) number of the unit whose list it is.
        credit_a: (m,) sum of the labels of what was taken from A.
        credit_b: (m,) likewise from B.
        level: of both intervals.
        tuned_for: units at which the any-time interval is to be narrowest.
        seed: of the signs that are flipped.
    """
    counted = (credit_a > 0) | (credit_b > 0)
    units, ahead = units[counted], np.sign(credit_b - credit_a)[counted]
    _, own = np.unique(units, return_inverse=True)
    lists = np.bincount(own)
    means = np.bincount(own, weights=ahead / 2) / lists if len(lists) else np.zeros(0)
    n = len(means)
    value = float(means.mean()) if n else math.nan
    sd = float(means.std(ddof=1)) if n > 1 else math.nan
    half = students_t(level, n - 1) * sd / math.sqrt(n) if n > 1 else math.inf
    whole = half_width(sd, n, alpha=1 - level, tuned_for=tuned_for) if n > 1 else math.inf
    return Preference(
        value=value,
        low=value - half,
        high=value + half,
        any_time_low=value - whole,
        any_time_high=value + whole,
        p=_chance(means, np.random.default_rng(seed)),
        units=n,
        decided=int((means != 0).sum()),
        wins_a=int((ahead < 0).sum()),
        wins_b=int((ahead > 0).sum()),
        ties=int((ahead == 0).sum()),
    )


def students_t(level: float, df: int) -> float:
    """Half-width of the ``level`` interval of Student's t in its standard errors (Abramowitz and Stegun, 26.7.5).

    It is exact for 1 and 2 degrees of freedom. The expansion is off by less than 1 % from 3 on, at levels up to 0.95,
    and by less than 0.1 % from 10 on, at levels up to 0.99.
    """
    if df == 1:
        return math.tan(math.pi * level / 2)
    if df == 2:
        return level * math.sqrt(2 / (1 - level**2))
    z = NormalDist().inv_cdf(0.5 + level / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / df + second / df**2 + third / df**3


def _chance(means: Floats, rng: np.random.Generator) -> float:
    """Two-sided, by flipping signs; by the normal distribution where there are too many units for that."""
    decided = means[means != 0]
    if not len(decided):
        return 1.0
    found = abs(decided.sum())
    if len(decided) > _MOST_FLIPPED:
        return two_sided(float(found) / math.sqrt(float(np.square(decided).sum())))
    beyond = 0
    for _ in range(_FLIPS // 100):
        signs = rng.integers(0, 2, size=(100, len(decided))) * 2 - 1
        beyond += int((np.abs(signs @ decided) >= found - 1e-12).sum())
    return (beyond + 1) / (_FLIPS + 1)
