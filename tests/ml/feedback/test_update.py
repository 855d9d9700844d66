"""One turn of feedback against numbers derived by hand, and what holds whatever is given."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from backend.ml.feedback.inputs import Feedback, Items, Query, Regions
from backend.ml.feedback.policy import BUILT_IN, Likes, Mix, Policy
from backend.ml.feedback.update import refine

POLICIES = TypeAdapter(Policy)


def unit(*values: float) -> NDArray[np.float32]:
    vector = np.array(values, dtype=np.float64)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def items(images: list[NDArray[np.float32]], captions: list[NDArray[np.float32]] | None = None) -> Items:
    pictures = np.stack(images)
    words = np.full_like(pictures, np.nan) if captions is None else np.stack(captions)
    return Items(pictures, words, np.full(len(pictures), np.nan))


def judged(grades: list[float], images: list[NDArray[np.float32]]) -> Items:
    return Items(np.stack(images), np.stack(images), np.array(grades))


def both(vector: NDArray[np.float32]) -> Query:
    return Query(vector, vector)


Q = unit(1, 0, 0)
NOTHING = items([unit(1, 1, 0)])


def test_words_are_averaged_with_the_query() -> None:
    """n((1,0,0) + (0,1,0)) = (0.7071, 0.7071, 0), on both sides."""
    outcome = refine(Policy(), both(Q), both(Q), Feedback(NOTHING, words=unit(0, 1, 0)))
    assert outcome.strategy == "text"
    assert outcome.decision == "moved"
    assert outcome.query.image == pytest.approx([0.70711, 0.70711, 0], abs=1e-5)
    assert outcome.query.caption == pytest.approx(outcome.query.image)
    assert outcome.similarity_to_start == pytest.approx(0.70711, abs=1e-5)


def test_words_are_mixed_in_the_rocchio_mode() -> None:
    """n(0.8 (1,0,0) + 0.1 (0,1,0)) = (8, 1, 0) / sqrt(65)."""
    policy = Policy(strategy="text", explicit_mode="rocchio")
    outcome = refine(policy, both(Q), both(Q), Feedback(NOTHING, words=unit(0, 1, 0)))
    assert outcome.query.image == pytest.approx([8 / 65**0.5, 1 / 65**0.5, 0], abs=1e-6)


def test_likes_are_pairs() -> None:
    """Grades 1 and -1, b = 1: gap 2, so q' = n(q + 0.5 * 2 * (x1 - x2)) = n((1, 1, -1))."""
    policy = Policy(strategy="likes", likes=Likes(1.0, 1.0, 0.5, pairs="sum", unjudged=False))
    outcome = refine(
        policy, both(Q), both(Q), Feedback(NOTHING, judged=judged([1, -1], [unit(0, 1, 0), unit(0, 0, 1)]))
    )
    assert outcome.query.image == pytest.approx(unit(1, 1, -1), abs=1e-6)
    assert outcome.strategy == "likes"


def test_what_is_given_together_is_applied_together() -> None:
    feedback = Feedback(NOTHING, judged=judged([1], [unit(0, 1, 1)]), words=unit(0, 1, 0))
    assert refine(Policy(), both(Q), both(Q), feedback).strategy == "text+likes"


def test_judged_products_count_once_however_often_they_are_given() -> None:
    feedback = Feedback(NOTHING, judged=judged([1, -1], [unit(0, 1, 0), unit(0, 0, 1)]))
    first = refine(Policy(), both(Q), both(Q), feedback)
    again = refine(Policy(), both(Q), first.query, feedback, base=first.base)
    assert again.decision == "held"
    assert again.query.image == pytest.approx(first.query.image)


def test_a_session_that_began_by_browsing_is_led_by_likes_alone() -> None:
    nowhere = both(np.full(3, np.nan, dtype=np.float32))
    outcome = refine(Policy(), nowhere, nowhere, Feedback(NOTHING, judged=judged([0.5], [unit(0, 1, 0)])))
    assert outcome.query.image == pytest.approx([0, 1, 0])
    assert outcome.decision == "moved"
    assert np.isnan(outcome.similarity_to_start)


def test_a_box_mixes_what_is_inside_and_a_kind_without_boxes_weighs_nothing() -> None:
    """n(0.6 (1,0,0) + 0.2 (0,1,0)) = (3, 1, 0) / sqrt(10)."""
    regions = Regions(np.stack([unit(0, 1, 0)]), np.array([1.0]))
    outcome = refine(Policy(), both(Q), both(Q), Feedback(NOTHING, regions=regions))
    assert outcome.strategy == "boxes"
    assert outcome.query.image == pytest.approx(unit(3, 1, 0), abs=1e-6)


def test_feedback_that_moves_too_far_is_brought_back_to_exactly_the_budget() -> None:
    policy = Policy(drift_budget=0.9)
    outcome = refine(policy, both(Q), both(Q), Feedback(NOTHING, words=unit(0, 1, 0)))
    assert outcome.decision == "blended"
    assert outcome.similarity_to_start == pytest.approx(0.9, abs=1e-6)
    assert np.linalg.norm(outcome.query.image) == pytest.approx(1)
    assert outcome.query.image[1] == pytest.approx((1 - 0.81) ** 0.5, abs=1e-6)


def test_none_holds_whatever_is_said() -> None:
    outcome = refine(BUILT_IN["none"], both(Q), both(Q), Feedback(NOTHING, words=unit(0, 1, 0)))
    assert (outcome.strategy, outcome.decision) == ("none", "held")
    assert outcome.query.image.tolist() == Q.tolist()


@pytest.mark.parametrize("name", BUILT_IN)
def test_policies_are_written_and_read_as_json(name: str) -> None:
    kept = json.loads(POLICIES.dump_json(BUILT_IN[name]))
    assert POLICIES.validate_python(kept) == BUILT_IN[name]


def test_a_policy_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="negativ_norm"):
        POLICIES.validate_python({"prf": {"negativ_norm": "raw"}})
    with pytest.raises(ValidationError, match="k 0: expected 1 to 100"):
        POLICIES.validate_python({"k": 0})


@given(st.integers(0, 2**32 - 1), st.sampled_from(["prf", "grf", "rocchio", "auto"]), st.integers(1, 9))
def test_without_positive_and_negative_weight_the_query_stays(seed: int, strategy: str, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(2, k, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    still = Mix(beta=0.0, gamma=0.0)
    policy = replace(Policy(), strategy=strategy, k=k, prf=still, grf=still)
    policy = replace(policy, rocchio=replace(policy.rocchio, mix=still))
    query = both(vectors[0, 0])
    before = [array.copy() for array in (vectors, query.image)]
    outcome = refine(policy, query, query, Feedback(Items(vectors[0], vectors[1], np.full(k, np.nan))))
    assert outcome.query.image == pytest.approx(query.image, abs=1e-6)
    assert outcome.decision == "held"
    assert all(np.array_equal(one, other) for one, other in zip((vectors, query.image), before, strict=True))
