"""Preferences of interleaved lists: the better ranking is found, busy shoppers do not fake one, and by hand."""

import math

import numpy as np
import pytest

from backend.ml.clicks.shoppers import gain
from backend.ml.clicks.simulated_log import planted_shop
from backend.ml.clicks.team_draft import draft
from backend.ml.clicks.worlds import WORLDS
from backend.ml.statistics.interleaving import preference, students_t
from backend.ml.statistics.ratios import two_sided
from tests.ml.statistics.truth import TRUTH


def test_a_preference_by_hand() -> None:
    """Unit 0: B, tie, nothing -> (1 + ½) / 2 - ½ = ¼; unit 1: A -> -½; unit 2: nothing. Mean -⅛."""
    units = np.array([0, 0, 0, 1, 2])
    found = preference(units, np.array([0.3, 1.0, 0.0, 2.0, 0.0]), np.array([1.0, 1.0, 0.0, 1.0, 0.0]))
    assert found.value == pytest.approx(-1 / 8)
    assert (found.units, found.decided, found.wins_a, found.wins_b, found.ties) == (2, 2, 1, 1, 1)


def test_nobody_says_nothing() -> None:
    none = np.zeros(0)
    found = preference(np.zeros(0, int), none, none)
    assert (found.units, found.p, math.isnan(found.value)) == (0, 1.0, True)
    assert found.low < 0 < found.high or math.isnan(found.low)


def test_the_interval_of_two_or_three_shoppers_is_as_wide_as_it_must_be() -> None:
    """By the expansion that of two would be an eighth too narrow, and a quarter at 95 %."""
    for level, df, value, off in ((0.9, 1, 6.314, 1e-3), (0.95, 1, 12.706, 1e-3), (0.95, 2, 4.303, 1e-3),
                                  (0.9, 3, 2.353, 0.01), (0.95, 3, 3.182, 0.01)):  # fmt: skip
        assert students_t(level, df) == pytest.approx(value, rel=off)


def test_students_t_is_that_of_the_tables() -> None:
    for level, df, value in ((0.9, 10, 1.8125), (0.9, 30, 1.6973), (0.95, 20, 2.0860), (0.99, 60, 2.6603)):
        assert students_t(level, df) == pytest.approx(value, rel=1e-3)


def test_all_alike_is_a_sign_test() -> None:
    """Ten units that all take from B: of 2^10 signs 2 are as one-sided, p = 0.00195."""
    found = preference(np.arange(10), np.zeros(10), np.ones(10))
    assert found.value == 0.5
    assert found.p == pytest.approx(2 / 1024, abs=0.004)


def lists_of(seed: int, strength: tuple[float, float], lists: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units and credit of both teams, of drafts of two rankings that know more or less of the truth."""
    told = TRUTH["drafts"]
    rng = np.random.default_rng([told["seed"], seed])
    shop = planted_shop(queries=told["queries"], products=told["products"], shift=told["shift"], seed=seed)
    frozen = shop.queries @ shop.products.T
    orders = [np.argsort(-(share * shop.truth + (1 - share) * frozen), axis=1)[:, :20] for share in strength]
    query = rng.integers(told["queries"], size=lists)
    drafts = [draft(orders[0][one], orders[1][one], 10, rng) for one in query]
    shown = np.stack([one.items for one in drafts])
    teams = np.array([list(one.teams) for one in drafts])
    shopper = WORLDS[told["world"]].populations[0].shopper
    acts = shopper.act(gain(shop.grades)[query[:, None], shown], shown, 1, rng)
    units = np.floor(told["units"] * rng.random(lists) ** told["busy"]).astype(int)
    return units, (acts.clicked & (teams == "A")).sum(axis=1), (acts.clicked & (teams == "B")).sum(axis=1)


def right_signs(repetitions: int, lists: int) -> tuple[float, float]:
    """How often the better ranking is preferred, as A and as B in turn; how often that is certain at 90 %."""
    told, signs, certain = TRUTH["drafts"], [], []
    for seed in range(repetitions):
        better = 1 if seed % 2 else -1
        found = preference(*lists_of(seed, told["strengths"][::better], lists))
        signs.append(found.value * better > 0)
        certain.append((found.low if better > 0 else -found.high) > 0)
    return float(np.mean(signs)), float(np.mean(certain))


def test_the_better_ranking_is_preferred_whichever_team_it_is() -> None:
    told = TRUTH["drafts"]
    signs, certain = right_signs(told["quick"], told["lists"])
    assert signs == 1.0
    assert certain >= 0.8


@pytest.mark.slow
def test_the_better_ranking_is_preferred_in_many_shops() -> None:
    told = TRUTH["drafts"]
    few, _ = right_signs(told["long"], told["lists"] // 8)
    many, certain = right_signs(told["long"], told["lists"])
    assert few >= 0.75
    assert many >= 0.95
    assert certain >= 0.9


def test_busy_shoppers_with_a_taste_of_their_own_fake_no_preference() -> None:
    """Shoppers take from A or B for reasons of their own; over all there is nothing. By lists there seems to be."""
    told = TRUTH["tastes"]
    rng, alarms = np.random.default_rng(told["seed"]), np.zeros((told["quick"], 3), dtype=bool)
    for number in range(told["quick"]):
        lists = 1 + rng.negative_binomial(*told["busy"], told["shoppers"])
        taste = np.repeat(rng.beta(*told["taste"], told["shoppers"]), lists)
        b = rng.random(len(taste)) < taste
        found = preference(np.repeat(np.arange(told["shoppers"]), lists), ~b * 1.0, b * 1.0)
        naive = two_sided((b.mean() - 0.5) * 2 * math.sqrt(len(b)))
        alarms[number] = found.p < 0.1, found.low > 0 or found.high < 0, naive < 0.1
    flips, students, naive_rate = alarms.mean(axis=0)
    assert 0.05 <= flips <= 0.15
    assert 0.05 <= students <= 0.15
    assert naive_rate > 0.25  # the twin that fails
