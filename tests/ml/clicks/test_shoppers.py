"""What simulated shoppers do has the frequencies of the model's formula; the truth is planted."""

import numpy as np
import pytest

from backend.ml.clicks.adversaries import Bot, Fan, Inverted
from backend.ml.clicks.examination import AsGiven, ByPosition, ByRow, Examination, draw_looks, examined_share
from backend.ml.clicks.shoppers import Behaviour, act, click_probability, gain
from backend.ml.clicks.worlds import CASCADING, TRUSTING

LISTS = 60_000
GAINS = np.array([1.0, 0.0, 0.47, 0.2, 1.0, 0.0, 0.07, 1.0])
ALL_SEEN = {"scroll": 1.0}


def shown(lists: int = LISTS) -> np.ndarray:
    return np.tile(GAINS, (lists, 1))


def assert_frequencies(drawn: np.ndarray, expected: np.ndarray) -> None:
    """Shares of draws lie within 4.5 standard errors of their chances: 1 in 150,000 by chance, and seeds are fixed."""
    error = np.sqrt(np.maximum(expected * (1 - expected), 1e-9) / len(drawn))
    assert np.abs(drawn.mean(axis=0) - expected).max() <= (4.5 * error + 1e-9).max()
    assert (np.abs(drawn.mean(axis=0) - expected) <= 4.5 * error + 1e-9).all()


def test_examination_by_hand() -> None:
    np.testing.assert_allclose(ByPosition(1.0).looked(4, 1), [1, 1 / 2, 1 / 3, 1 / 4])
    grid = ByRow(eta=1.0, offsets=(0.0, np.log(0.5)), skip=0.25)
    np.testing.assert_allclose(grid.looked(5, 2), [1, 0.5, 1 / 2, 0.25, 1 / 3])
    np.testing.assert_allclose(examined_share(grid, 5, 2), [1, 0.5, 0.375, 0.1875, 0.25])
    np.testing.assert_allclose(AsGiven((0.6, 0.8)).looked(4, 2), [0.6, 0.8, 0.8, 0.8])


@pytest.mark.parametrize(("examination", "columns"), [(ByPosition(0.7), 1), (ByRow(0.6, (0, -0.2), 0.3), 3)])
def test_looks_have_the_frequency_of_the_curve(examination: Examination, columns: int) -> None:
    looks = draw_looks(examination, (LISTS, 12), columns, np.random.default_rng(1))
    assert_frequencies(looks, examined_share(examination, 12, columns))


def test_the_places_of_a_skipped_row_are_missed_together() -> None:
    """With nothing but skips, a row is seen whole or not at all: both its places agree in every list."""
    looks = draw_looks(ByRow(eta=0.0, skip=0.4), (LISTS, 8), 4, np.random.default_rng(2))
    assert looks[:, :4].all()
    assert (looks[:, 4:].all(axis=1) | ~looks[:, 4:].any(axis=1)).all()
    assert abs(looks[:, 4].mean() - 0.6) < 0.01


def test_gains_of_grades() -> None:
    np.testing.assert_allclose(gain(np.arange(5)), [0, 1 / 15, 3 / 15, 7 / 15, 1])


MODELS = {
    "position": (Behaviour(ByPosition(1.0), **ALL_SEEN), 1),
    "trust": (Behaviour(TRUSTING.examination, TRUSTING.trust, TRUSTING.noise, **ALL_SEEN), 1),
    "cascade": (Behaviour(AsGiven(), noise=(0.05,), continuation=(0.0,), **ALL_SEEN), 1),
    "dependent": (Behaviour(AsGiven(), noise=(0.05,), continuation=CASCADING.continuation, **ALL_SEEN), 1),
    "grid": (Behaviour(ByRow(0.6, (0.0, -0.1), 0.33), **ALL_SEEN), 4),
    "grid that is left": (Behaviour(ByRow(0.6, (0.0, -0.1), 0.33), continuation=(0.4,), **ALL_SEEN), 3),
}


@pytest.mark.parametrize("name", MODELS)
def test_clicks_have_the_frequency_of_the_formula(name: str) -> None:
    behaviour, columns = MODELS[name]
    acts = act(behaviour, shown(), columns, np.random.default_rng(3))
    assert_frequencies(acts.clicked, click_probability(behaviour, GAINS[None, :], columns)[0])


def test_the_formula_of_a_cascade_by_hand() -> None:
    """Gains 1, 1/2, 1/2 without noise: the first is clicked and nothing further is reached. With gains 1/2, 1/2, 1
    the chances are 1/2, 1/2 * 1/2, 1/4 * 1; when the scan goes on half of the times: 1/2, 3/4 * 1/2, 9/16."""
    cascade = Behaviour(AsGiven(), noise=(0.0,), continuation=(0.0,))
    np.testing.assert_allclose(click_probability(cascade, np.array([[1.0, 0.5, 0.5]]), 1), [[1, 0, 0]])
    np.testing.assert_allclose(click_probability(cascade, np.array([[0.5, 0.5, 1.0]]), 1), [[0.5, 0.25, 0.25]])
    dependent = Behaviour(AsGiven(), noise=(0.0,), continuation=(0.5,))
    np.testing.assert_allclose(click_probability(dependent, np.array([[0.5, 0.5, 1.0]]), 1), [[0.5, 0.375, 0.5625]])


def test_trust_bias_is_affine_in_the_gain() -> None:
    """P(C | k) = α g + β with α = θ (ε⁺ - ε⁻) and β = θ ε⁻ at every position."""
    theta = ByPosition(0.8).looked(5, 1)
    plus, minus = np.array(TRUSTING.trust), np.array(TRUSTING.noise)
    for one in (0.0, 0.3, 1.0):
        expected = theta * (plus - minus) * one + theta * minus
        np.testing.assert_allclose(click_probability(TRUSTING, np.full((1, 5), one), 1)[0], expected)


def test_what_was_not_in_view_is_neither_seen_nor_clicked_and_scrolling_stops_once() -> None:
    behaviour = Behaviour(ByPosition(0.3), rows_in_view=1, scroll=0.6)
    acts = act(behaviour, shown(), 2, np.random.default_rng(4))
    assert_frequencies(acts.viewed, np.repeat([1.0, 0.6, 0.36, 0.216], 2))
    assert not (acts.clicked & ~acts.viewed).any()
    assert not (~acts.viewed[:, :-1] & acts.viewed[:, 1:]).any()
    assert (acts.visible_ms[acts.viewed] >= 500).all()
    assert (acts.visible_ms[~acts.viewed] == 0).all()


def test_what_follows_a_click() -> None:
    """Satisfaction, carts and purchases at the planted rates; who is not satisfied comes back soon."""
    behaviour = Behaviour(AsGiven(), scroll=1.0, satisfaction=0.8, cart=0.3, buy=0.5, censored=0.1, returns=0.5)
    acts = act(behaviour, shown(), 1, np.random.default_rng(5))
    best = acts.clicked[:, 0]
    assert abs(acts.satisfied[best, 0].mean() - 0.8) < 0.01
    satisfied = acts.satisfied[:, 0]
    assert abs(acts.carted[satisfied, 0].mean() - 0.3) < 0.01
    assert abs(acts.bought[acts.carted[:, 0], 0].mean() - 0.5) < 0.02
    assert abs(acts.timed[acts.clicked].mean() - 0.9) < 0.01
    assert abs(acts.returned[acts.satisfied].mean() - 0.5) < 0.01
    assert acts.returned[acts.clicked & ~acts.satisfied].all()
    assert not acts.satisfied[:, 1].any()  # gain 0
    assert abs(np.median(acts.dwell_ms[acts.satisfied]) / 45_000 - 1) < 0.02
    assert abs(np.median(acts.dwell_ms[acts.clicked & ~acts.satisfied]) / 3_000 - 1) < 0.02
    assert not acts.reformulated[acts.satisfied.any(axis=1)].any()
    for done in (acts.satisfied, acts.timed, acts.returned, acts.dwell_ms > 0):
        assert not (done & ~acts.clicked).any()
    assert not (acts.bought & ~acts.carted).any()
    assert not (acts.wished & acts.carted).any()


def test_who_turns_everything_round_clicks_what_is_worst() -> None:
    acts = Inverted(Behaviour(AsGiven(), scroll=1.0)).act(shown(), shown(), 1, np.random.default_rng(6))
    assert_frequencies(acts.clicked, 0.1 + 0.9 * (1 - GAINS))


def test_a_fan_opens_one_product_and_a_bot_opens_everything_unseen() -> None:
    products = np.tile(np.arange(8), (1000, 1))
    fan = Fan(5).act(shown(1000), products, 4, np.random.default_rng(7))
    assert fan.clicked[:, 5].all()
    assert fan.clicked.sum() == 1000
    bot = Bot(0.9).act(shown(1000), products, 4, np.random.default_rng(8))
    assert abs(bot.clicked.mean() - 0.9) < 0.02
    assert not bot.viewed.any()


def test_gains_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        act(Behaviour(), np.array([[2.0]]), 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="0 columns"):
        act(Behaviour(), np.array([[1.0]]), 0, np.random.default_rng(0))
