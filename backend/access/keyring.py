"""The live keys as one API process knows them: read together, read again every few seconds."""

import asyncio
import hmac
import time
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from backend.access.callers import Caller, Scope
from backend.access.keys import hash_of
from backend.access.models import ApiKey
from backend.errors import Unavailable

MAX_AGE_S = 3.0
"""A revoked key is refused by every process after this many seconds."""

UNKNOWN_KEY_AGE_S = 0.25
"""A key nobody knows may be a new one: the keys are read again for it, but not more often than this."""


@dataclass(frozen=True)
class _Snapshot:
    callers: dict[str, tuple[str, Caller]]
    origins: frozenset[str]
    read_at: float


class Keyring:
    """Finds the caller that a key belongs to. The hash is what is looked up, so timing tells nothing about keys.

    Args:
        sessions: where the keys are.
        default_rate: requests a minute for keys that name no limit of their own.
    """

    def __init__(self, sessions: sessionmaker[Session], *, default_rate: int) -> None:
        self._sessions = sessions
        self._default_rate = default_rate
        self._snapshot = _Snapshot({}, frozenset(), float("-inf"))
        self._reading = asyncio.Lock()

    async def find(self, secret: str) -> Caller | None:
        """The caller of the key ``secret``; None where no live key is that one."""
        digest = hash_of(secret)
        known = (await self._fresh(MAX_AGE_S)).callers.get(digest)
        if known is None:
            known = (await self._fresh(UNKNOWN_KEY_AGE_S)).callers.get(digest)
        return known[1] if known is not None and hmac.compare_digest(known[0], digest) else None

    async def knows_origin(self, origin: str) -> bool:
        """Whether some live storefront key may be used from ``origin``."""
        if origin in (await self._fresh(MAX_AGE_S)).origins:
            return True
        return origin in (await self._fresh(UNKNOWN_KEY_AGE_S)).origins

    async def _fresh(self, max_age_s: float) -> _Snapshot:
        if time.monotonic() - self._snapshot.read_at > max_age_s:
            async with self._reading:
                if time.monotonic() - self._snapshot.read_at > max_age_s:
                    self._snapshot = await run_in_threadpool(self._read)
        return self._snapshot

    def _read(self) -> _Snapshot:
        begun = time.monotonic()
        try:
            with self._sessions() as session:
                rows = session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None))).all()
        except SQLAlchemyError as error:
            raise Unavailable("the database that holds the keys does not answer", component="database") from error
        callers = {row.secret_hash: (row.secret_hash, self._caller(row)) for row in rows}
        return _Snapshot(callers, frozenset(origin for row in rows for origin in row.origins), begun)

    def _caller(self, row: ApiKey) -> Caller:
        rate = row.rate_limit_per_minute
        return Caller(
            scope=Scope(row.scope),
            key_id=row.id,
            name=row.name,
            rate_limit=self._default_rate if rate is None else rate,
            origins=frozenset(row.origins),
        )
