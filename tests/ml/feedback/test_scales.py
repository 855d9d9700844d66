"""A relevance cut that goes where feedback takes the query."""

import numpy as np
import pytest

from backend.ml.feedback.fitted import UNFITTED, Fitted
from backend.ml.feedback.inputs import Query
from backend.ml.feedback.scales import mean_shift, shifted
from backend.ml.scoring import Calibration, KindCalibration, Scale, combine

START = Query(np.array([1, 0], np.float32), np.array([0, 1], np.float32))
MOVED = Query(np.array([0.6, 0.8], np.float32), np.array([0.6, 0.8], np.float32))
FITTED = Fitted(image_mean=np.array([0.5, 0.1], np.float32), caption_mean=np.array([0.2, 0.4], np.float32))


def test_the_shift_is_what_the_mean_is_nearer() -> None:
    # (-0.4, 0.8) · (0.5, 0.1) = -0.12 and (0.6, -0.2) · (0.2, 0.4) = 0.04
    assert mean_shift(START, MOVED, FITTED) == pytest.approx((-0.12, 0.04), abs=1e-6)
    assert mean_shift(START, MOVED, UNFITTED) == (0.0, 0.0)
    assert mean_shift(START, START, FITTED) == (0.0, 0.0)


@pytest.mark.parametrize("kind", ["text", "image", "both", "product"])
def test_a_product_keeps_its_distance_to_the_cut_when_all_cosines_rise_alike(kind: str) -> None:
    scales = KindCalibration(Scale(0.2, 0.05), Scale(0.5, 0.1), cut=0.4)
    before = Calibration(0.5, scales, scales, scales)
    after = shifted(before, kind, 0.3, 0.1)  # type: ignore[arg-type]
    image, caption = np.array([0.25, 0.4, np.nan]), np.array([0.45, np.nan, 0.7])
    was = combine(image, caption, before, kind) - 0.4  # type: ignore[arg-type]
    now = combine(image + 0.3, caption + 0.1, after, kind) - after.of(kind).cut  # type: ignore[arg-type, operator]
    np.testing.assert_allclose(now, was)
