"""Two rankings merged by coins: fair, and shown with the odds that are computed for it."""

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.ml.clicks.team_draft import Draft, draft, drafted, rounds, show_odds

A, B = np.array([1, 2, 3, 4, 5, 6]), np.array([1, 3, 2, 7, 4, 8])


def every_list(a: np.ndarray, b: np.ndarray, length: int) -> list[Draft]:
    return [drafted(a, b, length, "".join(coins)) for coins in product("AB", repeat=rounds(a, b, length))]


@st.composite
def rankings(given_: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    same = given_(st.integers(0, 3))
    a = given_(st.permutations(range(10)).map(lambda items: items[: given_(st.integers(0, 8))]))
    b = given_(st.permutations(range(4, 14)).map(lambda items: items[: given_(st.integers(0, 8))]))
    prefix = list(range(100, 100 + same))
    return np.array(prefix + a, dtype=np.int64), np.array(prefix + b, dtype=np.int64), given_(st.integers(1, 14))


def test_coins_decide_who_picks_first() -> None:
    """Rank 1 is common. Coin A: 2 by A, 3 by B; coin B: B has 2 and 3 gone and picks 7, A picks 4."""
    found = drafted(A, B, 5, "AB")
    assert found.items.tolist() == [1, 2, 3, 7, 4]
    assert found.teams == "NABBA"
    assert found.order(A).tolist() == [1, 2, 3, 7, 4, 5, 6]


def test_equal_rankings_are_credited_to_nobody() -> None:
    found = draft(A, A, 4, random.Random(1))
    assert (found.items.tolist(), found.teams, found.coins) == ([1, 2, 3, 4], "NNNN", "")


def test_a_ranking_that_has_none_left_leaves_its_picks() -> None:
    found = drafted(np.array([1]), np.array([2, 3, 4]), 6, "BA")
    assert (found.items.tolist(), found.teams) == ([2, 1, 3, 4], "BABB")


@settings(max_examples=80)
@given(rankings(), st.integers(0, 8))
def test_odds_are_exactly_those_over_all_coins(case: tuple[np.ndarray, np.ndarray, int], further: int) -> None:
    a, b, length = case
    ranks = length + further
    odds = show_odds(a, b, length, ranks)
    lists = every_list(a, b, length)
    counted = np.zeros((len(odds.items), ranks))
    for one in lists:
        order = one.order(a)[:ranks]
        assert len(set(order.tolist())) == len(order)
        for rank, item in enumerate(order):
            counted[odds.items.tolist().index(item), rank] += 1 / len(lists)
    np.testing.assert_allclose(odds.by_rank, counted, atol=1e-12)
    for one in lists[:8]:
        assert (odds.of_order(one.order(a)[:ranks]) > 0).all()


@settings(max_examples=80)
@given(rankings(), st.randoms(use_true_random=False))
def test_teams_pick_their_best_in_turn(case: tuple[np.ndarray, np.ndarray, int], coins: random.Random) -> None:
    a, b, length = case
    found = draft(a, b, length, coins)
    assert len(found.items) == len(found.teams) == min(length, len(set(a) | set(b)))
    shown: set[int] = set()
    for item, team in zip(found.items.tolist(), found.teams, strict=True):
        own = a if team == "A" else b
        if team != "N":
            assert item == next(one for one in own.tolist() if one not in shown)
        shown.add(item)
    same = found.teams.count("N")
    assert found.teams.startswith("N" * same)
    credited = found.teams[same:]
    if len(a) >= same + len(credited) <= len(b):  # enough for both: as many each, one more where one is left over
        assert abs(credited.count("A") - credited.count("B")) <= 1


def test_rankings_that_differ_are_shown_alike_by_both_teams_on_average() -> None:
    """No overlap: ranks 1 and 2 hold each ranking's best, each first half the time."""
    odds = show_odds(np.array([1, 2]), np.array([3, 4]), 4)
    assert odds.items.tolist() == [1, 2, 3, 4]
    assert odds.by_rank.tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]


def test_lists_drafted_with_real_coins_have_the_odds() -> None:
    rng, lists = random.Random(4), 20_000
    odds = show_odds(A, B, 6)
    seen = np.zeros_like(odds.by_rank)
    rows = {item: row for row, item in enumerate(odds.items.tolist())}
    for _ in range(lists):
        for rank, item in enumerate(draft(A, B, 6, rng).items.tolist()):
            seen[rows[item], rank] += 1
    spread = np.sqrt(odds.by_rank * (1 - odds.by_rank) / lists)
    assert (np.abs(seen / lists - odds.by_rank) <= 4.5 * spread + 1e-9).all()


def test_a_long_page_is_computed_over_states_not_coins() -> None:
    """2^50 coins: the sums over them are exact all the same."""
    coins = np.random.default_rng(6)
    a, b = coins.permutation(150), coins.permutation(150)
    odds = show_odds(a, b, 100, 150)
    np.testing.assert_allclose(odds.by_rank.sum(axis=0), 1)
    np.testing.assert_allclose(odds.by_rank.sum(axis=1), 1)


def test_what_is_not_of_the_rankings_is_refused() -> None:
    odds = show_odds(A, B, 4)
    with pytest.raises(ValueError, match="at most 4"):
        odds.of_order(A)
    with pytest.raises(ValueError, match="99"):
        odds.of_order(np.array([1, 99]))
    with pytest.raises(ValueError, match="coins 'A'"):
        drafted(A, B, 5, "A")
    with pytest.raises(ValueError, match="no repetitions"):
        show_odds(np.array([1, 1]), B, 2)
