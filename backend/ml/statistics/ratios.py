"""Ratio metrics of units that were divided between arms: clicks a query, where whole shoppers were assigned.

Searches of one shopper are alike, so that a test that takes each search for somebody else's calls nothing something
three times too often. The delta method goes by units: R = ΣY / ΣN, z_u = (Y_u - R N_u) / N̄, Var R = s²_z / n (Deng,
Knoblich and Lu, KDD 2018, arXiv 1803.06336). CUPED takes away what the same units did before (Deng, Xu, Kohavi and
Walker, WSDM 2013): z - θ (x - x̄), with x linearised alike, and one regressor more that says who was not there before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.statistics.any_time import half_width

Floats = NDArray[np.floating[Any]]

_NORMAL = NormalDist()

_COLUMNS = ("above", "below", "above_before", "below_before")


@dataclass(frozen=True)
class Sums:
    """What each unit of an arm came to; (n,) each.

    Args:
        above: numerators Y, such as clicks.
        below: denominators N, such as queries; ones for a mean a unit.
        above_before: the same of the days before the experiment; None: nothing is known of them.
        below_before: likewise; 0 is a unit that was not there.
    """

    above: Floats
    below: Floats
    above_before: Floats | None = None
    below_before: Floats | None = None


@dataclass(frozen=True)
class Estimate:
    """A metric of an arm.

    Args:
        value: the ratio R, after CUPED where that was possible.
        variance: of ``value``.
        units: n.
        raw_variance: of the ratio without CUPED.
    """

    value: float
    variance: float
    units: int
    raw_variance: float


def estimates(arms: Sequence[Sums]) -> list[Estimate]:
    """The ratio of each arm with its variance; an arm without units or without denominators has NaN.

    CUPED is done where all arms say what was before and the variance falls by it.
    """
    plain = [_linearised(arm.above, arm.below) for arm in arms]
    raw = [_estimate(value, residuals) for value, residuals in plain]
    covariates = [_covariates(arm) for arm in arms]
    before = [one for one in covariates if one is not None]
    if len(before) < len(arms) or any(not math.isfinite(one.variance) for one in raw):
        return raw
    theta = _theta(arms)
    middle = np.average([means for means, _ in before], axis=0, weights=[len(rows) for _, rows in before])
    found = [
        Estimate(value - float((means - middle) @ theta), _variance_of_mean(rows - own @ theta), len(rows), of.variance)
        for (value, rows), (means, own), of in zip(plain, before, raw, strict=True)
    ]
    return found if sum(one.variance for one in found) < sum(one.variance for one in raw) else raw


@dataclass(frozen=True)
class Change:
    """How an arm differs from its control.

    Args:
        difference: of the values.
        variance: of the difference.
        relative: of the control's value; NaN where that is 0.
        low: lower end of the 95 % interval of ``relative``, for one look that was planned.
        high: upper end.
        z: difference in its standard errors.
        p: two-sided chance of so great a difference where there is none.
        any_time_low: lower end of the 95 % interval of ``relative`` that holds at all times together.
        any_time_high: upper end.
    """

    difference: float
    variance: float
    relative: float
    low: float
    high: float
    z: float
    p: float
    any_time_low: float
    any_time_high: float


def change(control: Estimate, treated: Estimate, *, alpha: float = 0.05, tuned_for: float = 5000) -> Change:
    """What ``treated`` has more than ``control``; NaN where either is not known."""
    difference = treated.value - control.value
    variance = treated.variance + control.variance
    relative = difference / control.value if control.value else math.nan
    # of R_t / R_c, by the delta method
    base = control.value**2
    of_relative = treated.variance / base + treated.value**2 * control.variance / base**2 if base else math.nan
    units = control.units + treated.units
    z = difference / math.sqrt(variance) if variance > 0 else math.nan
    half = _NORMAL.inv_cdf(1 - alpha / 2) * math.sqrt(of_relative)
    whole = half_width(math.sqrt(of_relative * units), units, alpha=alpha, tuned_for=tuned_for)
    return Change(
        difference=difference,
        variance=variance,
        relative=relative,
        low=relative - half,
        high=relative + half,
        z=z,
        p=two_sided(z),
        any_time_low=relative - whole,
        any_time_high=relative + whole,
    )


def worsening(
    control: Estimate, treated: Estimate, *, margin: float, higher_is_better: bool, alpha: float, tuned_for: float
) -> float:
    """How much worse than ``margin`` of the control's value ``treated`` is at least, at all times together.

    Above 0 it is worse by more than the margin, and that is wrong with a chance of at most ``alpha`` however often one
    looks. Minus infinity where nothing is known.
    """
    factor = 1 - margin if higher_is_better else 1 + margin
    beyond = factor * control.value - treated.value
    beyond = beyond if higher_is_better else -beyond
    variance = treated.variance + factor**2 * control.variance
    units = control.units + treated.units
    if not math.isfinite(beyond) or not math.isfinite(variance):
        return -math.inf
    sd = math.sqrt(variance * units)
    return beyond - half_width(sd, units, alpha=alpha, tuned_for=tuned_for, one_sided=True)


def two_sided(z: float) -> float:
    """Chance that a standard normal is further from 0 than ``z``; NaN for NaN."""
    return math.erfc(abs(z) / math.sqrt(2))


def _linearised(above: Floats, below: Floats) -> tuple[float, Floats]:
    """R, and (n,) z."""
    total = float(np.sum(below))
    if not total:
        return math.nan, np.zeros(len(below))
    ratio = float(np.sum(above)) / total
    return ratio, (above - ratio * below) / (total / len(below))


def _estimate(value: float, residuals: Floats) -> Estimate:
    variance = _variance_of_mean(residuals) if math.isfinite(value) else math.nan
    return Estimate(value, variance, len(residuals), variance)


def _variance_of_mean(rows: Floats) -> float:
    return float(np.var(rows, ddof=1)) / len(rows) if len(rows) > 1 else math.nan


def _covariates(arm: Sums) -> tuple[Floats, Floats] | None:
    """Ratio before and share of units that were not there (2,), what each unit adds to them (n, 2); None: unknown."""
    if arm.above_before is None or arm.below_before is None or not np.any(arm.below_before):
        return None
    ratio, rows = _linearised(arm.above_before, arm.below_before)
    absent = (arm.below_before == 0).astype(np.float64)
    share = float(absent.mean())
    return np.array([ratio, share]), np.stack([rows, absent - share], axis=1)


def _theta(arms: Sequence[Sums]) -> Floats:
    """(2,) of the regression of the ratio on what was before, over the units of all arms together."""
    whole = Sums(*(np.concatenate([getattr(arm, name) for arm in arms]) for name in _COLUMNS))
    covariates = _covariates(whole)
    _, rows = _linearised(whole.above, whole.below)
    if covariates is None:
        return np.zeros(2)
    return np.asarray(np.linalg.lstsq(covariates[1], rows, rcond=None)[0])
