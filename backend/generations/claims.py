"""Workers share the embedding between them: each subject is claimed by one, until its features are committed.

A claim is an advisory lock of a connection of its own: it ends with the worker, however that ends, and holds no row.
Locks are few (PostgreSQL keeps some 6,400 by default for all): a worker claims batch by batch.
"""

import math
import time
from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from itertools import islice
from typing import Self

from sqlalchemy import Connection, Engine, text

from backend.generations.due import Kind, Subject

OLDEST_LIST_S = 60.0
"""A list of what is due is used no longer than this."""

_TRY = text("SELECT k FROM unnest(CAST(:keys AS bigint[])) AS keys(k) WHERE pg_try_advisory_lock(k)")
_RELEASE = text("SELECT pg_advisory_unlock(k) FROM unnest(CAST(:keys AS bigint[])) AS keys(k)")


class Claims:
    """Claims of one worker. Used by one thread, but for :meth:`done`, which any thread may call."""

    def __init__(self, engine: Engine, encoder_id: str) -> None:
        self._engine = engine
        self._encoder_id = encoder_id
        self._connection: Connection | None = None
        self._held: set[int] = set()
        self._done: deque[tuple[int, float]] = deque()
        self._ended_at: dict[int, float] = {}

    def __enter__(self) -> Self:
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            # back in the pool the connection would keep its locks: it is closed for good
            self._connection.invalidate()
            self._connection.close()

    def take(self, kind: Kind, subjects: Sequence[Subject], limit: int, listed_at: float) -> list[Subject]:
        """Up to ``limit`` of ``subjects`` that nobody has claimed; they are ours until :meth:`done`.

        Args:
            kind: of the subjects.
            subjects: what was found to be due.
            limit: most of them to claim.
            listed_at: when they began to be looked for (``time.monotonic``): what was done since is not due any more.
        """
        self._release()
        # a lock that is ours already would be granted again, and would then have to be released twice
        free = {
            key: subject
            for subject in subjects
            if (key := self._key(kind, subject.key)) not in self._held
            and self._ended_at.get(key, -math.inf) < listed_at
        }
        taken: list[Subject] = []
        offers = iter(free)
        while len(taken) < limit and (keys := list(islice(offers, limit - len(taken)))):
            granted = self._granted(keys)
            self._held.update(granted)
            taken += [free[key] for key in granted]
        return taken

    def done(self, kind: Kind, subjects: Sequence[str]) -> None:
        """The features of ``subjects`` are committed, or they are parked: they are let go at the next :meth:`take`."""
        self._done.extend((self._key(kind, subject), time.monotonic()) for subject in subjects)

    def _granted(self, keys: list[int]) -> list[int]:
        if self._connection is None:
            raise RuntimeError("claims are taken inside `with`")
        return list(self._connection.execute(_TRY, {"keys": keys}).scalars())

    def _release(self) -> None:
        finished = dict(self._done.popleft() for _ in range(len(self._done)))
        if finished and self._connection is not None:
            self._connection.execute(_RELEASE, {"keys": list(finished)})
            self._held.difference_update(finished)
            horizon = time.monotonic() - OLDEST_LIST_S
            self._ended_at = {key: at for key, at in self._ended_at.items() if at > horizon} | finished

    def _key(self, kind: Kind, subject: str) -> int:
        digest = sha256(f"{self._encoder_id}/{kind}/{subject}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)
