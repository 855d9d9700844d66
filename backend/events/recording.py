"""SQL of events: written once each, whoever sends them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.orm import Session

from backend.events.models import EventId
from backend.events.query_ids import day_of
from backend.prepared import prepared

Source = Literal["client", "ubi", "segment", "refine"]
Attribution = Literal["given", "joined", "none", "pending"]


@dataclass  # not frozen: freezing takes five times as long as making one, and a request has hundreds
class NewEvent:
    """A row of events as it is kept: one product of a message, ``item`` its place in the message's items.

    ``shopper_id``, ``session_id`` and ``user_id`` are hashes; without ``occurred_at`` it is now. ``attribution`` is
    ``pending`` until its list is known to be here. ``source`` is that of the call where none is named.
    """

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
    item: int = 0
    user_id: str | None = None
    visible_share: float | None = None
    visible_ms: int | None = None
    columns: int | None = None
    quantity: int | None = None
    price: Decimal | float | None = None
    currency: str | None = None
    surface: str | None = None
    device: str | None = None
    next_query_id: str | None = None
    attributes: dict[str, Any] | None = None
    is_bot: bool = False
    attribution: Attribution = "given"
    source: Source | None = None


# Ids are taken in their order: batches that share some wait for one another, and never both ways. The commit is a
# synchronous one, in a refinement too: what a shopper said is learned from, and is on the disk before the answer.
_INSERT = prepared(
    """
    WITH sent AS (
      SELECT * FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS e(
        message_id text, item smallint, type text, query_id text, product_id text, shopper_id text, session_id text,
        user_id text, value float8, dwell_ms integer, image smallint, box float8[], visible_share real,
        visible_ms integer, columns smallint, quantity integer, price numeric, currency text, surface text, device text,
        next_query_id text, attributes jsonb, is_bot boolean, attribution text, source text,
        occurred_at timestamptz)),
    fresh AS (
      INSERT INTO event_ids (message_id) SELECT DISTINCT message_id FROM sent ORDER BY message_id
      ON CONFLICT DO NOTHING RETURNING message_id),
    kept AS (
      INSERT INTO events (message_id, item, type, query_id, product_id, shopper_id, session_id, user_id, value,
                          dwell_ms, image, box, visible_share, visible_ms, columns, quantity, price, currency, surface,
                          device, next_query_id, attributes, is_bot, attribution, source, occurred_at)
      SELECT message_id, item, type, query_id, product_id, shopper_id, session_id, user_id, value, dwell_ms, image, box,
             visible_share, visible_ms, columns, quantity, price, currency, surface, device, next_query_id, attributes,
             is_bot, attribution, coalesce(source, CAST(:source AS text)), coalesce(occurred_at, now())
      FROM sent JOIN fresh USING (message_id))
    SELECT message_id FROM fresh
    """
)


def insert_events(connection: Connection, events: Sequence[NewEvent], *, source: Source) -> set[str]:
    """Keep those of ``events`` whose messages have not come before; the ids of these messages.

    A message may have several rows, which differ in ``item`` and are kept together.
    """
    if not events:
        return set()
    # most fields are without a value, and each that is named costs PostgreSQL as much as one that has one
    said = [{name: value for name, value in vars(one).items() if value is not None} for one in events]
    rows = orjson.dumps(said, default=float).decode()
    return {row.message_id for row in _INSERT.rows(connection, {"events": rows, "source": source})}


_KNOWN = prepared(
    """
    SELECT query_id FROM served_lists
    WHERE query_id = ANY(CAST(:ids AS text[])) AND served_on = ANY(CAST(:days AS date[]))
    """
)


def known_lists(connection: Connection, query_ids: Sequence[str]) -> set[str]:
    """Those of ``query_ids`` that name a list that is kept."""
    days = sorted({day_of(query_id) for query_id in query_ids})
    return {row.query_id for row in _KNOWN.rows(connection, {"ids": list(query_ids), "days": days})}


def sent_before(session: Session, message_ids: Sequence[str]) -> set[str]:
    """Those of ``message_ids`` that name a message that was accepted, as long as that is remembered."""
    return set(session.scalars(select(EventId.message_id).where(EventId.message_id.in_(message_ids))))


def forget_old_ids(session: Session, days: float, most: int = 20_000) -> int:
    """Delete up to ``most`` message ids that are older than ``days``; how many there were."""
    old = select(EventId.message_id).where(EventId.received_at < func.now() - timedelta(days=days))
    gone = delete(EventId).where(EventId.message_id.in_(old.limit(most))).returning(EventId.message_id)
    return len(session.scalars(gone).all())
