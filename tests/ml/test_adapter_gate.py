"""The gate: intervals, retention, reasons, and adapters that are scaled back until nothing is forgotten."""

import json

import numpy as np
import pytest

from backend.ml.adapter_gate import GAMMAS, judge, retention_of, scaled_best
from backend.ml.exact_ranks import pair_ranks
from backend.ml.heads import Head
from backend.ml.pairs import Pairs

FEW = np.array([20, 30, 1, 2] * 50)
BETTER = np.array([8, 9, 1, 2] * 50)
PLAIN = np.array([1, 2, 3, 11] * 25)


def test_a_gain_beyond_doubt_that_forgets_nothing_passes() -> None:
    report = judge(FEW, BETTER, PLAIN, PLAIN)
    assert report.passed
    assert (report.recall_at_10.before, report.recall_at_10.after) == (0.5, 1.0)
    assert report.mrr.after - report.mrr.before == pytest.approx((1 / 8 + 1 / 9 - 1 / 20 - 1 / 30) / 4)
    assert report.mrr.interval.low > 0
    assert report.retention.least == 1.0


def test_no_gain_is_refused_and_says_what_was_found() -> None:
    report = judge(FEW, FEW, PLAIN, PLAIN)
    assert [reason[:9] for reason in report.reasons] == ["Recall@10", "MRR is no"]
    assert "+0.0000 to +0.0000" in report.reasons[0]


def test_recall_alone_is_not_enough() -> None:
    up_here_down_there = np.array([10, 10, 2, 2] * 50)  # more among the first ten, fewer at the very top
    assert [reason.split()[0] for reason in judge(FEW, up_here_down_there, PLAIN, PLAIN).reasons] == ["MRR"]


def test_retention_is_that_of_the_worse_measure() -> None:
    """MRR of [1, 2] is .75, of [2, 2] .5: two thirds are kept, of Recall@10 all."""
    kept = retention_of(np.array([1, 2]), np.array([2, 2]))
    assert (kept.recall_at_10, kept.mrr) == (1.0, pytest.approx(2 / 3))
    assert kept.least == kept.mrr
    report = judge(FEW, BETTER, np.array([1, 2]), np.array([2, 2]))
    assert report.reasons == ("Retention of MRR is 0.6667, below 0.98.",)
    assert retention_of(np.array([50]), np.array([50])).least == pytest.approx(1.0)


def test_queries_for_one_product_are_drawn_together() -> None:
    """Eight queries for each of five products that gain or lose as one say less than forty that do not."""
    rng = np.random.default_rng(0)
    before = np.full(40, 20)
    after = np.repeat([5, 5, 5, 5, 30], 8)
    apart = judge(before, after, PLAIN, PLAIN).mrr.interval
    together = judge(before, after, PLAIN, PLAIN, products=np.repeat(rng.permutation(5), 8)).mrr.interval
    assert together.mean == pytest.approx(apart.mean)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_a_report_is_plain_json_and_says_the_same_twice() -> None:
    report = judge(FEW, FEW, PLAIN, PLAIN, gamma=0.0)
    told = json.loads(json.dumps(report.to_json()))
    assert told["passed"] is False
    assert told["gamma"] == 0
    assert told["reasons"][0].startswith("The adapters were scaled to 0")
    assert told["recall_at_10"]["interval"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert judge(FEW, BETTER, PLAIN, PLAIN) == judge(FEW, BETTER, PLAIN, PLAIN)


def test_nothing_to_judge_is_an_error() -> None:
    with pytest.raises(ValueError, match="shapes"):
        judge(np.array([], int), np.array([], int), PLAIN, PLAIN)
    with pytest.raises(ValueError, match="shapes"):
        judge(FEW, FEW[:3], PLAIN, PLAIN)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def towers() -> tuple[Head, Pairs, Pairs]:
    """Queries at -45 degrees of their pictures in one plane; the head turns far in that plane, plain ones as well."""
    rng = np.random.default_rng(3)
    images = unit(rng.normal(size=(60, 6)) * [3, 3, 1, 1, 1, 1])
    turn = np.eye(6)
    turn[:2, :2] = np.array([[1, -1], [1, 1]]) / 2**0.5
    odd = Pairs(unit(images @ turn), images, np.arange(60), np.arange(60))
    plain = Pairs(images, images, np.arange(60), np.arange(60))
    quarter = np.zeros((6, 6))
    quarter[:2, :2] = np.array([[0, 1], [-1, 0]])
    inward = np.concatenate([np.eye(6), -np.eye(6)])  # gelu(x) - gelu(-x) = x
    outward = np.concatenate([quarter.T, -quarter.T], axis=1)
    return Head(np.ones(6), np.zeros(6), inward, np.zeros(12), outward, alpha=0.4), odd, plain


def test_adapters_that_forget_are_scaled_back_to_the_best_that_does_not(towers: tuple[Head, Pairs, Pairs]) -> None:
    head, odd, plain = towers
    scaling = scaled_best(head, None, odd, plain)
    assert [one.gamma for one in scaling.tried] == list(GAMMAS)
    assert scaling.tried[0].retention.least < 0.98 <= scaling.best.retention.least
    assert 0 < scaling.best.gamma < 1
    allowed = [one for one in scaling.tried if one.retention.least >= 0.98]
    assert scaling.best.merit == max(one.merit for one in allowed)
    assert scaling.text.gamma == scaling.best.gamma
    assert scaling.image is None


def test_adapters_that_only_harm_are_scaled_to_nothing(towers: tuple[Head, Pairs, Pairs]) -> None:
    head, odd, plain = towers
    wrong = head.scaled(-1.0)
    scaling = scaled_best(wrong, None, odd, plain)
    assert scaling.best.gamma == 0
    assert (pair_ranks(odd, text=scaling.text) == pair_ranks(odd)).all()


def test_of_equal_scales_the_smallest_is_taken(towers: tuple[Head, Pairs, Pairs]) -> None:
    head, odd, plain = towers
    nothing = Head(head.gain, head.shift, head.inward, head.bias, 0 * head.outward)
    assert scaled_best(nothing, nothing, odd, plain).best.gamma == 0


def test_retention_that_cannot_be_kept_leaves_nothing(towers: tuple[Head, Pairs, Pairs]) -> None:
    head, odd, plain = towers
    assert scaled_best(head, None, odd, plain, least_retention=1.5).best.gamma == 0
