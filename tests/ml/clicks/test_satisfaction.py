"""How long a stay satisfies is found where it was planted; one cut for all is wrong for some."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.ml.clicks.satisfaction import DwellCounts, DwellCuts, youden_cut

SECONDS = st.integers(0, 60)


def cuts_of(*segments: tuple[int, int, np.ndarray, np.ndarray], devices: int = 2, categories: int = 2) -> DwellCuts:
    """Of segments of (device, category, seconds of stays after which it was kept, of others)."""
    counts = DwellCounts(devices, categories)
    for device, category, kept, left in segments:
        seconds = np.concatenate([kept, left])
        shape = np.ones(len(seconds), np.int64)
        was_kept = np.arange(len(seconds)) < len(kept)
        counts.add(device * shape, category * shape, (1000 * seconds).astype(np.int64), was_kept)
    return counts.cuts()


@given(arrays(np.int64, (2, 61), elements=st.integers(0, 5)))
@settings(max_examples=60, deadline=None)
def test_the_cut_is_where_both_kinds_differ_most(counts: np.ndarray) -> None:
    def j(cut: int) -> float:
        left, kept = (side[cut:].sum() / max(side.sum(), 1) for side in counts)
        return float(kept - left)

    cut = youden_cut(counts)
    assert 8 <= cut <= 60
    assert j(cut) == pytest.approx(max(j(one) for one in range(8, 61)))
    assert all(j(one) < j(cut) + 1e-12 for one in range(8, cut))


def planted(rng: np.random.Generator, median_s: float, n: int) -> np.ndarray:
    return median_s * np.exp(0.5 * rng.standard_normal(n))


def test_each_device_has_its_own_cut_and_one_for_all_is_wrong_on_both() -> None:
    """Phones: 12 s against 3 s; desks: 80 s against 30 s. 30 s, the classic, calls nearly all that was kept
    on phones a bounce, and half of what was left on desks satisfying."""
    rng = np.random.default_rng(1)
    phones, desks = (planted(rng, 12, 900), planted(rng, 3, 900)), (planted(rng, 80, 900), planted(rng, 30, 900))
    found = cuts_of((0, 0, *phones), (1, 1, *desks))

    def right(cut_s: float, kept: np.ndarray, left: np.ndarray) -> float:
        return float(((kept >= cut_s).mean() + (left < cut_s).mean()) / 2)

    for device, stays in enumerate((phones, desks)):
        assert right(found.cut_ms[device, device] / 1000, *stays) > 0.8
    assert right(30, *phones) < 0.55
    assert right(30, *desks) < 0.77
    assert 8 <= found.cut_ms[0, 0] / 1000 < 10  # 6 s would be best; nothing below 8 s satisfies
    assert 40 < found.cut_ms[1, 1] / 1000 < 60


def test_few_clicks_take_the_cut_of_the_device_and_fewer_the_classic() -> None:
    rng = np.random.default_rng(2)
    many, few = (planted(rng, 40, 400), planted(rng, 4, 400)), (planted(rng, 40, 100), planted(rng, 4, 100))
    found = cuts_of((0, 0, *many), (0, 1, *few))
    assert found.cut_ms[0, 1] == next(one for one in found.segments if (one.device, one.category) == (0, None)).cut_ms
    assert found.cut_ms[1].tolist() == [found.segments[0].cut_ms] * 2  # of no device's own: of all
    assert cuts_of((0, 0, *few)).cut_ms.tolist() == [[30_000] * 2] * 2
    assert cuts_of((0, 0, planted(rng, 40, 3), planted(rng, 4, 4000))).cut_ms[0, 0] == 30_000  # three say nothing


def test_where_time_says_little_every_click_counts_that_was_no_bounce() -> None:
    rng = np.random.default_rng(3)
    found = cuts_of((0, 0, planted(rng, 15, 2000), planted(rng, 14, 2000)))
    assert found.cut_ms[0, 0] == 5_000
    assert found.segments[0].lift is not None
    assert found.segments[0].lift < 2


def test_segments_are_told_by_name() -> None:
    rng = np.random.default_rng(4)
    (whole, *_) = cuts_of((0, 1, planted(rng, 40, 300), planted(rng, 4, 300))).to_json(
        ("desktop", "mobile"), ("a", "b")
    )
    assert whole | {"cut_s": 0, "lift": 0} == {
        "device": None, "category": None, "clicks": 600, "kept": 300, "cut_s": 0, "lift": 0,
    }  # fmt: skip
