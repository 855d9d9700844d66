"""Rocchio's update against the paper's formulas and the published defaults."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backend.ml.feedback.geometry import hold_within, unit
from backend.ml.feedback.inputs import Feedback, Items, Query
from backend.ml.feedback.policy import Classic, Mix, Policy
from backend.ml.feedback.rocchio import Evidence, Sum, classic, extended, mixed
from backend.ml.feedback.update import refine

DIM = 16
TURNS = {strategy: Policy(strategy=strategy) for strategy in ("prf", "grf", "rocchio")}


def sphere(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return unit(rng.normal(size=(*shape, DIM))).astype(np.float32)


def shown(images: NDArray[np.float32], captions: NDArray[np.float32]) -> Items:
    return Items(images, captions, np.full(len(images), np.nan))


def turn(policy: Policy, query: NDArray[np.float32], items: Items) -> NDArray[np.float32]:
    both = Query(query, query)
    return refine(policy, both, both, Feedback(items)).query.image


def test_weights_are_a_softmax_of_cosines_over_the_list() -> None:
    """Cosines 1 and 0 at tau 0.5: exp(2) / (exp(2) + 1) = 0.8808; irrelevance is the rest of 1 each."""
    found = extended(np.array([1.0, 0.0]), np.array([[1.0, 0.0], [0.0, 1.0]]), 0.5)
    assert found.relevance == pytest.approx([0.880797, 0.119203], abs=1e-6)
    assert found.irrelevance == pytest.approx([0.119203, 0.880797], abs=1e-6)
    assert found.positive.vector == pytest.approx([0.880797, 0.119203], abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.sampled_from([0.01, 0.05, 0.5, 5.0]))
def test_weights_sum_to_one_and_negatives_to_k_minus_one(seed: int, k: int, tau: float) -> None:
    rng = np.random.default_rng(seed)
    found = extended(sphere(rng), sphere(rng, k), tau)
    assert found.relevance.sum() == pytest.approx(1)
    assert found.positive.weight == pytest.approx(1)
    assert found.irrelevance.sum() == pytest.approx(k - 1)
    assert found.negative.weight == pytest.approx(k - 1)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_raw_sums_subtract_the_local_centroid(seed: int, k: int) -> None:
    """The identity of spec 1.3: beta p - gamma m = (beta + gamma) p - gamma K mean(c), so with the published weights
    q' = n(0.8 q + 0.2 p - 0.1 K c_mean)."""
    rng = np.random.default_rng(seed)
    query, captions = sphere(rng), sphere(rng, k)
    policy = Policy(strategy="grf", k=k)
    positive = extended(query, captions, policy.tau).positive.vector
    expected = unit(0.8 * query + 0.2 * positive - 0.1 * k * captions.mean(axis=0))
    assert turn(policy, query, shown(sphere(rng, k), captions)) == pytest.approx(expected, abs=1e-6)


def test_prf_scales_both_to_unit_length_and_grf_neither() -> None:
    """Table 1.3, computed once more from the formulas alone."""
    rng = np.random.default_rng(11)
    query, images, captions = sphere(rng), sphere(rng, 5), sphere(rng, 5)
    for strategy, vectors, scaled in (("prf", images, unit), ("grf", captions, np.asarray)):
        powers = np.exp(vectors @ query / 0.05)
        weights = powers / powers.sum()
        positive, negative = scaled(weights @ vectors), scaled((1 - weights) @ vectors)
        expected = unit(0.8 * query + 0.1 * positive - 0.1 * negative)
        assert turn(TURNS[strategy], query, shown(images, captions)) == pytest.approx(expected, abs=1e-6), strategy


def test_prf_hardly_moves_where_the_list_is_alike() -> None:
    """Why it "does not help": p and m at unit length are nearly parallel and cancel (spec 1.3)."""
    rng = np.random.default_rng(4)
    query = sphere(rng)
    images = unit(np.ones(DIM) + 0.15 * rng.normal(size=(5, DIM))).astype(np.float32)
    both = Query(query, query)
    outcome = refine(TURNS["prf"], both, both, Feedback(shown(images, images)))
    assert outcome.similarity_to_last > 0.999


def test_the_negative_is_scaled_as_asked() -> None:
    """m = (0, 4) of weight 4, q = (1, 0), alpha = 1, gamma = 1: raw (1, -4), convex (1, -1), unit (1, -1)."""
    query, nothing, against = np.array([1.0, 0.0]), Sum(np.zeros(2), 0.0), Sum(np.array([0.0, 4.0]), 4.0)
    for norm, step in (("raw", -4), ("convex", -1), ("unit", -1)):
        mix = Mix(1.0, 0.0, 1.0, negative_norm=norm)  # type: ignore[arg-type]
        assert mixed(query, nothing, against, mix) == pytest.approx(unit(np.array([1.0, step]))), norm


def test_the_classic_form_takes_plain_means_of_best_and_worst() -> None:
    """(9) to (11): n(0.8 (1, 0, 0) + 0.1 (0, 1, 0) - 0.1 (0, 0, 1))."""
    axes = np.eye(3, dtype=np.float32)
    best, worst = shown(axes[[1, 1]], axes[[0, 0]]), shown(axes[[2, 2]], axes[[0, 0]])
    both = Query(axes[0], axes[0])
    outcome = refine(Policy(strategy="rocchio"), both, both, Feedback(best), worst=worst)
    assert outcome.query.image == pytest.approx(unit(np.array([0.8, 0.1, -0.1])), abs=1e-6)
    over_captions = Policy(strategy="rocchio", rocchio=Classic(over="captions"))
    assert refine(over_captions, both, both, Feedback(best), worst=worst).decision == "held"


def test_the_classic_form_without_a_worst_has_no_negative() -> None:
    found = classic(np.eye(2), None)
    assert found.positive.vector.tolist() == [0.5, 0.5]
    assert (found.negative.weight, found.negative.vector.tolist()) == (0, [0, 0])


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(TURNS)), st.integers(1, 12))
def test_the_order_of_the_list_and_a_rotation_of_space_change_nothing(seed: int, strategy: str, k: int) -> None:
    rng = np.random.default_rng(seed)
    query, images, captions = sphere(rng), sphere(rng, k), sphere(rng, k)
    policy = Policy(strategy=strategy, k=k)  # type: ignore[arg-type]
    moved = turn(policy, query, shown(images, captions))
    order = rng.permutation(k)
    assert turn(policy, query, shown(images[order], captions[order])) == pytest.approx(moved, abs=1e-5)
    rotation = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0].astype(np.float32)
    turned = turn(policy, query @ rotation, shown(images @ rotation, captions @ rotation))
    assert turned == pytest.approx(moved @ rotation, abs=1e-4)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(TURNS)), st.integers(1, 8))
def test_only_the_first_k_count_and_nothing_given_is_changed(seed: int, strategy: str, k: int) -> None:
    rng = np.random.default_rng(seed)
    query, images, captions = sphere(rng), sphere(rng, 12), sphere(rng, 12)
    captions[rng.random(12) < 0.3] = np.nan
    before = [array.copy() for array in (query, images, captions)]
    policy = Policy(strategy=strategy, k=k)  # type: ignore[arg-type]
    moved = turn(policy, query, shown(images, captions))
    assert np.linalg.norm(moved) == pytest.approx(1, abs=1e-5)
    assert moved == pytest.approx(turn(policy, query, shown(images[:k], captions[:k])))
    for array, kept in zip((query, images, captions), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_products_without_a_caption_are_left_out_of_what_captions_say() -> None:
    rng = np.random.default_rng(8)
    query, images, captions = sphere(rng), sphere(rng, 3), sphere(rng, 3)
    gappy = captions.copy()
    gappy[1] = np.nan
    whole = turn(TURNS["grf"], query, shown(images[[0, 2]], captions[[0, 2]]))
    assert turn(TURNS["grf"], query, shown(images, gappy)) == pytest.approx(whole)


@given(st.integers(0, 2**32 - 1), st.floats(-0.99, 0.99))
def test_what_is_brought_back_is_on_the_great_circle_at_exactly_the_budget(seed: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    start, far = sphere(rng), sphere(rng)
    held, back = hold_within(far, start, least)
    assert back == (float(far @ start) < least)
    if back:
        assert held @ unit(start) == pytest.approx(least, abs=1e-9)
        assert np.linalg.matrix_rank(np.stack([start, far, held]), tol=1e-5) == 2
        assert np.linalg.norm(held) == pytest.approx(1)


def test_a_vector_without_direction_leaves_the_query_where_it_is() -> None:
    """0.5 q - 0.5 q is nothing."""
    query = np.array([1.0, 0.0])
    evidence = Evidence(Sum(np.zeros(2), 0.0), Sum(query, 1.0), np.zeros(0), np.zeros(0))
    assert mixed(query, evidence.positive, evidence.negative, Mix(0.5, 0.5, 0.5)).tolist() == [1, 0]
