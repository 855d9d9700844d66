"""SQL of events: written once each, whoever sends them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import orjson
from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.orm import Session

from backend.events.models import EventId
from backend.prepared import prepared

Source = Literal["client", "refine"]


@dataclass(frozen=True)
class NewEvent:
    """An event as it is kept. ``shopper_id`` and ``session_id`` are hashes; without ``occurred_at`` it is now."""

    message_id: str
    type: str
    query_id: str | None
    product_id: str | None
    shopper_id: str | None = None
    session_id: str | None = None
    value: float | None = None
    dwell_ms: int | None = None
    image: int | None = None
    box: Sequence[float] | None = None
    occurred_at: datetime | None = None


# Ids are taken in their order: batches that share some wait for one another, and never both ways. The commit is a
# synchronous one, in a refinement too: what a shopper said is learned from, and is on the disk before the answer.
_INSERT = prepared(
    """
    WITH sent AS (
      SELECT * FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS e(
        message_id text, type text, query_id text, product_id text, shopper_id text, session_id text,
        value float8, dwell_ms integer, image smallint, box float8[], occurred_at timestamptz)),
    fresh AS (
      INSERT INTO event_ids (message_id) SELECT message_id FROM sent ORDER BY message_id
      ON CONFLICT DO NOTHING RETURNING message_id)
    INSERT INTO events (message_id, type, query_id, product_id, shopper_id, session_id, value, dwell_ms, image, box,
                        source, occurred_at)
    SELECT message_id, type, query_id, product_id, shopper_id, session_id, value, dwell_ms, image, box,
           CAST(:source AS text), coalesce(occurred_at, now())
    FROM sent JOIN fresh USING (message_id)
    RETURNING message_id
    """
)


def insert_events(connection: Connection, events: Sequence[NewEvent], *, source: Source) -> set[str]:
    """Keep those of ``events``, whose message ids differ, that have not come before; their message ids."""
    if not events:
        return set()
    rows = orjson.dumps([vars(one) for one in events]).decode()
    return {row.message_id for row in _INSERT.rows(connection, {"events": rows, "source": source})}


def known_lists(session: Session, query_ids: Sequence[str]) -> set[str]:
    """Those of ``query_ids`` that name a list that is kept."""
    found = session.scalars(
        text("SELECT query_id FROM served_lists WHERE query_id = ANY(CAST(:ids AS text[]))"), {"ids": list(query_ids)}
    )
    return set(found)


def forget_old_ids(session: Session, days: float, most: int = 20_000) -> int:
    """Delete up to ``most`` message ids that are older than ``days``; how many there were."""
    old = select(EventId.message_id).where(EventId.received_at < func.now() - timedelta(days=days))
    gone = delete(EventId).where(EventId.message_id.in_(old.limit(most))).returning(EventId.message_id)
    return len(session.scalars(gone).all())
