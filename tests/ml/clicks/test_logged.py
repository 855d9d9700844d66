"""What is on record tells the order and the odds again."""

import json
import random

import numpy as np
import pytest

from backend.ml.clicks.exploration import ExplorationPolicy, explore, odds
from backend.ml.clicks.logged import logged_order, logged_show_odds
from backend.ml.clicks.team_draft import draft, show_odds


def test_of_a_list_without_coins_all_is_certain() -> None:
    candidates = np.array([5, 3, 9])
    assert logged_order(candidates, None).tolist() == [5, 3, 9]
    assert logged_show_odds(candidates, np.zeros(3), None).of_order(candidates).tolist() == [1.0, 1.0, 1.0]


def test_of_an_exploring_list() -> None:
    numbers = np.random.default_rng(1).permutation(1000)[:50]
    scores = np.linspace(0.4, 0.3, 50).astype(np.float32)
    rng = random.Random(2)
    for _ in range(20):
        explored = explore(scores, 24, ExplorationPolicy(), rng)
        coins = json.loads(json.dumps(explored.coins))
        order = logged_order(numbers, coins)
        assert order.tolist() == numbers[explored.order].tolist()
        chances = odds(scores, 24, ExplorationPolicy())[explored.order, np.arange(50)]
        assert logged_show_odds(numbers, scores, coins).of_order(order).tolist() == chances.tolist()


def test_of_a_drafted_list() -> None:
    a, b = np.arange(50), np.arange(60, 10, -1)
    made = draft(a, b, 24, random.Random(3))
    coins = json.loads(json.dumps({"kind": "team_draft", "page": 24, "coins": made.coins, "b": b.tolist()}))
    order = logged_order(a, coins)
    assert order[:24].tolist() == made.items.tolist()
    assert order[24:].tolist() == [one for one in a.tolist() if one not in set(made.items.tolist())]
    known = logged_show_odds(a, np.zeros(50), coins)
    assert known.by_rank.shape == (60 + 1, 50)
    assert known.of_order(order[:50]) == pytest.approx(show_odds(a, b, 24, 50).of_order(order[:50]))
