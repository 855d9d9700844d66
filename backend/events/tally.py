"""How many events had which verdict: counted in each process, added to PostgreSQL every second."""

import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.events.models import EventCount
from backend.logs import get_logger
from backend.metrics import EVENTS

log = get_logger(__name__)

Counts = Counter[tuple[str, str, str]]
"""(source, status, code) -> how many."""

FLUSH_EVERY_S = 1.0


class EventTally:
    """Counts verdicts by hour, status and code.

    Not in the transaction that keeps the events: every batch of an hour would wait for the same row, each for the
    disk of the one before. A process that is killed loses the counts, never the events, of its last second.
    """

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        self._counted: Counter[tuple[datetime, str, str]] = Counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._flush_always, name="event-tally", daemon=True)

    def __enter__(self) -> Self:
        """Begin to add up."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left."""
        self._stopping.set()
        self._thread.join()
        self.flush()

    def add(self, counts: Counts) -> None:
        """Count the verdicts of one request."""
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        with self._lock:
            for (source, status, code), n in counts.items():
                EVENTS.labels(source, status, code).inc(n)
                self._counted[hour, status, code] += n

    def flush(self) -> None:
        """Write what was counted since the last time; what cannot be written now is tried again."""
        with self._lock:
            counted, self._counted = self._counted, Counter()
        if not counted:
            return
        try:
            with session_scope(self._sessions) as session:
                add_counts(session, counted)
        except SQLAlchemyError as error:
            log.warning("event_counts_wait", error=str(error).partition("\n")[0])
            with self._lock:
                self._counted.update(counted)

    def _flush_always(self) -> None:
        while not self._stopping.wait(FLUSH_EVERY_S):
            self.flush()


def add_counts(session: Session, counted: Counter[tuple[datetime, str, str]]) -> None:
    """Add to the counts that are kept, always in the same order: processes that add at once wait and do not lock."""
    rows: list[dict[str, Any]] = [
        {"hour": hour, "status": status, "code": code, "n": n} for (hour, status, code), n in sorted(counted.items())
    ]
    statement = insert(EventCount).values(rows)
    summed = {"n": EventCount.n + statement.excluded.n}
    session.execute(statement.on_conflict_do_update(index_elements=["hour", "status", "code"], set_=summed))
