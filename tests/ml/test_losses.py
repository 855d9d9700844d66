"""The contrastive loss by hand, its gradient, and what counts as no negative."""

import math

import pytest
import torch
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
    masked = torch.tensor([[False, True], [False, False]])
    harder = torch.tensor([[0.5], [9.0]]), torch.tensor([[True], [False]])
    loss = symmetric_info_nce(texts, images, torch.tensor(2.0), masked=masked, harder=harder)
    rows = math.log(1 + math.exp(2 * (0.5 - 0.8))) + math.log(1 + math.exp(-2))
    columns = math.log(1 + math.exp(-1.6)) + 0.0  # of picture 1 only its own text is left
    assert loss.item() == pytest.approx((rows + columns) / 4, rel=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    texts, images = (functional.normalize(torch.randn(5, 4, dtype=torch.float64), dim=1) for _ in range(2))
    masked = no_negatives(torch.tensor([0, 1, 1, 2, 3]), torch.arange(5), None, 1.0)
    cosines, there = torch.rand(5, 2, dtype=torch.float64), torch.rand(5, 2) < 0.5
    inputs = [one.requires_grad_() for one in (texts, images, torch.tensor(7.0, dtype=torch.float64), cosines)]
    assert torch.autograd.gradcheck(
        lambda t, i, s, h: symmetric_info_nce(t, i, s, masked=masked, harder=(h, there)), inputs
    )


def test_nothing_is_its_own_negative_and_what_may_be_right_is_none() -> None:
    products, texts = torch.tensor([1, 1, 2, 3]), torch.tensor([5, 6, 6, 7])
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.96, 0.28]])
    found = no_negatives(products, texts, images, 0.95)
    expected = torch.tensor(
        [
            [0, 1, 0, 1],  # 1: of the same product; 3: a picture of cosine .96
            [1, 0, 1, 0],  # 2: the same text
            [0, 1, 0, 0],  # .8 * .96 + .6 * .28 = .936 is below
            [1, 0, 0, 0],
        ]
    ).bool()
    assert torch.equal(found, expected)
