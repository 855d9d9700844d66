"""A box on one of two products in a picture moves that product up; a box on the wall behind them moves neither."""

from pathlib import Path

import pytest

import backend.demo
from backend.demo.drawing import draw
from backend.ml.encoder import Encoder, load_encoder
from backend.ml.feedback.policy import BUILT_IN
from tests.fixtures.scenes import Boxing, compose, unseen_items

AUTO = BUILT_IN["auto"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """The demo encoder, which knows drawings."""
    return load_encoder("demo", device="cpu", threads=1, demo_dir=Path(backend.demo.__file__).parent / "encoder")


def boxing(encoder: Encoder, products: int, scenes: int, side: int) -> Boxing:
    items = unseen_items(products, seed=1)
    gallery = [draw(item, seed, side) for seed, item in enumerate(items)]
    return Boxing(encoder, gallery, compose(items, scenes, seed=1, side=side))


def test_a_box_moves_what_it_is_drawn_on(encoder: Encoder) -> None:
    shift = boxing(encoder, 60, 16, 64).shift(AUTO)
    assert shift.boxed.mean() >= 0.10
    assert shift.boxed.mean() - shift.other.mean() >= 0.10
    assert shift.boxed.mean() - shift.wall.mean() >= 0.10


@pytest.mark.slow
def test_a_box_moves_its_product_by_a_tenth_and_one_on_the_wall_by_at_most_a_fiftieth(encoder: Encoder) -> None:
    """The acceptance of the feature: 600 products, 200 scenes of two of them each."""
    found = boxing(encoder, 600, 200, 96)
    by_words, by_picture = found.shift(AUTO), found.shift(AUTO, by_picture=True)
    assert by_words.boxed.mean() >= 0.10
    assert abs(by_words.wall.mean()) <= 0.02
    assert by_picture.boxed.mean() >= 0.10
    assert by_picture.wall.mean() <= 0.02
