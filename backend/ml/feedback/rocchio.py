"""Rocchio's update over embeddings: the classic form and the extended one.

Formulas (1), (2) and (9) to (11) of "A Little More Like This: Text-to-Image Retrieval with Vision-Language Models Using
Relevance Feedback" (arXiv 2511.17255), after Rocchio, "Relevance Feedback in Information Retrieval" (1971).
"""

from dataclasses import dataclass

import numpy as np

from backend.ml.feedback.geometry import Floats, Wide, known, softmax, unit
from backend.ml.feedback.policy import Mix


@dataclass(frozen=True)
class Sum:
    """A weighted sum of vectors: (d,), and what its weights add up to. Nothing was summed where that is 0."""

    vector: Wide
    weight: float


@dataclass(frozen=True)
class Evidence:
    """What a list says for and against.

    Args:
        positive: p.
        negative: m.
        relevance: (k,) weights in p, 0 for an item that has no vector.
        irrelevance: (k,) weights in m.
    """

    positive: Sum
    negative: Sum
    relevance: Wide
    irrelevance: Wide


def weighted(vectors: Floats, weights: Floats) -> Sum:
    """Sum of ``vectors`` (k, d) times ``weights`` (k,); a row of NaN must weigh 0."""
    weights = np.asarray(weights, dtype=np.float64)
    rows = np.where(weights[:, None] != 0, vectors, 0.0)
    return Sum(np.asarray(weights @ rows, dtype=np.float64), float(weights.sum()))


def similarity_weights(query: Floats, vectors: Floats, tau: float) -> Wide:
    """(1): softmax (k,) of cos(q, f_i) / tau over those ``vectors`` (k, d) that are known; others weigh 0."""
    weights = np.zeros(len(vectors))
    there = known(vectors)
    if there.any():
        weights[there] = softmax(unit(vectors[there]) @ unit(query) / tau)
    return weights


def extended(query: Floats, vectors: Floats, tau: float) -> Evidence:
    """(2): p = sum of w_i f_i, and m = sum of (1 - w_i) f_i over the same list, hard negatives; m weighs K - 1."""
    weights = similarity_weights(query, vectors, tau)
    against = np.where(known(vectors), 1.0 - weights, 0.0)
    return Evidence(weighted(vectors, weights), weighted(vectors, against), weights, against)


def classic(best: Floats, worst: Floats | None) -> Evidence:
    """(10), (11): the means of the ``best`` (k, d) and the ``worst`` (k, d) of a ranking; no worst, no negative."""
    relevance = _mean_weights(best)
    negative = Sum(np.zeros(best.shape[1]), 0.0) if worst is None else weighted(worst, _mean_weights(worst))
    return Evidence(weighted(best, relevance), negative, relevance, np.zeros(0))


def mixed(query: Floats, positive: Sum, negative: Sum, mix: Mix) -> Wide:
    """(2), (9): n(alpha q + beta p - gamma m) of ``query`` (d,), which NaN leaves out; without direction, the query.

    A positive or negative side of nothing weighs nothing.
    """
    plus = unit(positive.vector) if mix.positive_norm == "unit" else positive.vector
    minus = negative.vector
    if mix.negative_norm == "unit":
        minus = unit(minus)
    elif mix.negative_norm == "convex" and negative.weight > 0:
        minus = minus / negative.weight
    return toward(query, mix.alpha, mix.beta * plus - mix.gamma * minus)


def toward(query: Floats, alpha: float, step: Wide) -> Wide:
    """n(alpha q + step); the query as it is where that has no direction. A query of NaN is nothing, and left out."""
    wide = np.asarray(query, dtype=np.float64)
    moved = step if np.isnan(wide).any() else alpha * wide + step
    return unit(moved) if np.linalg.norm(moved) > 1e-9 else wide


def _mean_weights(vectors: Floats) -> Wide:
    there = known(vectors)
    return np.asarray(there / max(int(there.sum()), 1), dtype=np.float64)
