"""Of the exact first 24 by the one score the query path finds 0.99, at any filter."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.db import connect, session_factory, session_scope
from backend.generations.serving import Serving, load_serving
from backend.ml.scoring import score_matrix
from backend.search.candidates import DEPTH, Aim, Retrieval
from backend.search.exact_sides import ExactSides
from backend.search.filters import SearchFilters, plan_filters
from backend.search.query_vectors import QueryVectors
from backend.vector_index import VectorIndex
from benchmarks.synthetic import Synthetic, attributes_of, make_queries, write_catalogue
from tests.fixtures.database import fresh_database

LIMIT = 24
PRODUCTS = 2000


@dataclass(frozen=True)
class Catalogue:
    written: Synthetic
    serving: Serving
    index: VectorIndex
    sessions: sessionmaker[Session]


@pytest.fixture(scope="module")
def catalogue(postgres_uri: str, milvus_uri: str) -> Iterator[Catalogue]:
    """Two thousand products with two images and two captions."""
    with fresh_database(postgres_uri) as url:
        engine = connect(url)
        sessions, index = session_factory(engine), VectorIndex(milvus_uri)
        with session_scope(sessions) as session:
            written = write_catalogue(session, index, PRODUCTS, 64)
            serving = load_serving(session)
        assert serving is not None
        yield Catalogue(written, serving, index, sessions)
        index.drop_collection(serving.image_collection)
        index.drop_collection(serving.caption_collection)
        engine.dispose()


@pytest.mark.parametrize(
    ("filters", "share"),
    [
        ({"attributes.percent": 7}, 0.01),
        ({"attributes.decile": 3}, 0.10),
        ({"attributes.half": 1}, 0.50),
        ({}, 1.0),
    ],
)
def test_of_the_exact_order(catalogue: Catalogue, filters: dict[str, int], share: float) -> None:
    written = catalogue.written
    kept = np.array(
        [all(attributes_of(n)[name.partition(".")[2]] == v for name, v in filters.items()) for n in range(PRODUCTS)]
    )
    assert kept.mean() == pytest.approx(share)
    _, queries = make_queries(written, 40)
    exact = score_matrix(
        queries, queries, written.images, written.captions, written.numbers, written.calibration, "text"
    )
    exact[:, ~kept] = -np.inf
    within = plan_filters(SearchFilters.model_validate(filters)).vector
    found = 0
    wanted = min(LIMIT, int(kept.sum()))
    with ThreadPoolExecutor(4) as pool:
        retrieval = Retrieval(catalogue.index, ExactSides(catalogue.sessions), pool)
        for query, scores in zip(queries, exact, strict=True):
            vectors = QueryVectors(query[None], query[None])
            aim = Aim(catalogue.serving, "text", vectors, within, share, written.calibration)
            got = retrieval.candidates(aim, DEPTH, LIMIT, None).fused.products[:LIMIT]
            found += len(set(written.numbers[np.argsort(-scores)[:wanted]]) & set(got))
    assert found / (wanted * len(queries)) >= 0.99
