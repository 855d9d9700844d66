"""VectorIndex: the one door to Milvus, and the only importer of pymilvus.

A collection holds unit vectors, one row per image or caption, with the scalars that filters need. Milvus Lite and a
real server differ in two things that this file hides:

- Lite walks all rows in Python, so its index is FLAT (exact at any filter); a server gets HNSW, its ``ef`` raised when
  a filter is selective.
- Lite evaluates array expressions row by row, so tags are text on Lite and an array on a server (``vectors.py``).

What Milvus calls ``distance`` is the inner product of unit vectors: it leaves this file as ``score``, larger is better.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from backend.errors import Conflict, Unavailable
from backend.vectors import MAX_TAGS, VectorFilter, VectorHit, VectorRejected, VectorRow, Vectors, row_of, stored

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # every failure it would log is raised from here as well

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
_FLUSH_AFTER = 128  # unflushed rows on Lite: 500 double a search's time, and a flush takes some 30 ms
_NOT_LOADED, _NO_COLLECTION, _NO_CONNECTION = 101, 100, 2
_CONNECT_S, _READ_S, _WRITE_S = 5.0, 10.0, 60.0

_QUIET = {"grpc.keepalive_permit_without_calls": 0, "grpc.keepalive_time_ms": 330_000}
"""pymilvus pings an idle connection every 10 s; gRPC servers allow one in 5 minutes and, after a few, hang up on the
next call («too_many_pings»)."""


class IndexUnavailable(Unavailable):
    """Milvus does not answer, or refuses."""

    title = "Vector index unavailable"


class CollectionMissing(IndexUnavailable):
    """The collection asked for is not there; it can be rebuilt from PostgreSQL."""


@dataclass
class _Collection:
    """What this process knows about one collection."""

    dim: int
    unflushed: int = field(default=0)


class VectorIndex:
    """Collections of vectors on one Milvus. Safe to share between threads.

    Writers of one collection must be serialised across processes by the caller (Milvus Lite asks for it); within a
    process a lock does it. A call on a dead server fails with ``IndexUnavailable``; the next one connects again.
    """

    def __init__(self, uri: str, token: str | None = None) -> None:
        self._uri = uri
        self._token = token or ""
        self._client: MilvusClient | None = None
        self._lite = False
        self._connecting = threading.Lock()
        self._writing = threading.Lock()
        self._known: dict[str, _Collection] = {}

    def create_collection(self, name: str, dim: int) -> None:
        """Create ``name`` for vectors of ``dim`` numbers and load it; nothing happens when it is there already.

        Raises:
            Conflict: it is there with vectors of another length.
        """
        if self.has_collection(name):
            self._known.pop(name, None)
            found = self._collection(name).dim
            if found != dim:
                raise Conflict(f"Collection {name} holds vectors of another length.", found=found, expected=dim)
            return
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("product", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field("in_stock", DataType.BOOL)
        schema.add_field("price", DataType.DOUBLE)
        index = MilvusClient.prepare_index_params()
        if self._lite:
            schema.add_field("tags", DataType.VARCHAR, max_length=65_535)
            index.add_index("vector", index_type="FLAT", metric_type="IP")
        else:
            schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=MAX_TAGS)
            index.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 16, "efConstruction": 200})
        with self._writing:
            # a bounded read sees a write within seconds; a strong one would cost 200 ms a search
            self._ask("create_collection", name, schema=schema, index_params=index, consistency_level="Bounded")
        self._known[name] = _Collection(dim)

    def drop_collection(self, name: str) -> None:
        """Drop ``name`` if it is there."""
        with self._writing:
            self._known.pop(name, None)
            if self.has_collection(name):
                self._ask("drop_collection", name, timeout=_WRITE_S)

    def has_collection(self, name: str) -> bool:
        """Whether ``name`` exists."""
        return bool(self._ask("has_collection", name, timeout=_READ_S))

    def collections(self) -> set[str]:
        """Names of all collections."""
        return set(self._ask("list_collections", timeout=_READ_S))

    def upsert(self, name: str, rows: Sequence[VectorRow]) -> None:
        """Write ``rows``; of rows with one key the last counts. Writing the same rows again changes nothing.

        Raises:
            VectorRejected: a vector is not finite or has the wrong length, or a row has too many tags.
        """
        latest = {row.key: row for row in rows}
        if not latest:
            return
        collection = self._collection(name)
        entities = [stored(row, collection.dim, lite=self._lite) for row in latest.values()]
        with self._writing:
            for batch in _batches(entities):
                self._ask("upsert", name, batch, timeout=_WRITE_S)
            collection.unflushed += len(entities)
            if collection.unflushed >= _FLUSH_AFTER:
                self._flush(name)

    def delete_keys(self, name: str, keys: Sequence[int]) -> None:
        """Delete the rows of ``keys``; keys that are not there are no error."""
        with self._writing:
            for batch in _batches([int(key) for key in keys]):
                self._ask("delete", name, ids=batch, timeout=_WRITE_S)

    def flush(self, name: str) -> None:
        """Make what was written quick to scan. A server does that by itself and limits how often it may be asked."""
        with self._writing:
            self._flush(name)

    def _flush(self, name: str) -> None:
        collection = self._collection(name)
        if self._lite:
            self._ask("flush", name, timeout=_WRITE_S)
        collection.unflushed = 0

    def search(
        self,
        name: str,
        vectors: Vectors,
        limit: int,
        filter: VectorFilter | None = None,  # noqa: A002
        selectivity: float = 1.0,
    ) -> list[list[VectorHit]]:
        """Hits of each row of ``vectors`` ((n, d), unit rows), best first.

        Args:
            name: the collection.
            vectors: one row per query.
            limit: most hits a query; above ``MAX_LIMIT`` it is cut.
            filter: what a hit must satisfy.
            selectivity: estimated share of rows that pass ``filter``; a server looks further when it is small.
        """
        limit = min(limit, MAX_LIMIT)
        dim = self._collection(name).dim
        if vectors.ndim != 2 or vectors.shape[1] != dim or not np.isfinite(vectors).all():
            raise VectorRejected("Query vectors do not fit.", found=str(vectors.shape), expected=f"(n, {dim}), finite")
        if limit <= 0 or len(vectors) == 0 or (filter is not None and filter.excludes_all):
            return [[] for _ in range(len(vectors))]
        answers = self._ask(
            "search",
            name,
            data=list(np.ascontiguousarray(vectors, dtype=np.float32)),
            limit=limit,
            filter=filter.expression(lite=self._lite) if filter is not None else "",
            output_fields=["product"],  # without it everything comes back, vectors too
            search_params={"metric_type": "IP", "params": {} if self._lite else {"ef": _ef(limit, selectivity)}},
            timeout=_READ_S,
        )
        return [
            [VectorHit(int(hit.id), int(hit["entity"]["product"]), float(hit.distance)) for hit in hits]
            for hits in answers
        ]

    def count(self, name: str) -> int:
        """Number of rows."""
        return int(self._query(name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def keys(self, name: str) -> set[int]:
        """Keys of all rows, for audits."""
        pages = self._ask("query_iterator", name, filter="", output_fields=["key"], batch_size=MAX_LIMIT)
        found: set[int] = set()
        try:
            while page := pages.next():
                found.update(int(entity["key"]) for entity in page)
            pages.close()
        except (MilvusException, grpc.RpcError) as error:
            raise self._failure(self._connected(), error) from error
        return found

    def fetch(self, name: str, keys: Sequence[int]) -> dict[int, VectorRow]:
        """The rows of ``keys`` as the index holds them, for audits and tests."""
        found: list[dict[str, Any]] = []
        for batch in _batches([int(key) for key in keys]):
            found += self._query(name, filter=f"key in {batch}", output_fields=["*"])
        return {int(entity["key"]): row_of(entity) for entity in found}

    def _query(self, name: str, **arguments: Any) -> list[dict[str, Any]]:
        # audits ask what is there now: bounded staleness would answer what was there seconds ago
        return list(self._ask("query", name, consistency_level="Strong", timeout=_WRITE_S, **arguments))

    def healthy(self) -> bool:
        """Whether Milvus answers now."""
        try:
            self._ask("list_collections", timeout=2.0)
        except IndexUnavailable:
            return False
        return True

    def is_lite(self) -> bool:
        """Whether this is Milvus Lite, which serves ``LITE_VECTORS`` well and no more."""
        self._connected()
        return self._lite

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Answer of the client's ``method``. What a restarted Milvus has not loaded is loaded, and asked again."""
        client = self._connected()
        try:
            try:
                return getattr(client, method)(*arguments, **options)
            except MilvusException as error:
                if error.code != _NOT_LOADED or not arguments:
                    raise
                client.load_collection(arguments[0], timeout=_WRITE_S)
                return getattr(client, method)(*arguments, **options)
        except (MilvusException, grpc.RpcError) as error:
            raise self._failure(client, error) from error

    def _failure(self, client: MilvusClient, error: Exception) -> IndexUnavailable:
        """What ``error`` means here. A connection that failed is given up, so that the next call makes a new one."""
        if isinstance(error, MilvusException) and error.code == _NO_COLLECTION:
            return CollectionMissing(f"Milvus says: {error.message}")
        if isinstance(error, grpc.RpcError) or getattr(error, "code", None) == _NO_CONNECTION:
            with self._connecting:
                if self._client is client:
                    self._client = None
            return IndexUnavailable(f"Milvus at {self._uri} does not answer.")
        return IndexUnavailable(f"Milvus refused: {getattr(error, 'message', error)}")

    def _connected(self) -> MilvusClient:
        client = self._client
        if client is not None:
            return client
        with self._connecting:
            if self._client is None:
                try:
                    # shared clients are cached by address and may sit on a dead server: this one is our own, and probed
                    client = MilvusClient(
                        self._uri, token=self._token, timeout=_CONNECT_S, dedicated=True, grpc_options=_QUIET
                    )
                    client.list_collections(timeout=_CONNECT_S)
                    self._lite = "lite" in client.get_server_version(timeout=_CONNECT_S).lower()
                except (MilvusException, grpc.RpcError) as error:
                    raise IndexUnavailable(f"Milvus at {self._uri} does not answer.") from error
                self._client = client
            return self._client

    def _collection(self, name: str) -> _Collection:
        if name not in self._known:
            described = self._ask("describe_collection", name, timeout=_READ_S)
            dim = next(int(part["params"]["dim"]) for part in described["fields"] if part["name"] == "vector")
            self._known[name] = _Collection(dim)
        return self._known[name]


def _batches(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _ROWS_A_CALL):
        yield values[start : start + _ROWS_A_CALL]


def _ef(limit: int, selectivity: float) -> int:
    """Breadth of an HNSW search: Milvus wants it at least ``limit``; a filter that few rows pass asks for more."""
    return max(limit, min(4_096, round(max(128, 2 * limit) / max(selectivity, 0.01))))
