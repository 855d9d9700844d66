"""Metrics of units: by hand, as tea-tasting has them, and false alarms at the promised rate."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.ml.statistics.ratios import Estimate, Sums, change, estimates, two_sided, worsening
from backend.ml.statistics.sample_ratio import chi_square_tail, sample_ratio
from tests.ml.statistics.truth import TRUTH

ABOVE = [0, 2, 0, 2, 1, 2, 0, 0, 1, 0, 2, 3, 2, 1, 2, 3, 0, 3, 0, 2, 2, 2, 0, 2, 0, 1, 2, 0, 2, 3,
         0, 2, 3, 2, 2, 1, 1, 1, 3, 1, 3, 1, 4, 1, 3, 3, 0, 1, 1, 1, 0, 3, 2, 2, 3, 1, 0, 1, 1, 3]  # fmt: skip
BELOW = [6, 4, 5, 6, 4, 5, 6, 2, 1, 2, 2, 6, 6, 1, 3, 5, 1, 5, 1, 3, 5, 2, 3, 2, 5, 2, 6, 3, 3, 4,
         4, 4, 4, 6, 5, 5, 5, 4, 3, 6, 3, 2, 6, 1, 6, 4, 1, 1, 3, 1, 1, 4, 6, 3, 5, 6, 5, 4, 3, 4]  # fmt: skip
ABOVE_BEFORE = [3, 1, 1, 1, 4, 0, 0, 0, 1, 0, 0, 3, 0, 1, 1, 2, 0, 0, 2, 0, 2, 1, 0, 1, 1, 0, 1, 1, 2, 0,
                2, 1, 0, 1, 2, 0, 2, 1, 1, 2, 4, 0, 1, 2, 1, 3, 0, 1, 3, 0, 0, 1, 1, 2, 4, 0, 3, 1, 2, 1]  # fmt: skip
BELOW_BEFORE = [5, 2, 5, 5, 5, 5, 2, 5, 1, 4, 6, 6, 2, 2, 4, 3, 5, 2, 2, 1, 3, 2, 2, 6, 5, 6, 4, 1, 5, 4,
                6, 3, 2, 4, 3, 4, 3, 2, 1, 6, 5, 3, 2, 4, 3, 4, 1, 2, 5, 1, 5, 3, 1, 5, 5, 5, 6, 5, 6, 1]  # fmt: skip
"""Clicks and queries of sixty shoppers, every second one in the second arm, and those of the weeks before."""


def both(*columns: list[int]) -> list[Sums]:
    """The sixty shoppers in their arms."""
    return [Sums(*(np.array(column[arm::2], float) for column in columns)) for arm in (0, 1)]


def test_a_ratio_and_its_variance_by_hand() -> None:
    """Y = (1, 3), N = (2, 2): R = 1, N̄ = 2, z = (-1/2, 1/2), s² = 1/2, Var R = 1/4."""
    (one,) = estimates([Sums(np.array([1.0, 3.0]), np.array([2.0, 2.0]))])
    assert (one.value, one.variance, one.units) == (1.0, pytest.approx(0.25), 2)


def test_values_are_those_of_tea_tasting() -> None:
    """RatioOfMeans of tea-tasting 1.14 with use_t=False, without covariates and with them, to all digits."""
    plain = change(*estimates(both(ABOVE, BELOW)))
    assert (plain.difference, plain.z, plain.p) == pytest.approx(
        (0.12540937774582633, 1.6965019501795742, 0.08979086115949426), rel=1e-12
    )
    before = change(*estimates(both(ABOVE, BELOW, ABOVE_BEFORE, BELOW_BEFORE)))
    assert (before.difference, before.z, before.p) == pytest.approx(
        (0.14814648139628733, 2.057721861676321, 0.039616840552786824), rel=1e-12
    )


def test_nothing_is_known_of_arms_without_units_or_queries() -> None:
    none = np.zeros(0)
    empty, asked, blank = estimates([Sums(none, none), Sums(np.ones(9), np.ones(9)), Sums(none[:0], none[:0])])
    assert math.isnan(empty.value)
    assert math.isnan(change(empty, asked).relative)
    assert not worsening(empty, asked, margin=0.0, higher_is_better=True, alpha=0.01, tuned_for=100) > -math.inf
    assert blank.units == 0


@given(st.floats(0.1, 10), st.integers(0, 5))
def test_counting_all_in_other_units_changes_nothing(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    above, below = rng.integers(0, 5, 40).astype(float), rng.integers(1, 6, 40).astype(float)
    one, other = (
        estimates([Sums(above[:20] * by, below[:20]), Sums(above[20:] * by, below[20:])]) for by in (1, scale)
    )
    assert change(*one).relative == pytest.approx(change(*other).relative)
    assert change(*one).z == pytest.approx(change(*other).z)


def test_worse_is_worse_only_beyond_the_margin() -> None:
    """0.20 against 0.10 with hardly any variance is worse by 0.1 beyond no margin, by 0.05 beyond one of a half."""
    good, bad = Estimate(0.1, 1e-12, 10_000, 1e-12), Estimate(0.2, 1e-12, 10_000, 1e-12)
    alike: Any = {"alpha": 0.01, "tuned_for": 2000}
    assert worsening(good, bad, margin=0.0, higher_is_better=False, **alike) == pytest.approx(0.1, abs=1e-4)
    assert worsening(good, bad, margin=0.5, higher_is_better=False, **alike) == pytest.approx(0.05, abs=1e-4)
    assert worsening(good, bad, margin=1.1, higher_is_better=False, **alike) < 0
    assert worsening(good, bad, margin=0.0, higher_is_better=True, **alike) < 0


def test_a_sample_ratio_by_hand() -> None:
    """Two arms of 50,000 and 48,900: χ² = 2 * 550² / 49,450 = 12.23, p = 0.00047; 49,300: p = 0.026."""
    assert sample_ratio([50_000, 48_900], [1, 1]).p == pytest.approx(0.00047, abs=5e-6)
    assert not sample_ratio([50_000, 48_900], [1, 1]).passed
    assert sample_ratio([50_000, 49_300], [1, 1]).p == pytest.approx(0.026, abs=5e-4)
    assert sample_ratio([250, 500, 250], [1, 2, 1]).p == 1.0
    assert sample_ratio([0, 0], [1, 1]).passed
    assert chi_square_tail(3.841458820694124, 1) == pytest.approx(0.05)
    with pytest.raises(ValueError, match="two or more"):
        sample_ratio([3], [1])


def shoppers(rng: np.random.Generator, count: int) -> Sums:
    """Shoppers who search more or less often and click more or less readily, as they did before."""
    told = TRUTH["arms_alike"]
    eager = rng.beta(told["readiness"][0], told["readiness"][1], count)
    queries = 1 + rng.negative_binomial(told["busy"][0], told["busy"][1], count)
    before = rng.negative_binomial(told["busy"][0], told["busy"][1], count)  # some were not there
    clicks, clicks_before = rng.binomial(queries, eager), rng.binomial(before, eager)
    return Sums(*(each.astype(float) for each in (clicks, queries, clicks_before, before)))


def naive_p(control: Sums, treated: Sums) -> float:
    """Two-sided p where each query is taken for somebody else's."""
    (a, m), (b, n) = ((float(arm.above.sum()), float(arm.below.sum())) for arm in (control, treated))
    share = (a + b) / (m + n)
    return two_sided((b / n - a / m) / math.sqrt(share * (1 - share) * (1 / m + 1 / n)))


def false_alarms(experiments: int) -> dict[str, float]:
    """How often arms that are alike are called different at 5 %: naively, by the delta method, and with CUPED."""
    told = TRUTH["arms_alike"]
    found = np.zeros((experiments, 3))
    cut = []
    for seed in range(experiments):
        rng = np.random.default_rng([told["seed"], seed])
        arms = [shoppers(rng, told["shoppers"]) for _ in range(2)]
        plain = estimates([Sums(arm.above, arm.below) for arm in arms])
        adjusted = estimates(arms)
        found[seed] = [naive_p(*arms), change(*plain).p, change(*adjusted).p]
        cut.append(1 - sum(one.variance for one in adjusted) / sum(one.raw_variance for one in adjusted))
    rates = (found < 0.05).mean(axis=0)
    return {"naive": rates[0], "delta": rates[1], "cuped": rates[2], "cut": float(np.mean(cut))}


def test_arms_that_are_alike_are_told_apart_as_often_as_promised_and_naively_far_too_often() -> None:
    found = false_alarms(TRUTH["arms_alike"]["quick"])
    assert 0.03 <= found["delta"] <= 0.07
    assert 0.03 <= found["cuped"] <= 0.07
    assert found["naive"] > 0.12  # the twin that fails
    assert found["cut"] > 0.1


@pytest.mark.slow
def test_arms_that_are_alike_in_many_experiments() -> None:
    found = false_alarms(TRUTH["arms_alike"]["long"])
    assert 0.045 <= found["delta"] <= 0.055
    assert 0.043 <= found["cuped"] <= 0.057
    assert found["naive"] > 0.12


def test_a_difference_is_found_and_sooner_with_what_was_before() -> None:
    """Of 40 experiments in which clicks rise by a fifth, CUPED finds more, and its intervals hold the truth."""
    told, plain, adjusted, held = TRUTH["arms_alike"], 0, 0, 0
    for seed in range(40):
        rng = np.random.default_rng([told["seed"] + 1, seed])
        control, treated = (shoppers(rng, told["shoppers"]) for _ in range(2))
        more = treated.above + rng.binomial(treated.above.astype(int), 0.2)
        arms = [control, Sums(more, treated.below, treated.above_before, treated.below_before)]
        plain += change(*estimates([Sums(arm.above, arm.below) for arm in arms])).p < 0.05
        differs = change(*estimates(arms))
        adjusted += differs.p < 0.05
        held += differs.low <= 0.2 <= differs.high
    assert adjusted > plain > 5
    assert held >= 35
