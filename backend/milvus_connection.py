"""The connection to a Milvus: asked by method name, made again when it was lost, its failures put in our words."""

import logging
import threading
from collections.abc import Sequence
from typing import Any

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from backend.errors import Unavailable
from backend.milvus_insert import InsertCall
from backend.milvus_search import SearchCall
from backend.vectors import Found, Vectors

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # every failure it would log is raised from here as well

READ_S, WRITE_S = 10.0, 60.0
"""Seconds that a question and a change may take."""

_CONNECT_S = 5.0
_NO_CONNECTION, _TOO_OFTEN, _NO_COLLECTION, _NO_ALIAS = 2, 8, 100, 1600
_NOT_LOADED = {101, 103}
"""Not asked to load, and still loading: a server that was started again says both in turn."""

_QUIET = {"grpc.keepalive_permit_without_calls": 0, "grpc.keepalive_time_ms": 330_000}
"""pymilvus pings an idle connection every 10 s; gRPC servers allow one in 5 minutes and, after a few, hang up on the
next call («too_many_pings»)."""


class IndexUnavailable(Unavailable):
    """Milvus does not answer, or refuses."""

    title = "Vector index unavailable"


class CollectionMissing(IndexUnavailable):
    """The collection asked for is not there; it can be rebuilt from PostgreSQL."""


class FlushedTooOften(IndexUnavailable):
    """A server limits how often it may be asked to seal what was written."""


class MilvusConnection:
    """One client of the Milvus at ``uri``, shared by threads.

    A call on a dead server fails with ``IndexUnavailable``; the next one connects again.
    """

    def __init__(self, uri: str, token: str | None = None) -> None:
        self._uri = uri
        self._token = token or ""
        self._client: MilvusClient | None = None
        self._search: tuple[MilvusClient, SearchCall] | None = None
        self._lite = False
        self._connecting = threading.Lock()

    @property
    def is_lite(self) -> bool:
        """Whether the other end is Milvus Lite. Connects first where that has not happened."""
        self.client()
        return self._lite

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Answer of the client's ``method``. What a restarted Milvus has not loaded is loaded, and asked again."""
        client = self.client()
        try:
            try:
                return getattr(client, method)(*arguments, **options)
            except MilvusException as error:
                if error.code not in _NOT_LOADED or not arguments:
                    raise
                client.load_collection(arguments[0], timeout=WRITE_S)
                return getattr(client, method)(*arguments, **options)
        except (MilvusException, grpc.RpcError) as error:
            raise self.failure(client, error) from error

    def search(self, name: str, vectors: Vectors, **options: Any) -> list[Found]:
        """Hits of each row of ``vectors``, as :class:`SearchCall` gives them. A lost connection is made again once."""
        for attempt in (1, 2):
            client = self.client()
            try:
                return self._searched(client, name, vectors, options)
            except MilvusException as error:
                raise self.failure(client, error) from error
            except grpc.RpcError as error:
                failure = self.failure(client, error)
                # what a broken connection cut off was not answered, and reading it twice does no harm
                if attempt == 2 or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise failure from error
        raise AssertionError("the second attempt answers or raises")

    def insert(self, name: str, entities: Sequence[dict[str, Any]]) -> None:
        """Insert ``entities`` into ``name`` of a server, as :class:`InsertCall` does."""
        client = self.client()
        try:
            InsertCall(client, self._token)(name, entities, timeout_s=WRITE_S)
        except (MilvusException, grpc.RpcError) as error:
            raise self.failure(client, error) from error

    def _searched(self, client: MilvusClient, name: str, vectors: Vectors, options: dict[str, Any]) -> list[Found]:
        held = self._search
        if held is None or held[0] is not client:
            held = self._search = (client, SearchCall(client, self._token))
        try:
            return held[1](name, vectors, **options)
        except MilvusException as error:
            if error.code not in _NOT_LOADED:
                raise
            client.load_collection(name, timeout=READ_S)
            return held[1](name, vectors, **options)

    def failure(self, client: MilvusClient, error: Exception) -> IndexUnavailable:
        """What ``error`` means here. A connection that failed is given up, so that the next call makes a new one."""
        if isinstance(error, MilvusException) and error.code in {_NO_COLLECTION, _NO_ALIAS}:
            return CollectionMissing(f"Milvus says: {error.message}")
        if isinstance(error, grpc.RpcError) or getattr(error, "code", None) == _NO_CONNECTION:
            with self._connecting:
                if self._client is client:
                    self._client = None
            return IndexUnavailable(f"Milvus at {self._uri} does not answer.")
        kind = FlushedTooOften if getattr(error, "code", None) == _TOO_OFTEN else IndexUnavailable
        return kind(f"Milvus refused: {getattr(error, 'message', error)}")

    def client(self) -> MilvusClient:
        """The client, connected.

        Raises:
            IndexUnavailable: Milvus does not answer.
        """
        client = self._client
        if client is not None:
            return client
        with self._connecting:
            if self._client is None:
                try:
                    self._client = self._connect()
                except (MilvusException, grpc.RpcError) as error:
                    raise IndexUnavailable(f"Milvus at {self._uri} does not answer.") from error
            return self._client

    def _connect(self) -> MilvusClient:
        # shared clients are cached by address and may sit on a dead server: this one is our own, and probed
        client = MilvusClient(self._uri, token=self._token, timeout=_CONNECT_S, dedicated=True, grpc_options=_QUIET)
        client.list_collections(timeout=_CONNECT_S)
        # not «contains lite»: the server of the PyPI package `milvus` calls itself v2.3.5-lite
        self._lite = client.get_server_version(timeout=_CONNECT_S).startswith("milvus_lite")
        return client
