"""Losses of clicks, by hand and by their gradients."""

import math

import pytest
import torch

from backend.ml.click_training.losses import Drawn, corrected_info_nce, distilled, listwise, within_reach

NO_MASK = torch.zeros(1, 3, dtype=torch.bool)


def test_listwise_counts_each_click_by_its_weight_among_what_was_in_view() -> None:
    """Two in view of score 0 and log 3, the first clicked with weight 2: -2 log(1 / 4); the third was never seen."""
    logits = torch.tensor([[0.0, math.log(3.0), 9.0]])
    present = torch.tensor([[True, True, False]])
    loss = listwise(logits, torch.tensor([[2.0, 0.0, 0.0]]), present)
    assert loss.item() == pytest.approx(2 * math.log(4))


def test_the_expectation_over_clicks_weighed_by_propensity_is_the_loss_of_full_information() -> None:
    """Two places with examination 1 and 1/4, relevance .2 and .8: all four outcomes, each by its chance."""
    logits, present = torch.tensor([[0.3, -0.1]]), torch.ones(1, 2, dtype=torch.bool)
    theta, relevance = (1.0, 0.25), (0.2, 0.8)

    def expected(weights: tuple[float, float]) -> float:
        total = 0.0
        for first in (0, 1):
            for second in (0, 1):
                chances = [relevance[at] * theta[at] for at in (0, 1)]
                chance = (chances[0] if first else 1 - chances[0]) * (chances[1] if second else 1 - chances[1])
                clicks = torch.tensor([[first * weights[0], second * weights[1]]])
                total += chance * listwise(logits, clicks, present).item() * max(first + second, 1)
        return total

    full = listwise(logits, torch.tensor([relevance]), present).item() * 2
    assert expected((1 / theta[0], 1 / theta[1])) == pytest.approx(full, rel=1e-6)
    assert abs(expected((1.0, 1.0)) - full) > 0.3


def test_the_right_product_is_not_shifted_by_how_often_it_is_drawn() -> None:
    """dL/ds_c = -w (1 - P_c), dL/ds_j = w (1 - P_c) softmax over negatives of (s_j - log Q'_j), by hand."""
    positive = torch.tensor([0.5], requires_grad=True)
    logits = torch.tensor([[0.2, -0.3, 0.1]], requires_grad=True)
    frequency, count = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([2.0, 1.0, 1.0])
    corrected_info_nce(
        positive, logits, torch.tensor([0.25]), torch.tensor([3.0]), Drawn(frequency, count, NO_MASK)
    ).backward()
    terms = [n * math.exp(s) / q * 0.75 for s, q, n in zip((0.2, -0.3, 0.1), (0.5, 0.25, 0.25), (2, 1, 1), strict=True)]
    right = math.exp(0.5) / (math.exp(0.5) + sum(terms) / 4)
    assert positive.grad is not None
    assert logits.grad is not None
    assert positive.grad.item() == pytest.approx(-3 * (1 - right), rel=1e-5)
    assert logits.grad[0].tolist() == pytest.approx([3 * (1 - right) * one / sum(terms) for one in terms], rel=1e-5)


def test_what_is_masked_is_no_negative_and_a_click_without_any_teaches_nothing() -> None:
    logits = torch.tensor([[0.2, 5.0]], requires_grad=True)
    share, one = torch.tensor([0.5, 0.5]), torch.ones(2)
    masked = torch.tensor([[False, True]])
    weight, positive = torch.tensor([1.0]), torch.tensor([0.0])
    corrected_info_nce(positive, logits, torch.tensor([0.1]), weight, Drawn(share, one, masked)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0
    assert logits.grad[0, 1] == 0
    nothing = Drawn(share, one, torch.ones(1, 2, dtype=torch.bool))
    assert corrected_info_nce(positive, logits, torch.tensor([0.1]), weight, nothing).item() == 0


def test_nothing_is_gained_by_moving_a_product_beyond_its_reach() -> None:
    """The last of four already stands first: (1 / log2 2) / (1 / log2 5) = 2.3 times its exposure, above 2."""
    logits, present = torch.tensor([[3.0, 2.0, 1.0, 9.0]], requires_grad=True), torch.ones(1, 4, dtype=torch.bool)
    clicks = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    listwise(logits, clicks, present, within_reach(logits, present, (0.5, 2.0))).backward()
    assert logits.grad is not None
    assert logits.grad[0, 3] == 0
    assert logits.grad[0, 0] > 0
    free = logits.detach().clone().requires_grad_()
    listwise(free, clicks, present).backward()
    assert free.grad is not None
    assert free.grad[0, 3] < 0


def test_what_is_distilled_is_0_where_nothing_moved_and_above_it_else() -> None:
    frozen = torch.tensor([[1.0, 2.0, 0.5]])
    assert distilled(frozen, frozen).item() == pytest.approx(0, abs=1e-7)
    assert distilled(frozen, frozen.flip(1)).item() > 0.04
