"""A log as columns: parts by hash, lists picked with rows and coins, and a simulated log as the night reads it."""

from dataclasses import replace

import numpy as np
import pytest

from backend.ml.clicks.click_log import ClickLog, part_of
from backend.ml.clicks.exploration import ExplorationPolicy
from backend.ml.clicks.labels import graded
from backend.ml.clicks.planted_log import click_log_of
from backend.ml.clicks.simulated_log import exploring, planted_shop, simulate_log
from backend.ml.clicks.worlds import WORLDS

SHOP = planted_shop(queries=40, products=120, seed=3)
POLICY = ExplorationPolicy()


@pytest.fixture(scope="module")
def log() -> ClickLog:
    world = WORLDS["pastel"]
    simulated = simulate_log(world, SHOP, lists=400, seed=4, randomise=exploring(POLICY))
    return click_log_of(world, SHOP, simulated, policy=POLICY)


def test_parts_are_the_same_for_ever_and_of_the_sizes_that_are_meant() -> None:
    assert [part_of(f"text:{word}") for word in ("red mug", "blue vase", "hat")] == ["training", "training", "training"]
    parts = [part_of(f"text:{number}") for number in range(4000)]
    assert parts.count("judged") / 4000 == pytest.approx(0.2, abs=0.03)
    assert parts.count("validation") / 4000 == pytest.approx(0.1, abs=0.02)


def test_a_list_is_picked_with_its_rows_and_coins(log: ClickLog) -> None:
    chosen = np.zeros(400, dtype=bool)
    chosen[[7, 300]] = True
    some = log.only(chosen)
    assert some.lists.start.tolist() == [0, 10]
    assert some.rows.product.tolist() == log.rows.product.reshape(400, 10)[[7, 300]].ravel().tolist()
    assert some.coins.list.tolist() == [0, 1]
    of = log.coins.of == 300
    assert some.coins.product[some.coins.of == 1].tolist() == log.coins.product[of].tolist()


def test_each_rank_is_taken_with_certainty_and_what_was_shown_has_its_chance(log: ClickLog) -> None:
    ranks = np.zeros((400, 10))
    np.add.at(ranks, (log.coins.of, log.coins.rank - 1), log.coins.chance)
    assert ranks == pytest.approx(1, abs=1e-3)
    for row in range(0, 4000, 371):
        of, product, position = row // 10, log.rows.product[row], log.rows.position[row]
        found = (log.coins.of == of) & (log.coins.product == product) & (log.coins.rank == position)
        assert log.coins.chance[found].tolist() == [pytest.approx(float(log.rows.p_show[row]), rel=1e-5)]


def test_columns_that_do_not_fit_are_refused_with_what_was_found(log: ClickLog) -> None:
    with pytest.raises(ValueError, match=r"columns of rows with .* expected as many of each"):
        ClickLog(**{**vars(log), "rows": replace(log.rows, label=log.rows.label[:3])})


def test_labels_are_graded_by_what_followed() -> None:
    """Nothing, pogo-sticking, not known, too short, satisfied, in the cart, bought."""
    no, yes = np.zeros(7, dtype=bool), np.ones(7, dtype=bool)
    label = graded(
        clicked=np.array([0, 1, 1, 1, 1, 1, 1], dtype=bool),
        dwell_ms=np.array([0, 2_000, 0, 12_000, 31_000, 4_000, 0]),
        timed=np.array([0, 1, 0, 1, 1, 1, 0], dtype=bool),
        returned=yes,
        went_on=yes,
        kept=np.array([0, 0, 0, 0, 0, 1, 1], dtype=bool),
        bought=np.array([0, 0, 0, 0, 0, 0, 1], dtype=bool),
    )
    assert label == pytest.approx([0, 0, 0.3, 0.3, 1, 2, 3])
    came_back_for_good = graded(
        clicked=yes, dwell_ms=np.full(7, 2_000), timed=yes, returned=yes, went_on=no, kept=no, bought=no
    )
    assert came_back_for_good == pytest.approx(0.3)


def test_one_query_in_other_letters_is_in_the_same_part() -> None:
    words = [f"text:red dress {number}" for number in range(50)]
    assert [part_of(one) for one in words] == [part_of(f"text:{one[5:].title()}") for one in words]
    assert len({part_of(one) for one in words}) == 3
    assert len({part_of(f"SKU-{number}") == part_of(f"sku-{number}") for number in range(50)}) == 2, "ids are as given"
