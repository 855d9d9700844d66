"""The scales of the one score for a query that feedback moved: what a random product scores for it has moved, too."""

from dataclasses import replace

import numpy as np

from backend.ml.feedback.fitted import Fitted
from backend.ml.feedback.inputs import Query, Vector
from backend.ml.scoring import Calibration, Kind, KindCalibration, Scale


def mean_shift(start: Query, current: Query, fitted: Fitted) -> tuple[float, float]:
    """How much nearer the catalogue's images, and its captions, are on average to ``current`` than to ``start``.

    Exactly (q' - q) · mean on each side; 0 where the mean is unknown.
    """
    return (
        _shift(start.image, current.image, fitted.image_mean),
        _shift(start.caption, current.caption, fitted.caption_mean),
    )


def shifted(calibration: Calibration, kind: Kind, image: float, caption: float) -> Calibration:
    """``calibration`` with the means of ``kind`` by ``image`` and ``caption`` higher, and its cut with them.

    A random product scores m_I + λ m_I, so the relevance cut rises by (1 + λ) times the shift of m_I. Deviations stay.
    """
    scales = calibration.of(kind)
    moved = KindCalibration(
        Scale(scales.image.mean + image, scales.image.std),
        Scale(scales.caption.mean + caption, scales.caption.std),
        None if scales.cut is None else scales.cut + (1 + calibration.caption_weight) * image,
    )
    # whichever kind is asked for, these are its scales
    return replace(calibration, text=moved, image=moved, both=moved)


def _shift(start: Vector, current: Vector, mean: Vector | None) -> float:
    if mean is None:
        return 0.0
    shift = float(np.dot(np.asarray(current, np.float64) - start, mean))
    return shift if np.isfinite(shift) else 0.0
