"""Estimates of relevance that the arm "dr" learns from: what they are made of, and what no shopper or query exceeds."""

from dataclasses import replace

import numpy as np
import pytest

from backend.ml.click_training.doubly_robust import _counted, doubly_robust_examples
from backend.ml.click_training.examples import Examples
from backend.ml.click_training.plan import ClickPlan
from backend.ml.click_training.problem import Problem
from backend.ml.click_training.weights import Clicks
from backend.ml.clicks.click_log import Judgements
from benchmarks.planted_night import problem_of
from tests.ml.click_training.shop import shop

QUERIES = 60


@pytest.fixture(scope="module")
def unclicked() -> Problem:
    """A shop that nobody searched in."""
    problem = problem_of(shop(2, queries=QUERIES, products=50), lists=10, seed=2)
    nobody = problem.log.only(np.zeros(10, np.bool_))
    return replace(problem, log=nobody, theta=problem.theta[:0])


def _told(problem: Problem, query: np.ndarray, product: np.ndarray, unit: np.ndarray, label: np.ndarray) -> Examples:
    said = Judgements(
        query.astype(np.int32), product.astype(np.int32), unit.astype(np.int32), label.astype(np.float32),
        np.zeros(len(query), np.int8),
    )  # fmt: skip
    return doubly_robust_examples(replace(problem, log=replace(problem.log, judgements=said)), ClickPlan())


def test_what_shoppers_say_is_a_look_that_is_certain_and_two_of_them_decide(unclicked: Problem) -> None:
    """For each query both of two shoppers like one product, one of them a second one, none a third one."""
    query = np.repeat(np.arange(QUERIES), 6)
    said = np.tile([[0, 1, 1], [0, 2, 1], [1, 1, 1], [1, 2, 0], [2, 1, 0], [2, 2, 0]], (QUERIES, 1))
    found = _told(unclicked, query, said[:, 0], 2 * query + said[:, 1], said[:, 2])
    assert len(found) == int((unclicked.log.asked.parts() == "training").sum())
    weight = np.zeros((len(found), 3))
    np.put_along_axis(weight, found.product.astype(np.int64), found.weight, axis=1)
    assert weight == pytest.approx(np.tile([2.0, 1.0, 0.0], (len(found), 1)), abs=1e-6)


def test_a_query_for_which_much_is_liked_has_no_more_than_its_share(unclicked: Problem) -> None:
    first = int(np.flatnonzero(unclicked.log.asked.parts() == "training")[0])
    query = np.concatenate([np.full(40, first), np.delete(np.arange(QUERIES), first)])
    product = np.concatenate([np.arange(40), np.zeros(QUERIES - 1)])
    found = _told(unclicked, query, product, np.arange(len(query)), np.ones(len(query)))
    share = found.weight.sum(axis=1) / found.weight.sum()
    assert share.max() <= 5 / len(found) * 1.01
    assert found.heaviest[0] == pytest.approx(share.max(), abs=1e-6)


def test_a_shopper_whose_clicks_count_for_less_has_looked_less_too() -> None:
    """One does half of everything: were only the clicks capped, what that shopper sees would seem not to please."""
    unit = np.concatenate([np.zeros(100), np.arange(1, 101)]).astype(np.int64)
    label, none = np.tile([1.0, 0.0], 100), np.zeros(200)
    counted = _counted(Clicks(label, np.ones(200), np.arange(200), unit, none, none.astype(np.int64)), ClickPlan())
    assert counted[:100] == pytest.approx(counted[0])
    assert counted[0] < 0.2
    assert counted[100:] == pytest.approx(1.0)


def test_what_is_seen_in_a_rare_cell_counts_for_more() -> None:
    """A hundred looks from one device, four from another: five times rarer by the root, three times is the most."""
    cell, none = np.repeat([0, 1], [100, 4]), np.zeros(104)
    units = np.arange(104)
    counted = _counted(Clicks(none, np.ones(104), units, units, none, cell), ClickPlan())
    assert counted[[0, 100]] == pytest.approx([1.0, 3.0])


def test_a_query_of_a_rare_cell_counts_for_more() -> None:
    """The same log, all of it from one device, or a tenth of its lists from a second one."""
    problem = problem_of(shop(2, queries=QUERIES, products=50), lists=600, seed=2)
    log = problem.log
    rare = log.lists.query % 10 == 3
    other = replace(log.contexts[0], device="television")
    parted = replace(
        log,
        lists=replace(log.lists, context=np.where(rare, 1, 0).astype(np.int16)),
        contexts=(log.contexts[0], other),
    )
    shares = []
    for one in (log, parted):
        found = doubly_robust_examples(replace(problem, log=one), ClickPlan(query_share=1.0, unit_share=1.0))
        weight = found.weight.sum(axis=1)
        shares.append(weight[found.query % 10 == 3].sum() / weight.sum())
    assert shares[1] > 1.8 * shares[0]
