"""A summary inside Rocchio's update: what its attention makes of the negative vector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.ml.feedback.attentive import attentive, negative_weights
from backend.ml.feedback.inputs import Summary

AXES = np.eye(4)


def summary(image: list[list[float]], caption: list[list[float]]) -> Summary:
    return Summary(np.array([0, 0, 0, 2], dtype=np.float32), tuple(map(np.array, image)), tuple(map(np.array, caption)))


def test_uniform_negatives_are_half_the_plain_sums() -> None:
    """What the published evaluation computes: ((1,1,0,0) + (0,0,1,1)) / 2, of weight 2; attention plays no part."""
    told = summary([[0.1, 0.3], [0.2]], [[0.15], [0.25]])
    found = attentive(AXES[:2], AXES[2:], told, weighting="uniform", tau=0.05)
    assert found.negative.vector == pytest.approx([0.5, 0.5, 0.5, 0.5])
    assert found.negative.weight == pytest.approx(2)
    assert found.positive.vector.tolist() == [0, 0, 0, 2]


def test_negated_attention_weighs_what_was_attended_least() -> None:
    """(6) at tau 0.2 over image sums 0.4 and 0.2: exp(-2) to exp(-1), so 0.2689 and 0.7311; (7) over 0.15 and 0.25."""
    told = summary([[0.1, 0.3], [0.2]], [[0.15], [0.25]])
    found = attentive(AXES[:2], AXES[2:], told, weighting="attention", tau=0.2)
    assert 2 * found.negative.vector == pytest.approx([0.26894, 0.73106, 0.62246, 0.37754], abs=1e-5)
    assert found.negative.weight == pytest.approx(1)


def test_without_captions_the_negative_is_of_images_alone() -> None:
    told = summary([[0.6], [0.4]], [[], []])
    for captions in (None, np.full((2, 4), np.nan), AXES[2:]):
        found = attentive(AXES[:2], captions, told, weighting="uniform", tau=0.05)
        assert found.negative.vector.tolist() == [1, 1, 0, 0]


def test_relevance_is_the_attention_that_each_product_got() -> None:
    told = summary([[0.1, 0.3], [0.2]], [[0.15], [0.25]])
    found = attentive(AXES[:2], AXES[2:], told, weighting="uniform", tau=0.05)
    assert found.relevance == pytest.approx([0.55, 0.45])


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_attention_weights_over_the_list_sum_to_one(seed: int, k: int) -> None:
    """Guards against a softmax over an axis of one (spec 1.4.2), where each would be 1."""
    rng = np.random.default_rng(seed)
    weights = negative_weights(rng.normal(size=(k, 4)), rng.dirichlet(np.ones(k)), "attention", 0.05, np.zeros(k))
    assert weights.sum() == pytest.approx(1)
    assert negative_weights(rng.normal(size=(k, 4)), rng.random(k), "uniform", 0.05, np.zeros(k)).sum() == k


def test_a_summary_of_another_list_is_refused() -> None:
    with pytest.raises(ValueError, match="a summary of 2 products, expected 3"):
        attentive(AXES[:3], None, summary([[1.0], [0.0]], [[], []]), weighting="uniform", tau=0.05)
