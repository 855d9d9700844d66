"""Secrets of units over time: replaced once a retention period, kept until the rows hashed under them are gone."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.events.models import BotUnit, UnitKey
from backend.events.units import UnitHasher, load_unit_hasher

READ_AGAIN_S = 60.0
"""Seconds for which a process goes on with the secrets it knows."""

MARGIN = timedelta(days=2)
"""Rows of a key's last day are dropped this long after retention at the latest: days are dropped whole."""


class HasherHolder:
    """The installation's secrets as this process knows them. Safe to share between threads.

    Args:
        sessions: PostgreSQL.
        clock: seconds that only grow.
    """

    def __init__(self, sessions: sessionmaker[Session], clock: Callable[[], float] = time.monotonic) -> None:
        self._sessions = sessions
        self._clock = clock
        self._known: tuple[float, UnitHasher] | None = None

    @property
    def current(self) -> UnitHasher:
        """The secrets, read at most ``READ_AGAIN_S`` ago."""
        known, now = self._known, self._clock()
        if known is None or now - known[0] >= READ_AGAIN_S:
            with session_scope(self._sessions) as session:
                known = self._known = now, load_unit_hasher(session)
        return known[1]


def renew_unit_keys(session: Session, retention_days: int, now: datetime | None = None) -> list[int]:
    """Bring a new key into use where the newest has been for ``retention_days``; the ids of keys that are gone for it.

    A key goes when no row is left that was hashed under it; with it goes what is known of such units.
    """
    now, period = now or datetime.now(UTC), timedelta(days=retention_days)
    keys = session.execute(select(UnitKey.id, UnitKey.created_at).order_by(UnitKey.id.desc())).all()
    if keys and keys[0].created_at < now - period:
        # a sweep at the same moment finds the same newest key, and makes the same next one: one of them wins
        values = {"id": keys[0].id + 1, "secret": secrets.token_bytes(32), "created_at": now}
        session.execute(insert(UnitKey).values(values).on_conflict_do_nothing())
    gone = [older.id for newer, older in pairwise(keys) if newer.created_at < now - period - MARGIN]
    for key_id in gone:
        session.execute(delete(BotUnit).where(BotUnit.unit.startswith(f"{key_id}:")))
    session.execute(delete(UnitKey).where(UnitKey.id.in_(gone)))
    return gone
