"""The one score against numbers derived by hand."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.ml.scoring import (
    Calibration,
    KindCalibration,
    Scale,
    Side,
    SideHits,
    best_per_product,
    combine,
    fit_kind,
    fuse_candidates,
    score_matrix,
)
from backend.ml.word_evidence import EXACT_MATCH, add_evidence, word_evidence

# a caption cosine of 0.8 is two deviations above its mean, which on the image side is 0.2 + 2 * 0.05 = 0.3
MEASURED = KindCalibration(image=Scale(0.2, 0.05), caption=Scale(0.6, 0.1), cut=0.4)
CALIBRATION = Calibration(caption_weight=0.5, text=MEASURED)


def hits(pairs: dict[int, float], *, complete: bool = False) -> SideHits:
    return SideHits(np.array(list(pairs), dtype=np.int64), np.array(list(pairs.values())), complete)


def test_score_is_image_plus_weighted_calibrated_caption() -> None:
    """0.25 + 0.5 * (0.2 + 0.05 * (0.8 - 0.6) / 0.1) = 0.25 + 0.5 * 0.3 = 0.40."""
    assert combine(np.array([0.25]), np.array([0.8]), CALIBRATION, "text") == pytest.approx([0.40])


def test_missing_sides_take_their_means() -> None:
    """No caption: 0.25 + 0.5 * 0.2 = 0.35. No image: 0.2 + 0.5 * 0.3 = 0.35. Neither: 0.2 + 0.1 = 0.3."""
    nan = np.nan
    scores = combine(np.array([0.25, nan, nan]), np.array([nan, 0.8, nan]), CALIBRATION, "text")
    assert scores == pytest.approx([0.35, 0.35, 0.30])


def test_identity_adds_cosines() -> None:
    """0.3 + 0.5 * 0.6 = 0.6."""
    assert combine(np.array([0.3]), np.array([0.6]), Calibration.identity(), "image") == pytest.approx([0.6])


def test_the_best_row_of_a_product_counts() -> None:
    products, best = best_per_product(np.array([7, 3, 7, 3, 9]), np.array([0.1, 0.5, 0.4, 0.2, 0.3]))
    assert products.tolist() == [3, 7, 9]
    assert best.tolist() == [0.5, 0.4, 0.3]


def test_not_retrieved_takes_the_floor_and_says_so() -> None:
    """Product 1 has no caption hit: floor 0.5, so 0.3 + 0.5 * (0.2 - 0.05) = 0.375. Product 3 has no image hit:
    floor 0.25, so 0.25 + 0.5 * 0.3 = 0.40. Product 2: 0.25 + 0.5 * 0.15 = 0.325."""
    fused = fuse_candidates(hits({1: 0.3, 2: 0.25}), hits({3: 0.8, 2: 0.5}), CALIBRATION, "text")
    assert fused.products.tolist() == [3, 1, 2]
    assert fused.scores == pytest.approx([0.40, 0.375, 0.325])
    assert fused.image_bound.tolist() == [True, False, False]
    assert fused.caption_bound.tolist() == [False, True, False]


def test_complete_side_imputes_the_mean() -> None:
    """With every row seen, product 1 has no caption (0.3 + 0.1 = 0.4) and product 3 no image (0.2 + 0.15 = 0.35)."""
    image, caption = hits({1: 0.3, 2: 0.25}, complete=True), hits({3: 0.8, 2: 0.5}, complete=True)
    fused = fuse_candidates(image, caption, CALIBRATION, "text")
    assert fused.products.tolist() == [1, 3, 2]
    assert fused.scores == pytest.approx([0.40, 0.35, 0.325])
    assert not fused.image_bound.any()
    assert not fused.caption_bound.any()


def test_ties_fall_to_the_smaller_number() -> None:
    fused = fuse_candidates(hits({9: 0.3, 4: 0.3, 6: 0.3}), hits({}, complete=True), CALIBRATION, "text")
    assert fused.products.tolist() == [4, 6, 9]


def test_nothing_retrieved_is_nothing_fused() -> None:
    assert len(fuse_candidates(hits({}), hits({}), CALIBRATION, "text").products) == 0


def test_looking_up_replaces_bounds_and_keeps_the_floor() -> None:
    """Product 1's caption is looked up: 0.4, so 0.3 + 0.5 * 0.1 = 0.35. Product 4, not looked up, keeps the old floor
    0.5: 0.29 + 0.5 * 0.15 = 0.365. Product 5 was looked up and has no caption, the mean: 0.28 + 0.1 = 0.38."""
    image = hits({1: 0.3, 4: 0.29, 5: 0.28, 3: 0.25})
    captions = hits({3: 0.5}).with_looked_up(np.array([1, 5]), hits({1: 0.4}))
    fused = fuse_candidates(image, captions, CALIBRATION, "text")
    assert fused.products.tolist() == [5, 4, 1, 3]
    assert fused.scores == pytest.approx([0.38, 0.365, 0.35, 0.325])
    assert fused.caption_bound.tolist() == [False, True, False, False]


def test_evidence_is_added_to_the_one_score_and_reorders() -> None:
    """Product 2 rises by 0.05 from 0.35 to 0.40, above product 1 with 0.39; product 8 is found by words alone: its
    image is bounded by 0.25 and it has no caption, 0.25 + 0.1 + 0.03 = 0.38; product 7 is no candidate."""
    image = hits({1: 0.29, 2: 0.25})
    fused = fuse_candidates(image, hits({}, complete=True), CALIBRATION, "text", others=np.array([8]))
    found = add_evidence(fused, np.array([8, 2, 7]), np.array([0.03, 0.05, 1.0]))
    assert found.products.tolist() == [2, 1, 8]
    assert found.scores == pytest.approx([0.40, 0.39, 0.38])
    assert found.image_bound.tolist() == [False, False, True]


def test_an_exact_match_comes_first() -> None:
    fused = fuse_candidates(hits({1: 1.0, 2: -1.0}), hits({1: 1.0, 2: -1.0}), Calibration.identity(), "text")
    assert add_evidence(fused, np.array([2]), np.array([EXACT_MATCH])).products.tolist() == [2, 1]


def test_product_query_takes_images_from_pictures_and_captions_from_words() -> None:
    by_picture = KindCalibration(image=Scale(0.5, 0.1), caption=Scale(0.1, 0.2), cut=0.9)
    scales = Calibration(text=MEASURED, image=by_picture).of("product")
    assert scales == KindCalibration(image=by_picture.image, caption=MEASURED.caption, cut=0.9)


def test_json_round_trip_and_absent_kinds() -> None:
    assert Calibration.from_json(CALIBRATION.to_json()) == CALIBRATION
    assert Calibration.from_json({}) == Calibration.identity()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.0), (0.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_scale_that_cannot_divide_is_refused(mean: float, std: float) -> None:
    with pytest.raises(ValueError, match="expected finite numbers and a std above 0"):
        Scale(mean, std)


def test_fit_kind_measures_both_sides_and_sets_the_cut() -> None:
    """Images 0.1, 0.3: mean 0.2, std 0.1. Captions 0.5, 0.7: mean 0.6, std 0.1. Scores 0.1 + 0.05 = 0.15 and
    0.3 + 0.15 = 0.45: mean 0.3, std 0.15, cut 0.3 + 2 * 0.15 = 0.6."""
    fitted = fit_kind(np.array([0.1, 0.3]), np.array([0.5, 0.7]), 0.5)
    assert (fitted.image.mean, fitted.image.std) == pytest.approx((0.2, 0.1))
    assert (fitted.caption.mean, fitted.caption.std) == pytest.approx((0.6, 0.1))
    assert fitted.cut == pytest.approx(0.6)


def test_fit_kind_leaves_a_side_without_values_alone() -> None:
    fitted = fit_kind(np.array([0.1, 0.3]), np.array([np.nan, np.nan]), 0.5)
    assert fitted.caption == Scale()


def test_score_matrix_by_hand() -> None:
    """Query (1, 0). Product 5 has images with cosines 0.6 and 0.8 and a caption with 1.0; product 8 has only a
    caption with 0. Identity, λ 0.5: 0.8 + 0.5 = 1.3 and 0 + 0 = 0; product 2 has no rows: 0."""
    query = np.array([[1, 0]], dtype=np.float32)
    images = Side(np.array([[0.6, 0.8], [0.8, 0.6]], dtype=np.float32), np.array([5, 5]))
    captions = Side(np.array([[0, 1], [1, 0]], dtype=np.float32), np.array([8, 5]))
    scores = score_matrix(query, query, images, captions, np.array([8, 2, 5]), Calibration.identity(), "text")
    assert scores == pytest.approx(np.array([[0.0, 0.0, 1.3]]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_fusing_everything_equals_the_exact_matrix(seed: int, count: int) -> None:
    """When both searches return all rows, serving and exact scoring are the same function."""
    random = np.random.default_rng(seed)
    sides = []
    for _ in range(2):
        rows = int(random.integers(1, 60))
        vectors = random.normal(size=(rows, 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        sides.append(Side(vectors, random.integers(1, count + 1, size=rows)))
    query = sides[0].vectors[:1]
    found = [SideHits(side.products, (query @ side.vectors.T)[0], complete=True) for side in sides]
    fused = fuse_candidates(found[0], found[1], CALIBRATION, "text")
    exact = score_matrix(query, query, sides[0], sides[1], fused.products, CALIBRATION, "text")
    np.testing.assert_allclose(fused.scores, exact[0], atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_a_bound_is_never_below_the_truth(seed: int, limit: int) -> None:
    """Cut searches give every candidate at least its exact score, and exactly that when no side is bounded."""
    random = np.random.default_rng(seed)
    numbers = np.arange(1, 41)
    image, caption = random.uniform(-1, 1, 40), random.uniform(-1, 1, 40)
    cut = [np.argsort(-side)[:limit] for side in (image, caption)]
    fused = fuse_candidates(
        SideHits(numbers[cut[0]], image[cut[0]]), SideHits(numbers[cut[1]], caption[cut[1]]), CALIBRATION, "text"
    )
    exact = combine(image, caption, CALIBRATION, "text")[fused.products - 1]
    assert (fused.scores >= exact - 1e-9).all()
    known = ~(fused.image_bound | fused.caption_bound)
    np.testing.assert_allclose(fused.scores[known], exact[known])


def test_inputs_are_not_changed() -> None:
    image, caption = hits({1: 0.3, 2: 0.25}), hits({3: 0.8})
    before = [image.products.copy(), image.scores.copy(), caption.products.copy(), caption.scores.copy()]
    fuse_candidates(image, caption, CALIBRATION, "text")
    after = [image.products, image.scores, caption.products, caption.scores]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_fusing_500_candidates_takes_under_half_a_millisecond() -> None:
    """The best of many runs, so that a busy machine does not decide."""
    random = np.random.default_rng(0)
    image, caption = (SideHits(random.integers(1, 400, 500), random.uniform(0, 1, 500)) for _ in range(2))
    best = float("inf")
    for _ in range(200):
        started = time.perf_counter()
        fuse_candidates(image, caption, CALIBRATION, "text")
        best = min(best, time.perf_counter() - started)
    assert best < 0.0005


class TestWordEvidence:
    """4 deviations of 0.05 are 0.2; ten matches halve it (1 + log10 10 = 2), a hundred leave a third."""

    def test_words_that_one_product_alone_has_add_all_of_it(self) -> None:
        np.testing.assert_allclose(word_evidence(np.array([0.1]), 1, CALIBRATION), [0.2])

    def test_common_words_add_less_and_worse_matches_in_proportion(self) -> None:
        np.testing.assert_allclose(word_evidence(np.array([0.4, 0.1]), 10, CALIBRATION), [0.1, 0.025])
        np.testing.assert_allclose(word_evidence(np.array([0.4]), 100, CALIBRATION), [0.2 / 3])

    def test_no_match_adds_nothing(self) -> None:
        assert len(word_evidence(np.empty(0), 0, CALIBRATION)) == 0
