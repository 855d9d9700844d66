"""VectorIndex: the one door to Milvus; it and the ``milvus_`` files below it are the only importers of pymilvus.

A collection holds unit vectors, one row per image or caption, with the scalars that filters need. Milvus Lite and a
real server differ in two things that are hidden here:

- Lite walks all rows in Python, so its index is FLAT (exact at any filter) and is kept flushed; a server gets HNSW,
  its ``ef`` raised when a filter is selective, and its segments sealed before they are searched roughly
  (``milvus_schema.py``).
- Lite evaluates array expressions row by row, so tags are text on Lite and an array on a server (``vectors.py``).

What Milvus calls ``distance`` is the inner product of unit vectors: it leaves this file as ``score``, larger is better.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
from pymilvus.exceptions import MilvusException

from backend.milvus_collections import Collections
from backend.milvus_connection import READ_S, WRITE_S, CollectionMissing, IndexUnavailable
from backend.milvus_schema import EXACT_ROWS, search_params
from backend.vectors import Found, VectorFilter, VectorHit, VectorRejected, VectorRow, Vectors, row_of, stored

__all__ = [
    "CollectionMissing",
    "IndexUnavailable",
    "VectorFilter",
    "VectorHit",
    "VectorIndex",
    "VectorRejected",
    "VectorRow",
]

MAX_LIMIT = 16_384
"""Most hits that Milvus gives for one query."""
LITE_VECTORS = 20_000
"""Vectors that Milvus Lite serves well; a server is for more."""

_ROWS_A_CALL = 1_000
_LITE_FLUSH_AFTER = 128  # 500 unflushed rows double a search's time, and a flush takes some 30 ms
_SERVER_FLUSH_AFTER = EXACT_ROWS // 2  # counted by each process, and two may write in turn
_FRESH = {"consistency_level": "Strong"}  # audits ask what is there now, not what was there half a second ago


class VectorIndex(Collections):
    """Collections of vectors on one Milvus. Safe to share between threads.

    Writers of one collection must be serialised across processes by the caller (Milvus Lite asks for it); within a
    process a lock does it. A call on a dead server fails with ``IndexUnavailable``; the next one connects again.
    """

    def upsert(self, name: str, rows: Sequence[VectorRow], *, bulk: bool = False) -> None:
        """Write ``rows``; of rows with one key the last counts. Writing the same rows again changes nothing.

        Args:
            name: the collection.
            rows: what to write.
            bulk: whether this fills a collection that nobody searches yet: nothing is done for searches on the way.
                Call ``flush`` at the end.

        Raises:
            VectorRejected: a vector is not finite or has the wrong length, or a row has too many tags.
        """
        self._put("upsert", name, rows, bulk=bulk)

    def insert(self, name: str, rows: Sequence[VectorRow], *, bulk: bool = False) -> None:
        """Write ``rows``, none of whose keys is in the collection: a server spends a third less on it than on upserts.

        Args:
            name: the collection.
            rows: what to write.
            bulk: as of ``upsert``.

        Raises:
            VectorRejected: as of ``upsert``.
        """
        # Lite looks the keys up in no time, and forgives a caller who was wrong
        self._put("upsert" if self._milvus.is_lite else "insert", name, rows, bulk=bulk)

    def _put(self, method: str, name: str, rows: Sequence[VectorRow], *, bulk: bool) -> None:
        latest = {row.key: row for row in rows}
        if not latest:
            return
        collection, lite = self._collection(name), self._milvus.is_lite
        entities = [stored(row, collection.dim, lite=lite) for row in latest.values()]
        with self._writer_of(name):
            for batch in _batches(entities):
                if method == "insert":
                    self._milvus.insert(name, batch)
                else:
                    self._milvus.ask(method, name, batch, timeout=WRITE_S)
            collection.unflushed += len(entities)
            if not bulk and collection.unflushed >= (_LITE_FLUSH_AFTER if lite else _SERVER_FLUSH_AFTER):
                self._flush(name)

    def delete_keys(self, name: str, keys: Sequence[int]) -> None:
        """Delete the rows of ``keys``; keys that are not there are no error."""
        with self._writer_of(name):
            for batch in _batches([int(key) for key in keys]):
                self._milvus.ask("delete", name, ids=batch, timeout=WRITE_S)

    def search(
        self,
        name: str,
        vectors: Vectors,
        limit: int,
        filter: VectorFilter | None = None,  # noqa: A002
        selectivity: float = 1.0,
        *,
        fresh: bool = False,
    ) -> list[list[VectorHit]]:
        """Hits of each row of ``vectors`` ((n, d), unit rows), best first.

        Args:
            name: the collection.
            vectors: one row per query.
            limit: most hits a query; above ``MAX_LIMIT`` it is cut.
            filter: what a hit must satisfy.
            selectivity: estimated share of rows that pass ``filter``; a server looks further when it is small.
            fresh: whether every write that has returned, anywhere, must count. Without it a server may take half a
                second to show a write; with it a search on a server takes up to 400 ms. Lite is always fresh.

        Raises:
            VectorRejected: the vectors have the wrong length or are not finite, or a price bound is no number.
        """
        return [found.hits() for found in self.find(name, vectors, limit, filter, selectivity, fresh=fresh)]

    def find(
        self,
        name: str,
        vectors: Vectors,
        limit: int,
        filter: VectorFilter | None = None,  # noqa: A002
        selectivity: float = 1.0,
        *,
        fresh: bool = False,
    ) -> list[Found]:
        """What ``search`` gives, as arrays: for hundreds of hits the quicker way."""
        limit = min(limit, MAX_LIMIT)
        self._check_queries(name, vectors)
        if limit <= 0 or len(vectors) == 0 or (filter is not None and filter.excludes_all):
            return [Found.nothing() for _ in range(len(vectors))]
        lite = self._milvus.is_lite
        return self._milvus.search(
            name,
            vectors,
            limit=limit,
            expression=filter.expression(lite=lite) if filter is not None else "",
            params=json.dumps(search_params(limit, selectivity, lite=lite)),
            fresh=fresh,
            timeout_s=READ_S,
        )

    def _check_queries(self, name: str, vectors: Vectors) -> None:
        dim = self._collection(name).dim
        if vectors.ndim == 2 and vectors.shape[1] != dim:
            self._known.pop(name, None)  # an alias may point elsewhere by now, or another process made it anew
            dim = self._collection(name).dim
        if vectors.ndim != 2 or vectors.shape[1] != dim or not np.isfinite(vectors).all():
            raise VectorRejected("Query vectors do not fit.", found=str(vectors.shape), expected=f"(n, {dim}), finite")

    def count(self, name: str) -> int:
        """Number of rows."""
        return int(self._query(name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def keys(self, name: str) -> set[int]:
        """Keys of all rows, for audits."""
        self.count(name)  # an iterator does not wait for the last writes to arrive; a strong question before it does
        pages = self._milvus.ask("query_iterator", name, filter="", output_fields=["key"], batch_size=MAX_LIMIT)
        found: set[int] = set()
        try:
            while page := pages.next():
                found.update(int(entity["key"]) for entity in page)
            pages.close()
        except (MilvusException, grpc.RpcError) as error:
            raise self._milvus.failure(self._milvus.client(), error) from error
        return found

    def fetch(self, name: str, keys: Sequence[int]) -> dict[int, VectorRow]:
        """The rows of ``keys`` as the index holds them, for audits and tests."""
        found: list[dict[str, Any]] = []
        for batch in _batches([int(key) for key in keys]):
            found += self._query(name, filter=f"key in {batch}", output_fields=["*"])
        return {int(entity["key"]): row_of(entity) for entity in found}

    def _query(self, name: str, **arguments: Any) -> list[dict[str, Any]]:
        return list(self._milvus.ask("query", name, timeout=WRITE_S, **_FRESH, **arguments))


def _batches(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _ROWS_A_CALL):
        yield values[start : start + _ROWS_A_CALL]
