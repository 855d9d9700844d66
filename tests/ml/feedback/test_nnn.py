"""Nearest-neighbour normalisation against numbers derived by hand, and a planted hub."""

import numpy as np
import pytest

from backend.ml.feedback.geometry import unit
from backend.ml.feedback.nnn import neighbor_bias, score_bias
from backend.ml.metrics import hits, target_ranks
from backend.ml.scoring import Calibration, KindCalibration, Scale, combine


def test_the_bias_is_the_mean_of_the_largest_cosines() -> None:
    """Cosines 1, 0.6 and 0: of the two largest 0.8, of more than there are 1.6 / 3."""
    references = np.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]])
    assert neighbor_bias(np.array([[1.0, 0.0]]), references, 2) == pytest.approx([0.8])
    assert neighbor_bias(np.array([[1.0, 0.0]]), references, 99) == pytest.approx([1.6 / 3])
    assert np.isnan(neighbor_bias(np.full((1, 2), np.nan), references, 2)).all()
    with pytest.raises(ValueError, match="0 reference queries"):
        neighbor_bias(np.eye(2), np.zeros((0, 2)), 2)


def test_the_one_score_falls_by_what_its_cosines_fall_by() -> None:
    rng = np.random.default_rng(6)
    images, captions = (unit(rng.normal(size=(5, 8))).astype(np.float32) for _ in range(2))
    references = unit(rng.normal(size=(9, 8))).astype(np.float32)
    calibration = Calibration(0.5, text=KindCalibration(Scale(0.2, 0.05), Scale(0.6, 0.1)))
    query = references[0]
    image, caption = images @ query, captions @ query
    lower = combine(
        image - 0.75 * neighbor_bias(images, references, 3),
        caption - 0.75 * neighbor_bias(captions, references, 3),
        calibration,
        "text",
    )
    bias = score_bias(images, captions, references, 3, calibration, "text")
    assert combine(image, caption, calibration, "text") - 0.75 * bias == pytest.approx(lower, abs=1e-6)


def test_a_side_that_is_missing_takes_the_mean_of_the_others() -> None:
    images = np.array([[1.0, 0.0], [0.0, 1.0], [np.nan, np.nan]], dtype=np.float32)
    captions = np.full((3, 2), np.nan, dtype=np.float32)
    references = np.array([[1.0, 0.0], [0.8, 0.6]], dtype=np.float32)
    bias = score_bias(images, captions, references, 1, Calibration.identity(), "text")
    assert bias == pytest.approx([1.0, 0.6, 0.8])


def test_an_item_that_is_near_to_every_query_no_longer_comes_first() -> None:
    """Queries are their item plus noise and a direction that all share; the hub is that direction and answers none."""
    rng = np.random.default_rng(0)
    items = unit(rng.normal(size=(200, 32)))
    shared = unit(rng.normal(size=32))
    hub = unit(rng.normal(size=(1, 32)) * 0.2 + shared)
    gallery = np.concatenate([items, hub])
    queries = unit(items + shared + 0.12 * rng.normal(size=(200, 32)))
    references = unit(unit(rng.normal(size=(64, 32))) + shared)
    scores = queries @ gallery.T
    normalised = scores - 0.75 * neighbor_bias(gallery, references, 8)
    targets = np.arange(200)
    plain, better = hits(target_ranks(scores, targets), 1).mean(), hits(target_ranks(normalised, targets), 1).mean()
    assert better > plain + 0.05
