"""Caps hold whoever clicks, and rare cells are weighed up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.ml.click_training.examples import examples
from backend.ml.click_training.plan import ClickPlan
from backend.ml.click_training.weights import Clicks, capped, lifted, share_of_heaviest, weights_of
from backend.ml.clicks.adversaries import Bot, Fan
from backend.ml.clicks.worlds import ONE_LIST, Population
from benchmarks.planted_night import problem_of
from tests.ml.click_training.shop import shop


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_query_and_no_shopper_has_more_than_its_share(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 200))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    query = np.minimum(rng.zipf(1.5, count), 40)
    unit = np.minimum(rng.zipf(1.3, count), 90)
    weights = rng.exponential(1.0, count)
    lower = capped(weights, query, unit, 0.005, 0.001)
    assert (lower <= weights * (1 + 1e-9)).all()
    assert (lower > 0).all()
    assert share_of_heaviest(lower, query) <= max(0.005, 5 / len(np.unique(query))) * 1.01
    assert share_of_heaviest(lower, unit) <= max(0.001, 5 / len(np.unique(unit))) * 1.01


def test_a_flood_of_bots_and_a_fan_weigh_no_more_than_their_caps() -> None:
    """Without caps one fan has far more than a shopper may: the same log, capped and not."""
    flood = Population("bots", 0.5, Bot(), ONE_LIST)
    fan = Population("fan", 3.0, Fan(3), ONE_LIST, alone=True)
    problem = problem_of(shop(3, queries=80, products=100), lists=3000, seed=3, also=(flood, fan), units=300)
    plan = ClickPlan()
    held = examples(problem, "training", plan, "ips")
    assert held.heaviest[1] <= max(plan.unit_share, 5 / held.units) * 1.01
    assert held.heaviest[0] <= max(plan.query_share, 5 / len(np.unique(held.query))) * 1.01
    free = examples(problem, "training", ClickPlan(query_share=1.0, unit_share=1.0), "ips")
    assert free.heaviest[1] > 2 * held.heaviest[1]


def test_a_cell_counts_as_the_root_of_its_size_and_at_most_three_times() -> None:
    cells = np.array([0] * 100 + [1] * 25 + [2])
    assert lifted(cells, 3.0)[[0, 100, 125]] == pytest.approx([1, 2, 3])


def test_where_there_are_dislikes_alone_nothing_weighs_anything() -> None:
    """Divided by their mean, which is 0, they would be no numbers, and every loss with them."""
    none, some = np.zeros(3), np.arange(3)
    disliked = Clicks(none, np.ones(3), some, some, none, np.zeros(3, dtype=np.int64))
    assert weights_of(disliked, ClickPlan(), "ips").tolist() == [0.0, 0.0, 0.0]
