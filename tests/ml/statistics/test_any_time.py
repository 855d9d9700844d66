"""Looking often: intervals that hold at all times together, looks planned ahead, and the naive test that alarms."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.ml.statistics.any_time import half_width
from backend.ml.statistics.looks import boundaries
from backend.ml.statistics.multiplicity import benjamini_hochberg, holm
from backend.ml.statistics.ratios import Estimate, change, worsening
from tests.ml.statistics.truth import TRUTH


def test_the_half_width_by_hand() -> None:
    """α = 0.05: -2 ln α = 5.9915, ρ² n* = 5.9915 + ln 6.9915 = 7.9362; at n = n* = 100, √8.9362 = 2.98935:
    √(2 * 8.9362 / (100 * 7.9362) * ln(2.98935 / 0.05)) = √(0.0225201 * 4.09080) = 0.30352.
    """
    assert half_width(1.0, 100, alpha=0.05, tuned_for=100) == pytest.approx(0.30352, abs=1e-5)
    assert half_width(2.0, 100, alpha=0.05, tuned_for=100) == pytest.approx(2 * 0.30352, abs=2e-5)
    assert half_width(1.0, 0, alpha=0.05, tuned_for=100) == math.inf
    with pytest.raises(ValueError, match=r"expected 0 to 0.5"):
        half_width(1.0, 1, alpha=0.0, tuned_for=100)


@given(st.integers(2, 10**7), st.floats(0.001, 0.05), st.floats(10, 1e5))
def test_it_is_wider_than_one_look_and_one_side_is_narrower(n: int, alpha: float, tuned_for: float) -> None:
    both = half_width(1.0, n, alpha=alpha, tuned_for=tuned_for)
    one = half_width(1.0, n, alpha=alpha, tuned_for=tuned_for, one_sided=True)
    assert one < both
    assert both > math.sqrt(-math.log(alpha) / n)  # more than 2 - 2Φ(z) ≤ exp(-z²/2) asks of one look
    assert half_width(1.0, n * 4, alpha=alpha, tuned_for=tuned_for) < both


def test_it_is_narrowest_where_it_is_tuned_for() -> None:
    relative = {n: half_width(1.0, 1000, alpha=0.05, tuned_for=n) for n in (100, 500, 1000, 2000, 10_000)}
    assert min(relative, key=lambda n: relative[n]) == 1000


def test_boundaries_of_four_looks_are_those_of_the_tables() -> None:
    assert boundaries() == pytest.approx((4.048, 2.862, 2.337, 2.024), abs=1e-3)
    with pytest.raises(ValueError, match="9 looks"):
        boundaries(9)


def test_adjusted_chances_by_hand() -> None:
    """Holm of (.01, .04, .03): 3 * .01, then 2 * .03 = .06, then max(.06, .04); BH: .03, .04 and min(.045, .04)."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert holm([]) == benjamini_hochberg([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def peeked(experiments: int) -> dict[str, float]:
    """How often arms that are alike are ever called different in 28 daily looks, or in four planned ones."""
    told = TRUTH["looking_daily"]
    days, units, seed = told["days"], told["units_a_day"], told["seed"]
    rng = np.random.default_rng(seed)
    alarms = np.zeros((experiments, 4), dtype=bool)
    crosses = dict(zip(told["looks"], boundaries(len(told["looks"])), strict=True))
    for number in range(experiments):
        rows = rng.exponential(1.0, size=(2, days * units))  # as skewed as clicks of shoppers are
        for day in range(1, days + 1):
            control, treated = (_estimate(arm[: day * units]) for arm in rows)
            differs = change(control, treated, tuned_for=told["tuned_for"])
            alike: Any = {"margin": 0.0, "higher_is_better": True, "alpha": 0.01, "tuned_for": told["tuned_for"]}
            alarms[number] |= [
                differs.p < 0.05,
                differs.any_time_low > 0 or differs.any_time_high < 0,
                day in crosses and abs(differs.z) > crosses[day],
                worsening(control, treated, **alike) > 0,
            ]
    return dict(zip(("fixed", "any_time", "planned", "guardrail"), alarms.mean(axis=0).tolist(), strict=True))


def _estimate(rows: np.ndarray) -> Estimate:
    variance = float(rows.var(ddof=1)) / len(rows)
    return Estimate(float(rows.mean()), variance, len(rows), variance)


def test_looking_every_day_calls_nothing_something_only_where_intervals_are_for_one_look() -> None:
    found = peeked(TRUTH["looking_daily"]["quick"])
    assert found["any_time"] <= 0.05
    assert found["guardrail"] <= 0.02
    assert found["planned"] <= 0.08
    assert found["fixed"] > 0.2  # the twin that fails


@pytest.mark.slow
def test_looking_every_day_at_many_experiments() -> None:
    found = peeked(TRUTH["looking_daily"]["long"])
    assert found["any_time"] <= 0.05
    assert found["guardrail"] <= 0.01
    assert 0.035 <= found["planned"] <= 0.065
    assert found["fixed"] > 0.2
