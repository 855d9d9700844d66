"""Of the exact hits a Milvus server finds 0.99 at any filter: while rows arrive, and when its indexes are finished."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.vector_index import VectorFilter, VectorIndex, VectorRow

DIM, ROWS, STEP = 128, 14_000, 500
SHARES = (1, 2, 4, 10, 20, 100)
"""Every how manieth row carries the tag of this number."""
PATIENCE_S = 180.0


def clustered(random: np.random.Generator) -> NDArray[np.float32]:
    """Unit rows in heaps of 50, as kinds of things lie."""
    centres = random.normal(size=(ROWS // 50, DIM))
    rows = centres[random.integers(0, len(centres), ROWS)] + 0.7 * random.normal(size=(ROWS, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def row_of(key: int, vector: NDArray[np.float32]) -> VectorRow:
    tags = tuple(share for share in SHARES if key % share == 0)
    return VectorRow(key=key, product=key, vector=vector, in_stock=True, price=None, tags=tags)


def recall(index: VectorIndex, name: str, vectors: NDArray[np.float32], share: int, limit: int) -> float:
    """Share of the exact first ``limit`` among every ``share``-th of ``vectors`` that a search finds."""
    random = np.random.default_rng(3)
    queries = vectors[random.integers(0, len(vectors), 30)] + random.normal(scale=0.07, size=(30, DIM))
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    passing = np.arange(0, len(vectors), share)
    within = VectorFilter(any_tags=((share,),)) if share > 1 else None
    found = wanted = 0
    for query, hits in zip(queries, index.search(name, queries, limit, within, 1 / share, fresh=True), strict=True):
        exact = passing[np.argsort(-(vectors[passing] @ query))[:limit]]
        found += len(set(exact.tolist()) & {hit.key for hit in hits})
        wanted += len(exact)
    return found / wanted


def assert_recall(index: VectorIndex, name: str, vectors: NDArray[np.float32], when: str) -> None:
    for share in SHARES:
        for limit in (24, 200):
            found = recall(index, name, vectors, share, limit)
            assert found >= 0.99, f"{when}, {limit} of every {share}th: {found:.3f}"


@pytest.mark.parametrize("bulk", [False, True])
def test_a_filtered_search_finds_what_is_there(server_uri: str, bulk: bool) -> None:
    index, name = VectorIndex(server_uri), "server_recall"
    vectors = clustered(np.random.default_rng(0))
    index.create_collection(name, DIM)
    try:
        for start in range(0, ROWS, STEP):
            index.upsert(name, [row_of(k, vectors[k]) for k in range(start, start + STEP)], bulk=bulk)
        if not bulk:
            assert_recall(index, name, vectors, "while rows arrive")
        index.flush(name)
        deadline = time.monotonic() + PATIENCE_S
        while not index.is_finished(name):
            assert time.monotonic() < deadline, "the server does not finish its index"
            time.sleep(0.5)
        assert_recall(index, name, vectors, "finished")
        assert index.count(name) == ROWS
    finally:
        index.drop_collection(name)
