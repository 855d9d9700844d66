"""Rescoring of candidates by nearest-neighbour normalisation, where a refine policy asks for it."""

import numpy as np

from backend.generations.serving import Serving
from backend.ml.feedback.fitted import Fitted
from backend.ml.feedback.inputs import Query
from backend.ml.feedback.nnn import score_bias
from backend.ml.feedback.policy import NearestNeighbors
from backend.ml.scoring import Calibration, Fused, Kind
from backend.search.query_vectors import QueryVectors
from backend.search.refinement.features import ItemVectors, items, standing

RESCORED = 400
"""Candidates that are rescored, the first ones; those behind keep their order and stay behind."""


class Rescoring:
    """Takes off candidates' scores what they score for any query.

    Args:
        products: their vectors.
    """

    def __init__(self, products: ItemVectors) -> None:
        self._products = products

    def rescored(
        self,
        serving: Serving,
        fused: Fused,
        vectors: QueryVectors,
        normalisation: NearestNeighbors,
        fitted: Fitted,
        calibration: Calibration,
        kind: Kind,
    ) -> tuple[Fused, float]:
        """``fused`` rescored and ordered anew, and what scores fell by on average; unchanged without references."""
        if fitted.references is None or not len(fitted.references) or not len(fused.products):
            return fused, 0.0
        numbers = fused.products[:RESCORED]
        known = self._products.by_number(serving, numbers)
        query = Query(vectors.image[0], vectors.caption[0])
        there = np.array([number in known for number in numbers.tolist()])
        stood = [standing(known[one], query) for one in numbers[there].tolist()]
        named = items(stood, [np.nan] * len(stood), serving.dim)
        bias = np.full(len(fused.products), np.nan)
        bias[: len(numbers)][there] = score_bias(
            named.images, named.captions, fitted.references, normalisation.k, calibration, kind
        )
        usual = float(np.nanmean(bias)) if there.any() else 0.0
        lower = normalisation.a * np.where(np.isnan(bias), usual, bias)
        scores = fused.scores - lower
        if len(scores) > RESCORED:
            scores[RESCORED:] = np.minimum(scores[RESCORED:], scores[:RESCORED].min())
        order = np.lexsort((np.arange(len(scores)), -scores))
        return (
            Fused(fused.products[order], scores[order], fused.image_bound[order], fused.caption_bound[order]),
            normalisation.a * usual,
        )
