"""What the page says of the truth: a ranking by what was planted is worth 1, and nothing else is."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.demo.catalogue import products
from backend.demo.learn.scenarios import SCENARIOS
from backend.demo.learn.truth import Bench, Planted
from backend.demo.learn.vectors import Gallery
from backend.demo.shoppers.traffic import DEMO_SEED
from backend.ml.clicks.click_log import part_of
from backend.ml.clicks.shoppers import gain
from backend.ml.heads import QueryHeads
from backend.ml.metrics import ndcg
from backend.ml.scoring import Calibration, Side

COUNT = 60
BIASED = SCENARIOS["biased"]


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted(BIASED.crowd(1, products=COUNT))


def bench(planted: Planted, encode: Callable[[str], NDArray[np.float32]]) -> Bench:
    """Products are axes of a space: the numbers of a query are its products' scores, but for their length."""
    numbers, ids = np.arange(COUNT), tuple(one.id for one in products(COUNT, DEMO_SEED))
    nothing = Side(np.empty((0, COUNT), np.float32), np.empty(0, np.int64))
    gallery = Gallery(numbers, ids, Side(np.eye(COUNT, dtype=np.float32), numbers), nothing)
    return Bench(planted, gallery, Calibration.identity(), encode)


def by_truth(planted: Planted, sign: float) -> Callable[[str], NDArray[np.float32]]:
    ids = [one.id for one in products(COUNT, DEMO_SEED)]

    def encode(text: str) -> NDArray[np.float32]:
        wish = planted.wish(text)
        assert wish is not None
        return np.asarray(sign * planted.grades(wish, ids), dtype=np.float32)

    return encode


def test_a_ranking_by_what_was_planted_is_worth_one_and_its_opposite_little(planted: Planted) -> None:
    best, worst = (bench(planted, by_truth(planted, sign)).worth(QueryHeads()) for sign in (1, -1))
    assert best.all == pytest.approx(1.0)
    assert best.unseen == pytest.approx(1.0)
    assert worst.all < 0.2


def test_what_is_asked_often_counts_more_and_unseen_are_searches_that_no_night_learns_from(planted: Planted) -> None:
    """By hand: the catalogue's own order for every search, weighted by how often each is asked."""
    encode = lambda _text: np.linspace(1, 0, COUNT, dtype=np.float32)  # noqa: E731
    found = bench(planted, encode).worth(QueryHeads())
    ids = [one.id for one in products(COUNT, DEMO_SEED)]
    gains = gain(np.stack([planted.grades(one, ids) for one in planted.wishes]))
    worth = ndcg(gains[:, :10], gains, 10)
    unseen = np.array([part_of(f"text:{one.text}") != "training" for one in planted.wishes])
    assert found.all == pytest.approx(float(worth @ planted.chances))
    assert found.all != pytest.approx(float(worth.mean()))
    assert found.unseen == pytest.approx(float(np.average(worth[unseen], weights=planted.chances[unseen])))


def test_other_shoppers_come_each_night_and_ask_for_the_same(planted: Planted) -> None:
    second = Planted(BIASED.crowd(2, products=COUNT))
    assert [one.text for one in second.wishes] == [one.text for one in planted.wishes]
    assert BIASED.crowd(1).seed != BIASED.crowd(2).seed


def test_the_product_to_follow_is_meant_and_stands_behind_the_second_row(planted: Planted) -> None:
    ids = [one.id for one in products(COUNT, DEMO_SEED)]

    def served(text: str) -> list[str]:
        wish = planted.wish(text)
        assert wish is not None
        order = np.argsort(planted.grades(wish, ids), kind="stable")  # the worst first
        return [ids[row] for row in order[-16:]]

    text, product_id = planted.shown(ids, served, row=4)
    wish = planted.wish(text)
    assert wish is not None
    assert product_id is not None
    assert served(text).index(product_id) >= 8
    assert planted.grades(wish, [product_id])[0] >= 3


def test_what_bots_and_adversaries_open_is_nobodys_wish() -> None:
    honest, flooded = (Planted(SCENARIOS[name].crowd(1, products=COUNT)) for name in ("few", "bots"))
    ids = [one.id for one in products(COUNT, DEMO_SEED)]
    for planted in (honest, flooded):
        assert planted.grades(planted.wishes[0], ids).max() > 0
