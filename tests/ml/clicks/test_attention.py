"""Attention that rankings give, counted by hand."""

import numpy as np
import pytest

from backend.ml.clicks.attention import Attention, logged_attention, policy_attention, shown_pairs
from backend.ml.clicks.click_log import NO_JUDGEMENTS, Asked, ClickLog, Coins, Context, Lists, Rows
from backend.ml.clicks.policy_log import policy_log

DESKTOP, PHONE = Context("desktop", "list", 1, "text"), Context("mobile", "list", 1, "text")
ATTENTION = Attention(theta=np.array([[1, 0.5], [1, 0.8]]), view=np.array([[1, 0.5], [1, 1]]))


@pytest.fixture
def log() -> ClickLog:
    """Two lists of query 0: on a desktop as it stood (0, 1), on a phone by a coin (0, 1) or (1, 2); one of query 1."""
    return ClickLog(
        asked=Asked(("text:a", "text:b"), ("text", "text"), np.eye(2, dtype=np.float32)),
        lists=Lists(
            query=np.array([0, 0, 1], np.int32),
            unit=np.array([0, 1, 1], np.int32),
            context=np.array([0, 1, 1], np.int16),
            cohort=np.zeros(3, np.int16),
            generation=np.ones(3, np.int32),
            served=np.arange(3.0),
            start=np.array([0, 2, 4]),
            abandoned=np.zeros(3, bool),
        ),
        rows=Rows(
            product=np.array([0, 1, 1, 2, 3], np.int32),
            position=np.array([1, 2, 1, 2, 1], np.int16),
            p_show=np.array([1, 1, 0.5, 0.5, np.nan], np.float32),
            score=np.zeros(5, np.float32),
            viewed=np.array([1, 0, 1, 1, 1], bool),
            clicked=np.array([1, 0, 0, 1, 1], bool),
            satisfied=np.zeros(5, bool),
            label=np.zeros(5, np.float32),
        ),
        coins=Coins(
            np.array([1]),
            np.zeros(4, np.int32),
            np.array([0, 1, 1, 2], np.int32),
            np.array([1, 2, 1, 2], np.int16),
            np.full(4, 0.5, np.float32),
        ),
        judgements=NO_JUDGEMENTS,
        products=np.arange(4),
        contexts=(DESKTOP, PHONE),
    )


def test_the_log_s_attention_is_the_mean_over_lists_and_their_coins(log: ClickLog) -> None:
    """Product 0: (1 + .5 * 1) / 2; product 1: (.25 + .5 * .8 + .5 * 1) / 2; product 2: .5 * .8 / 2."""
    pairs, rho = logged_attention(log, ATTENTION, np.array([True, True, False]))
    assert pairs.product.tolist() == [0, 1, 2]
    assert rho == pytest.approx([0.75, 0.575, 0.2])


def test_a_policy_s_attention_is_that_of_its_places_over_the_contexts_that_ask(log: ClickLog) -> None:
    """Product 3 first: 1 in both contexts; product 1 second: (.25 + .8) / 2; query 1 is not asked by these lists."""
    lists = np.array([True, True, False])
    top = np.array([[3, 1], [2, -1]])
    logged, _ = logged_attention(log, ATTENTION, lists)
    pairs = shown_pairs(log, logged, lists, top)
    assert (pairs.query.tolist(), pairs.product.tolist()) == ([0, 0, 0, 0], [0, 1, 2, 3])
    assert policy_attention(log, ATTENTION, lists, top, pairs) == pytest.approx([0, 0.525, 0, 1])


def test_what_is_in_view_counts_and_a_list_whose_odds_are_not_known_does_not(log: ClickLog) -> None:
    found = policy_log(log, ATTENTION, {"candidate": np.array([[3, 1], [2, -1]])})
    assert found.log.impressions == 2
    assert found.log.impression.tolist() == [0, 1, 1]  # the row that was not in view says nothing
    assert found.log.clicked.tolist() == [1, 0, 1]
    assert found.log.alpha.tolist() == [1, 1, 0.8]
    assert found.log.rho.tolist() == pytest.approx([0.75, 0.575, 0.2, 0])
    assert found.log.coverage(found.attention["candidate"]) == pytest.approx(0.525 / 1.525)
