"""Simulated logs hold what was planted, and off-policy values of them are right."""

import numpy as np
import pytest

from backend.ml.clicks.examination import examined_share
from backend.ml.clicks.exploration import ExplorationPolicy
from backend.ml.clicks.off_policy import item_position
from backend.ml.clicks.shoppers import click_probability
from backend.ml.clicks.simulated_log import Planted, exploring, planted_shop, simulate_log
from backend.ml.clicks.worlds import WORLDS, with_fans_of
from backend.ml.metrics import ndcg

SHOP = planted_shop(queries=60, products=300, seed=1)


def quality(planted: Planted) -> float:
    order = np.argsort(-planted.production, axis=1)
    return float(ndcg(np.take_along_axis(planted.grades, order, axis=1), planted.grades.astype(float), 10).mean())


def test_a_stronger_production_ranker_ranks_better_and_a_perfect_one_by_truth() -> None:
    qualities = [quality(planted_shop(queries=60, products=300, strength=s, seed=1)) for s in (0, 0.3, 0.97, 1)]
    assert qualities == sorted(qualities)
    assert qualities[-1] == 1.0
    assert qualities[2] > 0.95
    assert qualities[0] < 0.7


def test_the_same_seed_gives_the_same_log() -> None:
    one, same, other = (simulate_log(WORLDS["grid"], SHOP, lists=200, seed=seed) for seed in (3, 3, 4))
    assert (one.acts.clicked == same.acts.clicked).all()
    assert (one.shown == same.shown).all()
    assert (one.acts.clicked != other.acts.clicked).any()


def test_clicks_of_a_log_are_as_planted() -> None:
    """The share of clicks at each position is that of the formula, of what was shown there and was in view."""
    world = WORLDS["list"]
    log = simulate_log(world, SHOP, lists=40_000, seed=5)
    behaviour = world.populations[0].shopper.behaviour  # type: ignore[attr-defined]
    expected = (click_probability(behaviour, log.gains, 1) * log.acts.viewed).mean(axis=0)
    assert np.abs(log.acts.clicked.mean(axis=0) - expected).max() < 0.01
    theta = examined_share(behaviour.examination, 10, 1)
    seen = log.acts.viewed
    assert np.abs((log.acts.examined & seen).sum(axis=0) / seen.sum(axis=0) - theta).max() < 0.01


def test_a_shopper_belongs_to_one_population_and_columns_follow_the_device() -> None:
    log = simulate_log(WORLDS["bots"], SHOP, lists=5_000, seed=6, units=300)
    for unit in np.unique(log.unit):
        assert len(set(log.population[log.unit == unit])) == 1
    devices = [one.context.columns for one in WORLDS["bots"].populations]
    assert (log.columns == np.asarray(devices)[log.population]).all()
    bots = [place for place, one in enumerate(WORLDS["bots"].populations) if one.name == "bot"]
    assert not log.acts.viewed[log.population == bots[0]].any()


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_can_be_simulated(name: str) -> None:
    log = simulate_log(with_fans_of(WORLDS[name], 7), SHOP, lists=2_000, seed=7, zipf=1.0)
    assert 0.01 < log.acts.clicked.mean() < 0.95
    assert sum(WORLDS[name].shares()) == pytest.approx(1)
    assert (log.p_show == 1).all()


def swapped_pair(_scores: np.ndarray, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The first two swapped by a coin."""
    order, p_show = np.arange(length), np.ones(length)
    p_show[:2] = 0.5
    if rng.random() < 0.5:
        order[:2] = [1, 0]
    return order, p_show


def test_the_logging_policys_value_is_its_observed_rate_and_anothers_is_what_it_would_get() -> None:
    """The unswapped ranking, valued from lists that were swapped, earns what it earns where it is shown itself."""
    options = {"lists": 40_000, "length": 10, "units": 500}
    log = simulate_log(WORLDS["list"], SHOP, seed=8, randomise=swapped_pair, **options)
    clicks = log.acts.clicked.astype(float)
    own = item_position(clicks, log.p_show, log.p_show, log.unit)
    assert own.value == pytest.approx(clicks.sum(axis=1).mean(), abs=1e-12)
    assert own.coverage == 1
    assert own.effective == pytest.approx(clicks.sum())

    best = np.argsort(-SHOP.production, axis=1, kind="stable")[:, :10]
    unswapped = (log.shown == best[log.query]).astype(float)
    value = item_position(clicks, log.p_show, unswapped, log.unit)
    truth = simulate_log(WORLDS["list"], SHOP, seed=9, **options).acts.clicked.sum(axis=1).mean()
    assert value.low < truth < value.high
    assert value.coverage == pytest.approx(1, abs=0.01)
    naive = (clicks * unswapped).sum(axis=1).mean()
    assert naive < value.low  # without the odds, half of the swapped lists' clicks are missing


def test_exploration_gives_the_value_of_the_ranking_that_it_explores_around() -> None:
    """Pair and slot, in lists of 8: the ranking that was never shown unchanged for sure is valued as it would earn."""
    policy = ExplorationPolicy(slot_from=4, temperature=0.2)
    log = simulate_log(WORLDS["list"], SHOP, lists=6_000, length=8, seed=10, randomise=exploring(policy))
    best = np.argsort(-SHOP.production, axis=1, kind="stable")[:, :8]
    assert (log.shown != best[log.query]).any(axis=1).mean() > 0.3
    value = item_position(
        log.acts.clicked.astype(float), log.p_show, (log.shown == best[log.query]).astype(float), log.unit
    )
    truth = simulate_log(WORLDS["list"], SHOP, lists=60_000, length=8, seed=12).acts.clicked.sum(axis=1).mean()
    assert value.low < truth < value.high
    assert value.coverage == pytest.approx(1, abs=0.01)


def test_ips_with_two_products_by_hand() -> None:
    """A coin of 3/4 shows (a, b), else (b, a); clicks at the first place only, on a with 0.8 and on b with 0.4.
    The value of always (b, a) is 0.4: 1/4 of the lists, each worth 4 times as much."""
    logged = np.array([[0.75, 0.75]] * 75 + [[0.25, 0.25]] * 25)
    clicks = np.zeros((100, 2))
    clicks[:60, 0] = 1.0  # 0.8 of 75
    clicks[75:85, 0] = 1.0  # 0.4 of 25
    target = np.array([[0.0, 0.0]] * 75 + [[1.0, 1.0]] * 25)
    found = item_position(clicks, logged, target)
    assert found.value == pytest.approx(0.4)
    assert found.low < 0.4 < found.high
    assert found.effective == pytest.approx(10)
    assert found.heaviest == pytest.approx(1 / 10)
    assert item_position(clicks, logged, logged).value == pytest.approx(0.7)


def test_shorter_lists_count_their_own_places_and_clusters_widen_the_interval() -> None:
    logged = np.array([[1.0, np.nan], [1.0, 1.0]] * 50)
    clicks = np.array([[1.0, 0.0], [0.0, 1.0]] * 25 + [[0.0, 0.0], [0.0, 0.0]] * 25)
    alone = item_position(clicks, logged, logged)
    assert alone.value == pytest.approx(0.5)
    assert alone.coverage == 1
    together = item_position(clicks, logged, logged, np.arange(100) // 10)
    assert together.high - together.low > alone.high - alone.low


def test_odds_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="expected above 0"):
        item_position(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)))
    with pytest.raises(ValueError, match="shapes"):
        item_position(np.zeros((1, 2)), np.ones((1, 1)), np.ones((1, 1)))
