"""VectorIndex: the one door to Milvus; it and its connection are the only importers of pymilvus.

A collection holds unit vectors, one row per image or caption, with the scalars that filters need. Milvus Lite and a
real server differ in two things that this file hides:

- Lite walks all rows in Python, so its index is FLAT (exact at any filter); a server gets HNSW, its ``ef`` raised when
  a filter is selective.
- Lite evaluates array expressions row by row, so tags are text on Lite and an array on a server (``vectors.py``).

What Milvus calls ``distance`` is the inner product of unit vectors: it leaves this file as ``score``, larger is better.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from backend.errors import Conflict
from backend.milvus_connection import READ_S, WRITE_S, CollectionMissing, IndexUnavailable, MilvusConnection
from backend.vectors import (
    MAX_TAGS,
    Found,
    VectorFilter,
    VectorHit,
    VectorRejected,
    VectorRow,
    Vectors,
    row_of,
    stored,
)

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
_FRESH = {"consistency_level": "Strong"}  # audits ask what is there now, not what was there half a second ago


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
        self._milvus = MilvusConnection(uri, token)
        self._writing = threading.Lock()
        self._known: dict[str, _Collection] = {}

    def create_collection(self, name: str, dim: int) -> None:
        """Create ``name`` for vectors of ``dim`` numbers; nothing happens when it is there already.

        A server loads it in the background: a search that comes at once waits for that, some 3 seconds.

        Raises:
            Conflict: it is there with vectors of another length.
        """
        if self.has_collection(name):
            self._known.pop(name, None)
            found = self._collection(name).dim
            if found != dim:
                raise Conflict(f"Collection {name} holds vectors of another length.", found=found, expected=dim)
            self._index(name)  # who made it may have been killed before the index was there
            return
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("product", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field("in_stock", DataType.BOOL)
        schema.add_field("price", DataType.DOUBLE)
        if self._milvus.is_lite:
            schema.add_field("tags", DataType.VARCHAR, max_length=65_535)
        else:
            schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=MAX_TAGS)
        with self._writing:
            # a bounded read sees a write within half a second; a strong one costs up to 400 ms a search
            self._milvus.ask("create_collection", name, schema=schema, consistency_level="Bounded", timeout=WRITE_S)
        self._index(name)
        self._known[name] = _Collection(dim)

    def _index(self, name: str) -> None:
        """Give ``name`` its index where it has none, and have it loaded; neither is waited for."""
        with self._writing:
            if not self._milvus.ask("list_indexes", name, timeout=READ_S):
                index = MilvusClient.prepare_index_params()
                if self._milvus.is_lite:
                    index.add_index("vector", index_type="FLAT", metric_type="IP")
                else:
                    build = {"M": 16, "efConstruction": 200}
                    index.add_index("vector", index_type="HNSW", metric_type="IP", params=build)
                self._milvus.ask("create_index", name, index, timeout=WRITE_S, sync=False)
            self._milvus.ask("load_collection", name, timeout=WRITE_S, _async=True)

    def drop_collection(self, name: str) -> None:
        """Drop ``name`` if it is there, and the aliases that point at it. An alias is no collection: it stays."""
        with self._writing:
            self._known.pop(name, None)
            if name in self.collections():  # has_collection says yes to an alias, and Lite would drop its target
                self._milvus.ask("drop_collection", name, timeout=WRITE_S)

    def has_collection(self, name: str) -> bool:
        """Whether ``name`` exists, as a collection or as an alias of one."""
        return bool(self._milvus.ask("has_collection", name, timeout=READ_S))

    def collections(self) -> set[str]:
        """Names of all collections."""
        return set(self._milvus.ask("list_collections", timeout=READ_S))

    def point_alias(self, alias: str, collection: str) -> None:
        """Make ``alias`` another name of ``collection``, wherever it pointed before; readers see the old or the new.

        Two processes that point one alias at the same time must be kept apart by the caller. Milvus Lite forgets its
        aliases when it restarts.

        Raises:
            Conflict: a collection is called ``alias``.
            CollectionMissing: ``collection`` is not there.
        """
        held = self.collections()
        if alias in held:
            raise Conflict("A collection has this name, so no alias can.", found=alias, expected="another name")
        if collection not in held:
            raise CollectionMissing(f"Milvus has no collection {collection} for the alias {alias}.")
        with self._writing:
            target = self.alias_target(alias)
            if target != collection:
                self._milvus.ask(
                    "create_alias" if target is None else "alter_alias", collection, alias, timeout=WRITE_S
                )
            self._known.pop(alias, None)

    def alias_target(self, alias: str) -> str | None:
        """The collection that ``alias`` points at; None where there is no such alias."""
        try:
            described = self._milvus.ask("describe_alias", alias, timeout=READ_S)
        except CollectionMissing:
            return None
        return str(described["collection_name"])

    def drop_alias(self, alias: str) -> None:
        """Drop ``alias`` if it is there; the collection stays."""
        with self._writing:
            self._known.pop(alias, None)
            if self.alias_target(alias) is not None:
                self._milvus.ask("drop_alias", alias, timeout=WRITE_S)

    def upsert(self, name: str, rows: Sequence[VectorRow]) -> None:
        """Write ``rows``; of rows with one key the last counts. Writing the same rows again changes nothing.

        Raises:
            VectorRejected: a vector is not finite or has the wrong length, or a row has too many tags.
        """
        latest = {row.key: row for row in rows}
        if not latest:
            return
        collection = self._collection(name)
        entities = [stored(row, collection.dim, lite=self._milvus.is_lite) for row in latest.values()]
        with self._writing:
            for batch in _batches(entities):
                self._milvus.ask("upsert", name, batch, timeout=WRITE_S)
            collection.unflushed += len(entities)
            if collection.unflushed >= _FLUSH_AFTER:
                self._flush(name)

    def delete_keys(self, name: str, keys: Sequence[int]) -> None:
        """Delete the rows of ``keys``; keys that are not there are no error."""
        with self._writing:
            for batch in _batches([int(key) for key in keys]):
                self._milvus.ask("delete", name, ids=batch, timeout=WRITE_S)

    def flush(self, name: str) -> None:
        """Make what was written quick to scan. A server does that by itself and limits how often it may be asked."""
        with self._writing:
            self._flush(name)

    def _flush(self, name: str) -> None:
        collection = self._collection(name)
        if self._milvus.is_lite:
            self._milvus.ask("flush", name, timeout=WRITE_S)
        collection.unflushed = 0

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
            params="{}" if lite else f'{{"ef": {_ef(limit, selectivity)}}}',
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

    def healthy(self) -> bool:
        """Whether Milvus answers now."""
        try:
            self._milvus.ask("list_collections", timeout=2.0)
        except IndexUnavailable:
            return False
        return True

    def is_lite(self) -> bool:
        """Whether this is Milvus Lite, which serves ``LITE_VECTORS`` well and no more."""
        return self._milvus.is_lite

    def _collection(self, name: str) -> _Collection:
        if name not in self._known:
            described = self._milvus.ask("describe_collection", name, timeout=READ_S)
            dim = next(int(part["params"]["dim"]) for part in described["fields"] if part["name"] == "vector")
            self._known[name] = _Collection(dim)
        return self._known[name]


def _batches(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _ROWS_A_CALL):
        yield values[start : start + _ROWS_A_CALL]


def _ef(limit: int, selectivity: float) -> int:
    """Breadth of an HNSW search: Milvus wants it at least ``limit``; a filter that few rows pass asks for more."""
    return max(limit, min(4_096, round(max(128, 2 * limit) / max(selectivity, 0.01))))
