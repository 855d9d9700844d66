"""Nearest-neighbour normalisation in a search: what every query is near to falls behind what this one is near to."""

import numpy as np
from sqlalchemy import select

from backend.catalog.models import Product
from backend.db import session_scope
from backend.generations.serving import Serving
from backend.ml.feedback.fitted import UNFITTED, Fitted
from backend.ml.feedback.policy import NearestNeighbors
from backend.ml.scoring import Calibration, Fused
from backend.search.query_vectors import QueryVectors
from backend.search.refinement.features import ItemVectors
from backend.search.refinement.rescoring import Rescoring
from tests.search.conftest import Shop


def test_a_hub_falls_behind_what_only_this_query_is_near_to(shop: Shop, serving: Serving) -> None:
    shop.add({"id": "hub", "title": "a red thing"}, {"id": "own", "title": "green glass bottle"})
    with session_scope(shop.sessions) as session:
        numbers = {row.id: row.number for row in session.execute(select(Product.id, Product.number))}
        rescoring = Rescoring(ItemVectors(session.get_bind().engine))
    near = shop.encoder.encode_texts(["a red thing"])
    unknown, exact = 10**6, np.zeros(3, dtype=np.bool_)
    candidates = np.array([numbers["hub"], numbers["own"], unknown])
    fused = Fused(candidates, np.array([0.6, 0.59, 0.1]), exact, exact)

    def rescored(fitted: Fitted) -> tuple[Fused, float]:
        vectors, normalisation = QueryVectors(near, near), NearestNeighbors(a=0.75, k=2)
        return rescoring.rescored(serving, fused, vectors, normalisation, fitted, Calibration.identity(), "text")

    found, lower = rescored(Fitted(references=np.repeat(near, 3, axis=0)))
    assert found.products.tolist() == [numbers["own"], numbers["hub"], unknown]
    assert found.scores.tolist() == sorted(found.scores, reverse=True)
    assert lower > 0
    assert rescored(UNFITTED) == (fused, 0.0), "without reference queries nothing changes"
