"""Likes and dislikes as pairs, against the sum over pairs written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.ml.feedback.fitted import Fitted
from backend.ml.feedback.geometry import unit
from backend.ml.feedback.inputs import Feedback, Items, Query
from backend.ml.feedback.likes import MOST_JUDGED, pair_weights, pairwise_step
from backend.ml.feedback.policy import Likes, Policy
from backend.ml.feedback.update import refine

PLAIN = Likes(1.0, 0.5, 0.7, pairs="sum", unjudged=False)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_scores_of_the_one_vector_are_those_of_the_sum_over_pairs(seed: int, count: int) -> None:
    """score(x) = a s(q, x) + sum over r_i > r_j of (r_i - r_j)^b c [s(x_i, x) - s(x_j, x)], for any x."""
    rng = np.random.default_rng(seed)
    judged, anything = rng.normal(size=(count, 6)), rng.normal(size=6)
    grades = rng.integers(-2, 3, size=count) / 2
    by_pairs = sum(
        (grades[i] - grades[j]) ** 0.5 * 0.7 * (judged[i] @ anything - judged[j] @ anything)
        for i in range(count)
        for j in range(count)
        if grades[i] > grades[j]
    )
    assert pairwise_step(judged, grades, PLAIN) @ anything == pytest.approx(by_pairs)


def test_more_of_the_same_does_not_grow_where_pairs_are_averaged() -> None:
    """One liked and one disliked, or ten of each: the same step, as is the mean over their pairs."""
    likes = Likes(pairs="mean", unjudged=False)
    one = pairwise_step(np.eye(2), np.array([1.0, -1.0]), likes)
    ten = pairwise_step(np.repeat(np.eye(2), 10, axis=0), np.repeat([1.0, -1.0], 10), likes)
    assert ten == pytest.approx(one)


def test_likes_alone_lead_away_from_the_average_product() -> None:
    """Both liked alike, so there is no pair but those with the average: c (x_1 + x_2 - 2 mean) / 2 pairs."""
    likes, mean = Likes(1.0, 0.5, 1.0), np.array([0.4, 0.4])
    assert pairwise_step(np.eye(2), np.array([1.0, 1.0]), likes, average=mean) == pytest.approx([0.1, 0.1])
    assert pairwise_step(np.eye(2), np.array([1.0, 1.0]), likes) == pytest.approx([0.5, 0.5])


def test_dislikes_alone_lead_from_what_is_disliked_to_what_was_shown_beside_it() -> None:
    """Of the kind (0, 0, 1) that all shown share nothing is taken away: (0, 1, 1) - (1, 0, 1) = (-1, 1, 0)."""
    disliked, said = np.array([[1.0, 0.0, 1.0]]), np.array([-1.0])
    step = pairwise_step(disliked, said, Likes(1.0, 0.5, 1.0), average=np.ones(3), beside=np.array([0.0, 1.0, 1.0]))
    assert step == pytest.approx([-1, 1, 0])


def test_what_was_shown_and_not_judged_stands_beside_what_is_disliked() -> None:
    """Shown are the disliked x and y, z without a grade: n(q + (y + z) / 2 - x) with c = 1."""
    axes = np.eye(4, dtype=np.float32)
    shown = Items(axes[1:], axes[1:], np.array([-1.0, np.nan, np.nan]))
    judged = Items(axes[[1]], axes[[1]], np.array([-1.0]))
    start = Query(axes[0], axes[0])
    outcome = refine(Policy(likes=Likes(1.0, 1.0, 1.0)), start, start, Feedback(shown, judged=judged))
    assert outcome.query.image == pytest.approx(unit(np.array([1, -1, 0.5, 0.5])), abs=1e-6)


def test_a_grade_of_zero_weighs_nothing_beside_a_like_and_a_dislike_of_equal_strength() -> None:
    """Gaps of 0 to -1 and 1 are equal and opposite."""
    assert pair_weights(np.array([1.0, 0.0, -1.0]), PLAIN)[1] == pytest.approx(0)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=20))
def test_a_better_grade_never_weighs_less(grades: list[float]) -> None:
    weights = pair_weights(np.array(grades), Likes())
    order = np.argsort(grades, kind="stable")
    assert (np.diff(weights[order]) >= -1e-12).all()


def test_judged_products_are_capped() -> None:
    assert len(pair_weights(np.zeros(MOST_JUDGED), Likes())) == MOST_JUDGED
    with pytest.raises(ValueError, match="101 judged products: expected at most 100"):
        pair_weights(np.zeros(MOST_JUDGED + 1), Likes())
    with pytest.raises(ValueError, match="grades from 2"):
        pair_weights(np.array([2.0]), Likes())


def test_each_side_moves_by_its_own_vectors() -> None:
    """The image side by (0,1,0) / 2, the caption side by (0,0,1) / 2."""
    axes = np.eye(3, dtype=np.float32)
    judged = Items(axes[[1]], axes[[2]], np.array([1.0]))
    outcome = refine(Policy(likes=Likes(c=0.5)), *(Query(axes[0], axes[0]),) * 2, Feedback(judged, judged))
    assert outcome.query.image == pytest.approx(unit(np.array([2, 1, 0])), abs=1e-6)
    assert outcome.query.caption == pytest.approx(unit(np.array([2, 0, 1])), abs=1e-6)


def test_a_product_without_a_picture_counts_by_its_caption_brought_across_the_gap() -> None:
    """Captions lie at +1 of the third axis, images at -1: (0,1,1) becomes n((0,1,-1))."""
    axes = np.eye(3, dtype=np.float32)
    caption = unit(np.array([[0.0, 1.0, 1.0]])).astype(np.float32)
    gap = np.array([0, 0, 0.7071068], dtype=np.float32)
    judged = Items(np.full_like(caption, np.nan), caption, np.array([1.0]))
    fitted = Fitted(image_mean=-gap, caption_mean=gap)
    likes = Likes(0.0, 1.0, 1.0, unjudged=True)
    start = Query(axes[0], axes[0])
    outcome = refine(Policy(likes=likes), start, start, Feedback(judged, judged), fitted=fitted)
    assert outcome.query.image == pytest.approx(unit(unit(np.array([0, 0.7071, -0.7071])) + gap), abs=1e-4)


def test_means_that_are_removed_leave_what_differs() -> None:
    """x = n((0,1,1)) without the mean (0,0,0.7071) is (0,1,0)."""
    axes = np.eye(3, dtype=np.float32)
    picture = unit(np.array([[0.0, 1.0, 1.0]])).astype(np.float32)
    mean = np.array([0, 0, 0.7071068], dtype=np.float32)
    judged = Items(picture, picture, np.array([1.0]))
    policy = Policy(likes=Likes(1.0, 1.0, 1.0), remove_modality_mean=True)
    start = Query(axes[0], axes[0])
    outcome = refine(policy, start, start, Feedback(judged, judged), fitted=Fitted(image_mean=mean, caption_mean=mean))
    assert outcome.query.image == pytest.approx(unit(np.array([1, 1, 0])), abs=1e-5)
