import numpy as np

from backend.ml.clicks.click_log import Asked
from backend.ml.gates.rankers import Ranker, best_places
from backend.ml.gates.retention import exposures, gini, overlap
from backend.ml.heads import QueryHeads
from backend.ml.scoring import Calibration, Side

PRODUCTS = np.array([3, 7, 9])
ASKED = Asked(("text:a", "image:b"), ("text", "image"), np.eye(2, dtype=np.float32))


def ranker() -> Ranker:
    images = Side(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), PRODUCTS)
    captions = Side(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    return Ranker(QueryHeads(), images, captions, Calibration(caption_weight=0.0))


def test_the_first_are_the_best_and_ties_go_by_product() -> None:
    first = ranker().first(ASKED, np.array([0, 1]), PRODUCTS, 2)
    assert first.tolist() == [[0, 2], [1, 2]]
    assert best_places(np.array([[0.5, 0.9, 0.5, 0.5]]), 2).tolist() == [[1, 0]]


def test_scores_of_pairs_are_those_of_the_whole_matrix() -> None:
    found = ranker().scores(ASKED, np.array([1, 0, 1]), np.array([2, 2, 0]), PRODUCTS)
    np.testing.assert_allclose(found, [0.8, 0.6, 0.0], atol=1e-6)


def test_overlap_is_the_share_of_the_first_that_both_show() -> None:
    assert overlap(np.array([[1, 2, 3, 4]]), np.array([[4, 1, 9, 8]]), 4).tolist() == [0.5]


def test_exposure_counts_what_takes_over_and_not_what_is_new() -> None:
    """Of 10 queries, one product takes the first place of all; another is new at one of them."""
    before = np.arange(10)[:, None]
    after = np.full((10, 1), 10)
    ratios, (was, has) = exposures(after, before, np.ones(10), 20)
    assert ratios.max() > 5
    assert has > was
    one_new = before.copy()
    one_new[0] = 15
    assert exposures(one_new, before, np.ones(10), 20)[0].max() < 2.2


def test_gini_is_0_of_equals_and_near_1_where_one_has_all() -> None:
    assert gini(np.ones(4)) == 0
    assert gini(np.array([0.0, 0, 0, 8])) == 0.75
