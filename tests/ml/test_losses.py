"""The contrastive loss by hand, its gradient, and what counts as no negative."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from backend.ml.losses import no_negatives, symmetric_info_nce


def test_two_pairs_by_hand() -> None:
    """T I^T = [[.8, .6], [0, 1]] at scale 2: gaps of .4 and 2 along the rows, of 1.6 and .8 along the columns."""
    texts = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    images = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    loss = symmetric_info_nce(texts, images, torch.tensor(2.0))
    expected = sum(math.log(1 + math.exp(-gap)) for gap in (0.4, 2.0, 1.6, 0.8)) / 4
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_what_is_masked_is_in_neither_sum_and_harder_negatives_are_in_that_of_their_text() -> None:
    texts = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    images = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    masked = torch.tensor([0]), torch.tensor([1])
    harder = torch.tensor([[0.5], [9.0]]), torch.tensor([[True], [False]])
    loss = symmetric_info_nce(texts, images, torch.tensor(2.0), masked=masked, harder=harder)
    rows = math.log(1 + math.exp(2 * (0.5 - 0.8))) + math.log(1 + math.exp(-2))
    columns = math.log(1 + math.exp(-1.6)) + 0.0  # of picture 1 only its own text is left
    assert loss.item() == pytest.approx((rows + columns) / 4, rel=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    texts, images = (functional.normalize(torch.randn(5, 4, dtype=torch.float64), dim=1) for _ in range(2))
    masked = no_negatives(np.array([0, 1, 1, 2, 3]), np.arange(5), None, 1.0)
    cosines, there = torch.rand(5, 2, dtype=torch.float64), torch.rand(5, 2) < 0.5
    inputs = [one.requires_grad_() for one in (texts, images, torch.tensor(7.0, dtype=torch.float64), cosines)]
    assert torch.autograd.gradcheck(
        lambda t, i, s, h: symmetric_info_nce(t, i, s, masked=masked, harder=(h, there)), inputs
    )


def mask(count: int, found: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    masked = torch.zeros(count, count, dtype=torch.bool)
    masked[found] = True
    return masked


def test_nothing_is_its_own_negative_and_what_may_be_right_is_none() -> None:
    products, texts = np.array([1, 1, 2, 3]), np.array([5, 6, 6, 7])
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.96, 0.28]])
    expected = torch.tensor(
        [
            [0, 1, 0, 1],  # 1: of the same product; 3: a picture of cosine .96
            [1, 0, 1, 0],  # 2: the same text
            [0, 1, 0, 0],  # .8 * .96 + .6 * .28 = .936 is below
            [1, 0, 0, 0],
        ]
    ).bool()
    assert torch.equal(mask(4, no_negatives(products, texts, images, 0.95)), expected)
    expected[0, 3] = expected[3, 0] = False
    assert torch.equal(mask(4, no_negatives(products, texts, None, 0.95)), expected)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 40), kinds=st.integers(1, 12), noise=st.sampled_from([0.05, 0.15, 0.4]))
def test_no_negatives_are_those_of_comparing_every_two(count: int, kinds: int, noise: float) -> None:
    rng = np.random.default_rng(count * 100 + kinds)
    products, texts = rng.integers(0, kinds, count), rng.integers(0, 2 * kinds, count)
    rows = rng.normal(size=(kinds, 8))[rng.integers(0, kinds, count)] + noise * rng.normal(size=(count, 8))
    images = functional.normalize(torch.from_numpy(rows).float(), dim=1)
    expected = torch.from_numpy((products[:, None] == products) | (texts[:, None] == texts))
    expected |= images @ images.T >= 0.95
    assert torch.equal(mask(count, no_negatives(products, texts, images, 0.95)), expected.fill_diagonal_(False))


def test_the_loss_is_that_of_two_cross_entropies_at_any_scale() -> None:
    torch.manual_seed(1)
    texts, images = (functional.normalize(torch.randn(50, 6), dim=1) for _ in range(2))
    found = no_negatives(np.arange(50) // 2, np.arange(50), None, 1.0)
    for scale in (1.0, 14.0, 100.0):
        logits = (scale * texts @ images.T).masked_fill(mask(50, found), -torch.inf)
        own = torch.arange(50)
        expected = 0.5 * (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own))
        loss = symmetric_info_nce(texts, images, torch.tensor(scale), masked=found)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        dense = symmetric_info_nce(texts, images, torch.tensor(scale), masked=mask(50, found))
        assert dense.item() == loss.item()


def test_logits_too_far_apart_for_float32_lose_nothing() -> None:
    """At scale 100 the second text is 180 below the first pair: exp(-180) is no float32, and its row sum would be 0."""
    angles = torch.tensor([0.0, 2.2143])
    images = torch.stack([angles.cos(), angles.sin()], dim=1)
    texts = torch.tensor([[1.0, 0.0], [0.6, -0.8]], requires_grad=True)
    loss = symmetric_info_nce(texts, images, torch.tensor(100.0))
    logits = (100 * texts.detach() @ images.T).double().requires_grad_()
    expected = 0.5 * (
        functional.cross_entropy(logits, torch.arange(2)) + functional.cross_entropy(logits.T, torch.arange(2))
    )
    torch.autograd.backward([loss, expected])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert texts.grad is not None
    assert logits.grad is not None
    assert torch.allclose(texts.grad, (100 * logits.grad.float() @ images), atol=1e-3)
