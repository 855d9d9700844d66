"""The baselines do what they are named for: one forgets the encoder, the other begins at it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.ml.baselines import (
    ProbePlan,
    Towers,
    TwoTowerPlan,
    draw_negatives,
    fit_linear_probe,
    fit_two_towers,
    margin_loss,
)
from backend.ml.metrics import target_ranks
from backend.ml.pairs import Pairs

WIDTH = 16


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def planted(count: int, *, seed: int, turned: bool) -> Pairs:
    """Texts that are their images, blurred, and turned where that is asked for."""
    rng = np.random.default_rng(seed)
    images = unit(rng.normal(size=(count, WIDTH)))
    texts = images + 0.15 * rng.normal(size=images.shape)
    if turned:  # by a quarter in eight planes: half of the space disagrees
        texts[:, 0:8:2], texts[:, 1:8:2] = -texts[:, 1:8:2], texts[:, 0:8:2].copy()
    own = np.arange(count)
    return Pairs(unit(texts), images, own, own)


def mean_reciprocal_rank(texts: np.ndarray, images: np.ndarray) -> float:
    return float((1 / target_ranks(texts @ images.T, np.arange(len(texts)))).mean())


def test_the_margin_loss_counts_only_what_is_not_ahead_by_the_margin() -> None:
    """Ahead by .4: 0. Ahead by .1: .2 - .1 = .1. Behind by .3: .5. Mean .2."""
    loss = margin_loss(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.5, 0.4, 0.4]), 0.2)
    assert loss.item() == pytest.approx(0.2)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=12).filter(lambda owners: len(set(owners)) > 1), st.integers(0))
def test_a_negative_is_never_of_the_same_product(products: list[int], seed: int) -> None:
    of = np.array(products)
    assert (of[draw_negatives(of, of, np.random.default_rng(seed))] != of).all()


def test_an_untrained_probe_is_the_encoder() -> None:
    pairs = planted(20, seed=1, turned=False)
    towers = fit_linear_probe(pairs, ProbePlan(epochs=0))
    np.testing.assert_allclose(towers.text(pairs.texts), pairs.texts, atol=1e-6)
    np.testing.assert_allclose(towers.image(pairs.images), pairs.images, atol=1e-6)


def test_a_probe_learns_a_turn() -> None:
    """On pairs that it has not seen; it is linear, and so is what was planted."""
    seen, unseen = planted(400, seed=2, turned=True), planted(200, seed=3, turned=True)
    towers = fit_linear_probe(seen, ProbePlan(epochs=15, batch=100, rate=1e-2))
    before = mean_reciprocal_rank(unseen.texts, unseen.images)
    after = mean_reciprocal_rank(towers.text(unseen.texts), towers.image(unseen.images))
    assert before < 0.5
    assert after > 0.8


def test_two_towers_learn_but_lose_what_the_encoder_knew() -> None:
    """Nothing was turned: the encoder is right already, and 60 pairs do not bring it back."""
    seen, unseen = planted(60, seed=4, turned=False), planted(200, seed=5, turned=False)
    towers = fit_two_towers(seen, TwoTowerPlan(epochs=20, batch=30))
    assert towers.losses[-1] < towers.losses[0]
    made = towers.text(unseen.texts)
    assert mean_reciprocal_rank(made, towers.image(unseen.images)) < 0.5
    assert mean_reciprocal_rank(unseen.texts, unseen.images) > 0.9
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)


def test_the_same_seed_is_the_same_tower() -> None:
    pairs = planted(30, seed=6, turned=True)
    first, again, other = (
        fit_two_towers(pairs, TwoTowerPlan(epochs=2, batch=8, seed=seed)).text(pairs.texts) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_pairs_of_one_product_are_no_negatives_of_each_other() -> None:
    """Everything else in the batch is left out of the softmax: nothing to learn from, a loss of 0."""
    pairs = planted(6, seed=7, turned=True)
    alike = replace(pairs, product_of=np.zeros(6, np.int64))
    assert fit_linear_probe(alike, ProbePlan(epochs=1)).losses == [pytest.approx(0.0, abs=1e-6)]
    with pytest.raises(ValueError, match="two products at least"):
        fit_two_towers(alike, TwoTowerPlan())


@pytest.mark.parametrize(
    "fit",
    [
        lambda pairs: fit_two_towers(pairs, TwoTowerPlan(epochs=2, batch=8)),
        lambda pairs: fit_linear_probe(pairs, ProbePlan(epochs=2, batch=8)),
    ],
)
def test_only_the_chosen_pairs_are_learned_from(fit: Callable[[Pairs], Towers]) -> None:
    """What is held out may be anything, and so may its pictures: the weights are the same."""
    pairs, rows = planted(40, seed=8, turned=True), np.arange(0, 40, 2)
    texts, images = pairs.texts.copy(), pairs.images.copy()
    texts[1::2], images[1::2] = texts[1::2][::-1], -images[1::2]
    altered = replace(pairs, texts=texts, images=images)
    np.testing.assert_array_equal(fit(pairs.only(rows)).text(pairs.texts), fit(altered.only(rows)).text(pairs.texts))
