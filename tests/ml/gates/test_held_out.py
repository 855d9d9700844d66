import numpy as np
import pytest
from numpy.typing import NDArray

from backend.ml.clicks.click_log import NO_COINS, Asked, ClickLog, Context, Judgements, Lists, Rows
from backend.ml.gates.golden import labelled
from backend.ml.gates.held_out import PRIMARY, changes, held_out_gate, known_gains, measured, word_terms
from backend.ml.gates.thresholds import Thresholds


def log_of(
    shown: list[list[int]],
    labels: list[list[float]],
    *,
    queries: list[int],
    viewed: list[list[bool]] | None = None,
    judgements: Judgements | None = None,
) -> ClickLog:
    """Lists of three products; a label of 1 is a satisfied click."""
    count, longest = len(shown), len(shown[0])
    flat = np.array(labels, np.float32).ravel()
    asked = Asked(
        tuple(f"text:{row}" for row in range(max(queries) + 1)),
        ("text",) * (max(queries) + 1),
        np.ones((max(queries) + 1, 2), np.float32),
    )
    nothing = np.zeros(0, np.int32)
    return ClickLog(
        asked=asked,
        lists=Lists(
            query=np.array(queries, np.int32),
            unit=np.arange(count, dtype=np.int32),
            context=np.zeros(count, np.int16),
            cohort=np.zeros(count, np.int16),
            generation=np.full(count, 7, np.int32),
            served=np.arange(count, dtype=np.float64),
            start=np.arange(count, dtype=np.int64) * longest,
            abandoned=np.zeros(count, np.bool_),
        ),
        rows=Rows(
            product=np.array(shown, np.int32).ravel(),
            position=np.tile(np.arange(1, longest + 1, dtype=np.int16), count),
            p_show=np.ones(count * longest, np.float32),
            score=np.tile(np.array([0.9, 0.8, 0.7], np.float32), count),
            viewed=np.ones(count * longest, np.bool_) if viewed is None else np.array(viewed).ravel(),
            clicked=flat > 0,
            satisfied=flat >= 1,
            label=flat,
        ),
        coins=NO_COINS,
        judgements=judgements or Judgements(nothing, nothing, nothing, np.zeros(0, np.float32), np.zeros(0, np.int8)),
        products=np.array([10, 20, 30], np.int64),
        contexts=(Context("desktop", "list", 1, "text"),),
    )


THETA = np.array([1.0, 0.5, 0.25])


def theta(lists: int) -> NDArray[np.float64]:
    return np.tile(THETA, lists)


def test_a_gain_is_labels_over_looks_by_hand() -> None:
    """Two lists of one query: product 2 is clicked once at place 3; it was looked at 0.25 + 0.5 times, in two lists.

    Product 0 is clicked once in two looks at the first place: 1 / 2 of 2 lists.
    """
    log = log_of([[0, 1, 2], [0, 2, 1]], [[1, 0, 1], [0, 0, 0]], queries=[0, 0])
    found = known_gains(log, theta(2))
    assert found.product.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.gain, [2 * 1 / 2, 0, 2 * 1 / 0.75])
    np.testing.assert_allclose(found.naive, [1, 0, 1])


def test_what_was_not_in_view_has_no_gain_and_no_place() -> None:
    log = log_of([[0, 1, 2]], [[1, 0, 0]], queries=[0], viewed=[[True, True, False]])
    assert known_gains(log, theta(1)).product.tolist() == [0, 1]


def test_measures_by_hand_and_the_naive_ones_prefer_what_was_shown_first() -> None:
    """Of 8 lists product 0, first, is clicked 4 times and product 2, third, twice: by looks 4 / 8 and 2 / 2.

    Production ranks 0, 1, 2 and the candidate 2, 0, 1. Debiased, the candidate has the better one first; by clicks as
    they are, production has.
    """
    labels = [[1, 0, 0]] * 4 + [[0, 0, 1]] * 2 + [[0, 0, 0]] * 2
    gains = known_gains(log_of([[0, 1, 2]] * 8, labels, queries=[0] * 8), theta(8))
    np.testing.assert_allclose(gains.gain, [8 * 4 / 8, 0, 8 * 2 / 2])
    ours, theirs = np.array([0.5, 0.1, 0.9]), np.array([0.9, 0.5, 0.1])
    better, worse = (measured(gains, one, gains.gain) for one in (ours, theirs))
    assert better.sums["Recall@1"] / better.totals["Recall@1"] == pytest.approx(8 / 12)
    assert worse.sums["MRR"] / worse.totals["MRR"] == pytest.approx((4 + 8 / 3) / 12)
    assert better.sums[PRIMARY] / better.totals[PRIMARY] == pytest.approx(1.0)
    assert worse.sums[PRIMARY] / worse.totals[PRIMARY] == pytest.approx((4 + 8 / 2) / (8 + 4 / np.log2(3)))
    naive = changes(measured(gains, ours, gains.naive), measured(gains, theirs, gains.naive), seed=0)
    assert naive[PRIMARY].interval.mean < 0 < changes(better, worse, seed=0)[PRIMARY].interval.mean


def test_the_interval_is_over_queries_and_not_over_clicks() -> None:
    """One query asked a hundred times is one piece of evidence: its bootstrap has no width, two queries' has."""
    one = known_gains(log_of([[0, 1, 2]] * 100, [[0, 1, 0]] * 100, queries=[0] * 100), theta(100))
    interval = changes(
        measured(one, np.array([1.0, 2, 0]), one.gain), measured(one, np.array([3.0, 2, 1]), one.gain), seed=0
    )[PRIMARY].interval
    assert interval.low == interval.high == pytest.approx(1 - 1 / np.log2(3))
    labels = [[0, 1, 0]] * 50 + [[1, 0, 0]] * 50
    two = known_gains(log_of([[0, 1, 2]] * 100, labels, queries=[0] * 50 + [1] * 50), theta(100))
    ours, theirs = np.array([1.0, 2, 0, 1, 2, 0]), np.array([3.0, 2, 1, 3, 2, 1])
    interval = changes(measured(two, ours, two.gain), measured(two, theirs, two.gain), seed=0)[PRIMARY].interval
    assert interval.low < 0 < interval.high


def test_a_ranking_like_production_is_neutral_and_a_worse_one_is_not() -> None:
    rng = np.random.default_rng(0)
    queries = list(range(40)) * 5
    labels = [[float(one == place) for place in range(3)] for one in rng.integers(0, 3, 200)]
    gains = known_gains(log_of([[0, 1, 2]] * 200, labels, queries=queries), theta(200))
    same = np.tile([3.0, 2, 1], 40)
    found = held_out_gate(gains, same, same, Thresholds(), seed=0)
    assert found.passed is False
    assert all(check.neutral for check in found.failed)
    worse = held_out_gate(gains, gains.gain * -1.0, gains.gain, Thresholds(), seed=0)
    assert not all(check.neutral for check in worse.failed)


def test_words_are_what_a_served_score_has_beyond_vectors() -> None:
    log = log_of([[0, 1, 2]], [[1, 0, 0]], queries=[0])
    gains = known_gains(log, theta(1))
    vectors = np.array([0.9, 0.5, 0.9])
    np.testing.assert_allclose(word_terms(log, 7, gains, vectors), [0, 0.3, 0], atol=1e-6)
    assert not word_terms(log, 8, gains, vectors).any()


def test_what_shoppers_liked_or_marked_is_golden_and_dislikes_and_winners_are_not() -> None:
    keys = [f"text:{row}" for row in range(40)]
    parts = Asked(tuple(keys), ("text",) * 40, np.ones((40, 2), np.float32)).parts()
    judged = int(np.flatnonzero(parts == "judged")[0])
    learned = int(np.flatnonzero(parts == "training")[0])
    said = Judgements(
        query=np.array([judged, judged, judged, learned, judged, judged], np.int32),
        product=np.array([0, 1, 2, 0, 0, 2], np.int32),
        unit=np.arange(6, dtype=np.int32),
        label=np.array([1, 0, 2, 2, 2, 3], np.float32),
        source=np.array([0, 0, 1, 0, 0, 3], np.int8),
    )
    log = log_of([[0, 1, 2]] * 40, [[0, 0, 0]] * 40, queries=list(range(40)), judgements=said)
    found = labelled(log, np.array([10, 20, 30]))
    assert found.right.tolist() == [10, 30]
    assert set(found.parts) == {"judged"}
    assert len(labelled(log, np.array([10]))) == 1, "without a picture nothing is found"
