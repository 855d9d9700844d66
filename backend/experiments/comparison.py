"""Arms compared, from the sums of their units: values, intervals, guardrails, slices."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backend.experiments.metrics import HARM_ALPHA, LATENCY, METRICS, Metric
from backend.experiments.result_schemas import (
    ArmValue,
    Harm,
    MetricChange,
    MetricRead,
    SampleRatioRead,
    SliceChange,
    SliceRatio,
)
from backend.experiments.unit_sums import UnitSums
from backend.ml.statistics.any_time import FEWEST
from backend.ml.statistics.multiplicity import benjamini_hochberg, holm
from backend.ml.statistics.ratios import Estimate, Sums, change, estimates, worsening
from backend.ml.statistics.sample_ratio import sample_ratio

SLICED_BY = ("device", "query_type")

TUNED_FOR = 2000
"""Units at which any-time intervals are to be narrowest; at five times as many they are 5 % wider than need be."""


def ratio_of_units(rows: UnitSums, weights: Sequence[float]) -> SampleRatioRead:
    """Whether the arms got the units that their weights say, in all and on each device."""
    ours = rows.only(rows.placed & ~rows.before)
    whole = sample_ratio(_units(ours), weights)
    slices = []
    for value in sorted(set(ours.device.tolist())):
        part = sample_ratio(_units(ours.only(ours.device == value)), weights)
        slices.append(SliceRatio(dimension="device", value=value or "unknown", p=part.p, passed=part.passed))
    return SampleRatioRead(
        found=list(whole.found), expected=list(whole.expected), p=whole.p, passed=whole.passed, slices=slices
    )


def compare(rows: UnitSums, primary: Metric, p95: Sequence[float | None]) -> list[MetricRead]:
    """All metrics in all arms, each against the first one; the primary metric first.

    Args:
        rows: of the units that are compared.
        primary: what the experiment is judged by.
        p95: of each arm's latency in ms.
    """
    metrics = [primary, *(one for one in METRICS if one is not primary)]
    found = [_read(one, estimates(arm_sums(rows, one)), rows.arms, role_of(one, primary)) for one in metrics]
    secondary = [each for one in found if one.role != "primary" for each in one.changes if each.p is not None]
    for each, adjusted in zip(secondary, holm([each.p for each in secondary if each.p is not None]), strict=True):
        each.p_adjusted = adjusted
    first = [each for each in found[0].changes if each.p is not None]
    for each, adjusted in zip(first, holm([each.p for each in first if each.p is not None]), strict=True):
        each.p_adjusted = adjusted
    return [*found, _latency(rows, p95)]


def by_slice(rows: UnitSums, primary: Metric) -> list[SliceChange]:
    """The primary metric on each device and for each type of query that has enough units in both arms."""
    found = []
    for dimension in SLICED_BY:
        column = getattr(rows, dimension)
        for value in sorted(set(column[~rows.before].tolist())):
            found += _slice(rows.only(column == value), primary, dimension, value or "unknown")
    known = [(one, p) for one, p in found if not math.isnan(p)]
    for (one, _), q in zip(known, benjamini_hochberg([p for _, p in known]), strict=True):
        one.q = q
    return [one for one, _ in found]


def arm_sums(rows: UnitSums, metric: Metric) -> list[Sums]:
    """What each arm's units came to in ``metric``."""
    count = int(rows.unit.max()) + 1 if len(rows.unit) else 0
    now, before = ~rows.before, rows.before
    seen = np.bincount(rows.unit[now], minlength=count) > 0
    arm = np.zeros(count, np.int64)
    arm[rows.unit] = rows.arm

    def of(name: str | None, which: NDArray[np.bool_]) -> NDArray[np.float64]:
        if name is None:
            return (np.bincount(rows.unit[which], minlength=count) > 0).astype(np.float64)
        return np.bincount(rows.unit[which], weights=rows.of(name)[which], minlength=count).astype(np.float64)

    above, below = of(metric.above, now), of(metric.below, now)
    past_above, past_below = of(metric.above, before), of(metric.below, before)
    known = before.any()
    return [
        Sums(
            above[own],
            below[own],
            past_above[own] if known else None,
            past_below[own] if known else None,
        )
        for own in (seen & (arm == place) for place in range(len(rows.arms)))
    ]


def role_of(metric: Metric, primary: Metric) -> str:
    """What ``metric`` is for where ``primary`` is judged by."""
    if metric is primary:
        return "primary"
    return "secondary" if metric.margin is None else "guardrail"


def _read(metric: Metric, found: Sequence[Estimate], arms: Sequence[str], role: str) -> MetricRead:
    control = found[0]
    values = [ArmValue(arm=arm, value=_known(one.value)) for arm, one in zip(arms, found, strict=True)]
    changes = []
    for arm, one in zip(arms[1:], found[1:], strict=True):
        differs = change(control, one, tuned_for=TUNED_FOR)
        raw = control.raw_variance + one.raw_variance
        cut = 1 - (control.variance + one.variance) / raw if raw > 0 else 0.0
        changes.append(
            MetricChange(
                arm=arm,
                against=arms[0],
                relative=_known(differs.relative),
                low=_known(differs.low),
                high=_known(differs.high),
                any_time_low=_known(differs.any_time_low),
                any_time_high=_known(differs.any_time_high),
                z=_known(differs.z),
                p=_known(differs.p),
                p_adjusted=None,
                variance_cut=cut,
                harm=_harm(metric, control, one),
            )
        )
    return MetricRead.model_validate(
        {"name": metric.name, "title": metric.title, "unit": metric.unit, "better": metric.better, "role": role}
        | {"arms": values, "changes": changes}
    )


def _harm(metric: Metric, control: Estimate, treated: Estimate, margin: float | None = None) -> Harm | None:
    if metric.margin is None:
        return None
    bound = worsening(
        control,
        treated,
        margin=metric.margin if margin is None else margin,
        higher_is_better=metric.better == "higher",
        alpha=HARM_ALPHA,
        tuned_for=TUNED_FOR,
    )
    if min(control.units, treated.units) < FEWEST or not math.isfinite(bound):
        return Harm(margin=metric.margin, bound=None, breached=False)
    return Harm(margin=metric.margin, bound=bound, breached=bound > 0)


def _latency(rows: UnitSums, p95: Sequence[float | None]) -> MetricRead:
    """The share of slow lists is what is compared; the first arm's own is 5 % but for what its p95 is off."""
    changes = []
    slow = Metric(LATENCY.name, LATENCY.title, LATENCY.unit, LATENCY.better, "slow", LATENCY.below, LATENCY.margin)
    control = estimates(arm_sums(rows.only(~rows.before), slow))[0]
    for place, treated in enumerate(estimates(arm_sums(rows.only(~rows.before), LATENCY))[1:], 1):
        base, own = p95[0], p95[place]
        changes.append(
            MetricChange(
                arm=rows.arms[place],
                against=rows.arms[0],
                relative=own / base - 1 if own is not None and base else None,
                low=None,
                high=None,
                any_time_low=None,
                any_time_high=None,
                z=None,
                p=None,
                p_adjusted=None,
                variance_cut=0.0,
                harm=_harm(LATENCY, control, treated, margin=0.0),
            )
        )
    values = [ArmValue(arm=arm, value=value) for arm, value in zip(rows.arms, p95, strict=True)]
    return MetricRead(
        name=LATENCY.name,
        title=LATENCY.title,
        unit="ms",
        better="lower",
        role="guardrail",
        arms=values,
        changes=changes,
    )


def _slice(rows: UnitSums, primary: Metric, dimension: str, value: str) -> list[tuple[SliceChange, float]]:
    found = estimates(arm_sums(rows, primary))
    told = []
    for arm, one in zip(rows.arms[1:], found[1:], strict=True):
        if min(one.units, found[0].units) < FEWEST:
            continue
        differs = change(found[0], one)
        part = SliceChange(
            dimension=dimension,
            value=value,
            arm=arm,
            units=one.units + found[0].units,
            relative=_known(differs.relative),
            low=_known(differs.low),
            high=_known(differs.high),
            q=None,
        )
        told.append((part, differs.p))
    return told


def _units(rows: UnitSums) -> list[int]:
    return [len(np.unique(rows.unit[rows.arm == place])) for place in range(len(rows.arms))]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
