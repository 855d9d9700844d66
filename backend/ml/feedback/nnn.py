"""Nearest-neighbour normalisation: an item that is near to every query is worth less.

score'(q, x) = score(q, x) - a * b(x), b(x) = the mean of the k largest cosines of reference queries to x ("Nearest
Neighbor Normalization Improves Multimodal Retrieval", arXiv 2410.24114). Candidates are rescored with it; no index
changes.
"""

import numpy as np

from backend.ml.feedback.geometry import Floats, Wide, known
from backend.ml.feedback.inputs import Matrix
from backend.ml.scoring import Calibration, Kind


def neighbor_bias(vectors: Floats, references: Floats, k: int) -> Wide:
    """B (n,) of item ``vectors`` (n, d) by unit ``references`` (m, d), m above 0; NaN for an item that has no vector.

    With fewer than k references all are averaged.

    Raises:
        ValueError: no references.
    """
    if not len(references):
        raise ValueError("0 reference queries: expected at least 1")
    bias = np.full(len(vectors), np.nan)
    there = known(vectors)
    cosines = np.asarray(vectors[there] @ references.T, dtype=np.float64)
    k = min(k, len(references))
    bias[there] = np.partition(cosines, len(references) - k, axis=1)[:, len(references) - k :].mean(axis=1)
    return bias


def score_bias(
    images: Matrix, captions: Matrix, references: Matrix, k: int, calibration: Calibration, kind: Kind
) -> Wide:
    """What the one score (``ml/scoring.py``) of n products falls by where each side's cosine falls by its bias.

    Args:
        images: (n, d) the picture of each product that answers best; NaN where it has none.
        captions: (n, d) likewise its caption.
        references: (m, d) reference queries.
        k: references averaged.
        calibration: of the generation.
        kind: of the query.

    Returns:
        (n,) before the weight a. A side without a row takes the mean of the others, as the score imputes it.
    """
    scales = calibration.of(kind)
    image, caption = (_imputed(neighbor_bias(side, references, k)) for side in (images, captions))
    share = calibration.caption_weight * scales.image.std / scales.caption.std
    return np.asarray(image + share * caption)


def _imputed(bias: Wide) -> Wide:
    there = ~np.isnan(bias)
    return np.where(there, bias, bias[there].mean() if there.any() else 0.0)
