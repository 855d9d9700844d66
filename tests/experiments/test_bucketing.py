"""Buckets and arms: published vectors, uniform and independent over 100,000 units, and what ramping leaves alone."""

import math
import re
from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.experiments.bucketing import BUCKETS, Hashing, arm_of, bucket, is_within

UNITS = [f"shopper-{number:06d}" for number in range(100_000)]

VECTORS = [
    ("exp-adapters-001", "u42", 7027, 3054),
    ("", "", 9996, 2305),
    ("ranker", "a7", 6831, 9038),
    ("ranker", "shopper-000001", 9597, 889),
    ("söhne", "größe", 2499, 5338),
    ("ranker", "👟", 2871, 4994),
]
"""Salt, unit, bucket under sha256, bucket under fnv_v2. The first of fnv_v2 is GrowthBook's own 0.3054."""


def critical(df: int) -> float:
    """Value that χ² with ``df`` degrees of freedom exceeds once in a thousand (Wilson and Hilferty, 1931)."""
    return df * (1 - 2 / (9 * df) + 3.0902 * math.sqrt(2 / (9 * df))) ** 3


def chi_square(table: Counter[tuple[int, int]]) -> tuple[float, int]:
    """χ² of independence of a two-way table and its degrees of freedom."""
    rows, columns, total = Counter[int](), Counter[int](), table.total()
    for (row, column), count in table.items():
        rows[row] += count
        columns[column] += count
    expected = {(r, c): rows[r] * columns[c] / total for r, c in product(rows, columns)}
    value = sum((table[cell] - mean) ** 2 / mean for cell, mean in expected.items())
    return value, (len(rows) - 1) * (len(columns) - 1)


@pytest.mark.parametrize(("salt", "unit", "ours", "growthbook"), VECTORS)
def test_vectors_are_exact(salt: str, unit: str, ours: int, growthbook: int) -> None:
    assert (bucket(salt, unit), bucket(salt, unit, "fnv_v2")) == (ours, growthbook)


def test_the_vectors_are_published() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "experiments.md").read_text()
    rows = re.findall(r"^\| `(.*)` \| `(.*)` \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    shown = {(salt, unit): (int(ours), int(theirs)) for salt, unit, ours, theirs in rows}
    assert shown == {(salt, unit): (ours, theirs) for salt, unit, ours, theirs in VECTORS if salt}


@pytest.mark.parametrize("hashing", ["sha256", "fnv_v2"])
def test_buckets_are_uniform_over_100_000_units(hashing: Hashing) -> None:
    counts = Counter(bucket("ranker", unit, hashing) for unit in UNITS)
    value = sum((counts[place] - 10) ** 2 / 10 for place in range(BUCKETS))
    assert value < critical(BUCKETS - 1)
    assert counts.keys() <= set(range(BUCKETS))


# "exp-a" against "exp-b" under FNV-1a once, as GrowthBook's version 1 did: 26,521 units where 25,000 belong
@pytest.mark.parametrize("salts", list(pairwise(["exp-a", "exp-b", "ranker", "explore", "ranker-2", "3f9c", "3f9d"])))
def test_two_salts_give_independent_buckets(salts: tuple[str, str]) -> None:
    table = Counter((bucket(salts[0], unit) * 10 // BUCKETS, bucket(salts[1], unit) * 10 // BUCKETS) for unit in UNITS)
    value, df = chi_square(table)
    assert df == 81
    assert value < critical(df)


def test_arms_are_independent_of_the_slice_that_let_a_unit_in() -> None:
    """Whoever lies in the first tenth of a layer falls to the arms as everybody else does, in the ratio of weights."""
    weights = (1, 1, 2)
    table = Counter((bucket("layer", unit) * 10 // BUCKETS, arm_of(bucket("arms", unit), weights)) for unit in UNITS)
    value, df = chi_square(table)
    assert value < critical(df)
    arms = Counter(arm_of(bucket("arms", unit), weights) for unit in UNITS)
    shares = [100_000 * weight / 4 for weight in weights]
    assert sum((arms[arm] - share) ** 2 / share for arm, share in enumerate(shares)) < critical(2)


def test_coverage_takes_units_of_all_arms_alike() -> None:
    table = Counter((int(bucket("entry", unit) < 3000), arm_of(bucket("arms", unit), (1, 1, 1, 1))) for unit in UNITS)
    value, df = chi_square(table)
    assert df == 3
    assert value < critical(df)


def test_more_coverage_and_more_slices_move_nobody_between_arms() -> None:
    """Ramping only lets units in: who was in stays in, in the same arm."""

    def assigned(coverage: int, slices: list[tuple[int, int]]) -> dict[str, int]:
        return {
            unit: arm_of(bucket("arms", unit), (1, 1))
            for unit in UNITS
            if is_within(bucket("layer", unit), slices) and bucket("entry", unit) < coverage
        }

    steps = [(500, [(0, 1000)]), (5000, [(0, 1000)]), (10_000, [(0, 1000)]), (10_000, [(0, 1000), (4000, 5000)])]
    reached = [assigned(coverage, slices) for coverage, slices in steps]
    for one, units in zip(reached, (500, 5000, 10_000, 20_000), strict=True):
        assert abs(len(one) - units) < 4 * math.sqrt(units)
    for before, after in pairwise(reached):
        assert before.items() <= after.items()


def test_arms_lie_side_by_side_in_their_order() -> None:
    assert [arm_of(place, (1, 2, 1)) for place in (0, 2499, 2500, 7499, 7500, 9999)] == [0, 0, 1, 1, 2, 2]
    assert [arm_of(place, (0, 1, 0)) for place in (0, 9999)] == [1, 1]


@given(st.integers(0, BUCKETS - 1), st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
def test_no_unit_falls_to_an_arm_without_weight(place: int, weights: list[float]) -> None:
    if sum(weights) <= 0:
        with pytest.raises(ValueError, match="weights of arms"):
            arm_of(place, weights)
    else:
        assert weights[arm_of(place, weights)] > 0


@given(st.text(), st.text())
def test_any_text_has_a_bucket(salt: str, unit: str) -> None:
    assert 0 <= bucket(salt, unit) < BUCKETS
    assert 0 <= bucket(salt, unit, "fnv_v2") < BUCKETS
