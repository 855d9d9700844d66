"""Events whose list was not known when they came: joined to it once it is there, or to that of an earlier click."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from backend.events.recording import known_lists
from backend.prepared import prepared

CLICKED_WITHIN = timedelta(hours=72)
"""How long after a click on a product what is done with that product belongs to the click's list."""

FRESH = timedelta(minutes=2)
"""Events that came within this time are looked at in each sweep: what they wait for is about to come."""

SETTLED_AFTER = timedelta(hours=1)
"""How long after an event came it is looked at for the last time: what has not come by then is not waited for."""

MOST = 20_000
"""Events that one call looks at."""

_DUE = prepared(
    """
    SELECT id, received_on, query_id, received_at < :settled AS last FROM events
    WHERE attribution = 'pending' AND (received_at >= :fresh OR received_at < :settled)
    ORDER BY received_at LIMIT CAST(:most AS bigint)
    """
)

_THESE = "unnest(CAST(:ids AS bigint[]), CAST(:days AS date[])) AS these(id, received_on)"

_GIVEN = prepared(
    """
    UPDATE events SET attribution = 'given' WHERE attribution = 'pending' AND query_id = ANY(CAST(:known AS text[]))
    RETURNING id
    """
)

# a click came when it was made or later: days before the window hold none
_CLICKED = """
      SELECT due.id, due.received_on, c.query_id, c.occurred_at FROM due JOIN events c
        ON c.{unit} = due.{unit} AND c.product_id = due.product_id
      WHERE c.type = 'click' AND c.attribution = 'given'
        AND c.occurred_at BETWEEN due.occurred_at - CAST(:within AS interval) AND due.occurred_at
        AND c.received_on >= ((due.occurred_at - CAST(:within AS interval)) AT TIME ZONE 'utc')::date
"""

_JOINED = prepared(
    f"""
    WITH due AS MATERIALIZED (
      SELECT e.* FROM events e JOIN {_THESE} USING (id, received_on)
      WHERE e.attribution = 'pending' AND e.query_id IS NULL),
    clicks AS ({_CLICKED.format(unit="shopper_id")} UNION ALL {_CLICKED.format(unit="user_id")}),
    latest AS (
      SELECT DISTINCT ON (id) id, received_on, query_id FROM clicks ORDER BY id, occurred_at DESC)
    UPDATE events e SET query_id = latest.query_id, attribution = 'joined'
    FROM latest WHERE e.id = latest.id AND e.received_on = latest.received_on AND e.attribution = 'pending'
    RETURNING e.id
    """  # noqa: S608  constants only
)

_NONE = prepared(
    f"""
    UPDATE events e SET attribution = 'none'
    FROM {_THESE} WHERE e.id = these.id AND e.received_on = these.received_on AND e.attribution = 'pending'
    RETURNING e.id
    """  # noqa: S608  constants only
)


def attribute_pending(connection: Connection, now: datetime | None = None, most: int = MOST) -> Counter[str]:
    """Look at events that wait for their list; how many became ``given``, ``joined`` and ``none``.

    One that names a list is given to it once the list is there. One that names none is joined to the list of the
    latest click of the same shopper on the same product within ``CLICKED_WITHIN`` before it, if there was one.
    """
    now = now or datetime.now(UTC)
    due = _DUE.rows(connection, {"fresh": now - FRESH, "settled": now - SETTLED_AFTER, "most": most})
    counts: Counter[str] = Counter()
    if not due:
        return counts
    named = {row.query_id for row in due if row.query_id is not None}
    if known := known_lists(connection, sorted(named)):
        counts["given"] = len(_GIVEN.rows(connection, {"known": sorted(known)}))
    counts["joined"] = len(_JOINED.rows(connection, _these(due) | {"within": CLICKED_WITHIN}))
    counts["none"] = len(_NONE.rows(connection, _these([row for row in due if row.last])))
    return +counts


def _these(rows: Sequence[Row[Any]]) -> dict[str, Any]:
    return {"ids": [row.id for row in rows], "days": [row.received_on for row in rows]}
