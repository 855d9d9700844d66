"""Lexical evidence: what words add to the one score (``scoring.py``), a separate term that can be switched off."""

import numpy as np
from numpy.typing import NDArray

from backend.ml.scoring import Calibration, Floats, Fused, Ints

EXACT_MATCH = 10.0
"""What an exact SKU adds: more than any two scores can differ, so that it comes first."""


def word_evidence(ranks: Floats, matches: int, calibration: Calibration) -> NDArray[np.float64]:
    """What words add to the scores (n,) of the products they rank, whose ``ranks`` (n,) are above 0.

    The best match adds ``lexical_weight`` deviations of the image side, others in proportion to their rank; divided by
    1 + log10(matches), because words that many products have tell little about one of them (as in inverse document
    frequency, Spärck Jones 1972).
    """
    if not len(ranks):
        return np.empty(0)
    most = calibration.lexical_weight * calibration.text.image.std / (1 + np.log10(max(matches, 1)))
    return np.asarray(most * ranks / np.max(ranks), dtype=np.float64)


def add_evidence(fused: Fused, products: Ints, evidence: Floats) -> Fused:
    """``fused`` with ``evidence`` (from ``word_evidence``, or ``EXACT_MATCH``) added to ``products``.

    Products that are no candidates are left out: hand them to ``fuse_candidates`` as ``others`` first.
    """
    order = np.argsort(fused.products)
    place = np.minimum(np.searchsorted(fused.products, products, sorter=order), max(len(order) - 1, 0))
    if len(order) == 0 or len(products) == 0:
        return fused
    where = order[place]
    known = fused.products[where] == products
    scores = fused.scores.copy()
    np.add.at(scores, where[known], np.asarray(evidence, dtype=np.float64)[known])
    return Fused.ordered(fused.products, scores, fused.image_bound, fused.caption_bound)
