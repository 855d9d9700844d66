"""Alignment, uniformity and modality gap against numbers derived by hand."""

import math

import numpy as np
import pytest

from backend.ml import alignment as measures
from backend.ml.alignment import alignment, modality_gap, space_report, uniformity

EAST, NORTH, WEST = ([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0])


def rows(*vectors: list[float]) -> np.ndarray:
    return np.array(vectors, dtype=np.float32)


def test_alignment_is_the_mean_squared_distance_of_pairs() -> None:
    """A right angle is 2 apart, opposites 4, the same 0: mean 2."""
    assert alignment(rows(EAST, EAST, NORTH), rows(NORTH, WEST, NORTH)) == pytest.approx(2.0)


def test_uniformity_is_the_log_of_the_mean_potential_of_different_rows() -> None:
    """Pairs: two at right angles, exp(-2·2), and one of opposites, exp(-2·4)."""
    expected = math.log((2 * math.exp(-4) + math.exp(-8)) / 3)
    assert uniformity(rows(EAST, NORTH, WEST)) == pytest.approx(expected)
    assert uniformity(rows(EAST, WEST), t=0.5) == pytest.approx(-2.0)


def test_one_point_is_the_least_uniform_there_is() -> None:
    assert uniformity(rows(*[EAST] * 5)) == pytest.approx(0.0, abs=1e-9)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(3).normal(size=(11, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    whole = (uniformity(vectors), alignment(vectors, vectors[::-1]))
    monkeypatch.setattr(measures, "_ROWS", 3)
    assert (uniformity(vectors), alignment(vectors, vectors[::-1])) == pytest.approx(whole)


def test_the_gap_is_between_means() -> None:
    """Means (.5, .5) and (-.5, .5): one apart."""
    assert modality_gap(rows(EAST, NORTH), rows(WEST, NORTH)) == pytest.approx(1.0)


def test_a_report_pairs_texts_with_their_images() -> None:
    report = space_report(rows(EAST, EAST, WEST), rows(WEST, EAST), np.array([1, 1, 0]))
    assert report.alignment == 0
    assert report.uniformity_image == pytest.approx(-8.0)


@pytest.mark.parametrize(("texts", "images"), [((2, 3), (3, 3)), ((0, 3), (0, 3))])
def test_what_is_no_set_of_pairs_is_refused(texts: tuple[int, int], images: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected two of"):
        alignment(np.zeros(texts, np.float32), np.zeros(images, np.float32))


def test_one_row_has_no_uniformity() -> None:
    with pytest.raises(ValueError, match="n of 2 at least"):
        uniformity(rows(EAST))
