"""Whether a refinement from the list alone promises a gain: selective feedback (arXiv 2401.11198)."""

from dataclasses import dataclass

import numpy as np

from backend.ml.feedback.fitted import Gate
from backend.ml.feedback.geometry import Floats, Wide, cosine, known, unit


@dataclass(frozen=True)
class Confidence:
    """Features of one refinement, known before it is served.

    Args:
        margin: cosine of the query to the first product minus that to the second; 0 with fewer than two.
        entropy: of the items' weights, divided by the greatest there is, log K: 1 is uniform. 0 with fewer than two.
        similarity: cos(q, q').
    """

    margin: float
    entropy: float
    similarity: float

    def row(self) -> Wide:
        """(4,) the features and a 1 for the bias."""
        return np.array([self.margin, self.entropy, self.similarity, 1.0])


def confidence(query: Floats, moved: Floats, vectors: Floats, weights: Floats) -> Confidence:
    """Features of going from ``query`` to ``moved`` (d,) by items ``vectors`` (k, d) that weigh ``weights`` (k,)."""
    there = known(vectors)
    cosines = np.sort(unit(vectors[there]) @ unit(query))[::-1]
    margin = float(cosines[0] - cosines[1]) if len(cosines) > 1 else 0.0
    return Confidence(margin, _entropy(np.asarray(weights)[np.asarray(weights) > 0]), cosine(query, moved))


def expected_gain(gate: Gate, features: Confidence) -> float:
    """Reciprocal rank that the refinement is expected to add."""
    return float(features.row() @ np.array([gate.margin, gate.entropy, gate.similarity, gate.bias]))


def _entropy(weights: Floats) -> float:
    if len(weights) < 2:
        return 0.0
    shares = weights / weights.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(shares)))
