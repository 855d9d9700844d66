"""The collections of one Milvus: made, named, sealed, dropped."""

import threading
from dataclasses import dataclass, field

from backend.errors import Conflict
from backend.milvus_connection import (
    READ_S,
    WRITE_S,
    CollectionMissing,
    FlushedTooOften,
    IndexUnavailable,
    MilvusConnection,
)
from backend.milvus_schema import all_finished, index_params, schema


@dataclass
class _Collection:
    """What this process knows about one collection."""

    dim: int
    unflushed: int = field(default=0)
    writing: threading.Lock = field(default_factory=threading.Lock)


class Collections:
    """What can be done with whole collections. Safe to share between threads."""

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
        lite = self._milvus.is_lite
        with self._writing:
            # a bounded read sees a write within half a second; a strong one costs up to 400 ms a search
            self._milvus.ask(
                "create_collection",
                name,
                schema=schema(dim, lite=lite),
                consistency_level="Bounded",
                timeout=WRITE_S,
            )
        self._index(name)
        self._known[name] = _Collection(dim)

    def _index(self, name: str) -> None:
        """Give ``name`` its index where it has none, and have it loaded; neither is waited for."""
        with self._writing:
            if not self._milvus.ask("list_indexes", name, timeout=READ_S):
                index = index_params(lite=self._milvus.is_lite)
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

    def flush(self, name: str) -> None:
        """Make what was written quick to search. A server goes on with it in the background: see ``is_finished``."""
        with self._writer_of(name):
            self._flush(name)

    def _writer_of(self, name: str) -> threading.Lock:
        """What a writer of ``name`` holds: a server takes rows of several collections at a time, Lite does not."""
        return self._writing if self._milvus.is_lite else self._collection(name).writing

    def _flush(self, name: str) -> None:
        lite = self._milvus.is_lite
        try:
            self._milvus.ask("flush", name, timeout=WRITE_S, _async=not lite, retry_on_rate_limit=False)
        except FlushedTooOften:
            return  # the rows are written; the next write asks again
        self._collection(name).unflushed = 0

    def is_finished(self, name: str) -> bool:
        """Whether searches go through finished indexes, so that recall is what it will be; Lite's is always so.

        On a server it is some 20 seconds after ``flush``, and while rows are written it may be so only at times.
        """
        if self._milvus.is_lite:
            return True
        stored_segments = self._milvus.ask("list_persistent_segments", name, timeout=READ_S)
        return all_finished(stored_segments, self._milvus.ask("list_loaded_segments", name, timeout=READ_S))

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
