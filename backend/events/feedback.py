"""Events as feedback: what a refinement was told is written down, and what a session did is read as grades."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from backend.events.query_ids import day_of
from backend.events.recording import NewEvent, insert_events
from backend.ml.feedback.signals import SignalGrades, Signals, grade
from backend.prepared import prepared


@dataclass(frozen=True)
class Judged:
    """What a refinement was told of one product: one of ``value``, ``stars`` and ``dwell_ms``.

    Args:
        product_id: the product.
        value: in [-1, 1].
        stars: 1 to 5.
        dwell_ms: milliseconds the product was visible.
        image: which of its pictures a box is on, from 0.
        box: (x1, y1, x2, y2), 0 to 1 on that picture.
    """

    product_id: str
    value: float | None = None
    stars: int | None = None
    dwell_ms: int | None = None
    image: int | None = None
    box: Sequence[float] | None = None

    @property
    def type(self) -> str:
        """The type of event it is kept as."""
        if self.box is not None:
            return "box"
        if self.dwell_ms is not None:
            return "dwell"
        if self.stars is not None or not self.value:
            return "rating"
        return "like" if self.value > 0 else "dislike"


def value_of_stars(stars: int) -> float:
    """1 to 5 stars as a value: -1, -0.5, 0, 0.5, 1."""
    return (stars - 3) / 2


def record_feedback(
    connection: Connection,
    *,
    query_id: str,
    about: str,
    judged: Sequence[Judged],
    shopper_id: str | None = None,
    session_id: str | None = None,
    user_id: str | None = None,
    is_bot: bool = False,
) -> None:
    """Keep what the refinement ``query_id`` was told of the list ``about``, as events of that list; one statement.

    ``shopper_id``, ``session_id`` and ``user_id`` are hashes already; what a program says is marked (``is_bot``).
    Clients need not send these events again: kept with ``source`` refine, they are not taken for signals of the session
    either.
    """
    events = [
        NewEvent(
            message_id=f"{query_id}.{place}",
            type=one.type,
            query_id=about,
            product_id=one.product_id,
            shopper_id=shopper_id,
            session_id=session_id,
            user_id=user_id,
            is_bot=is_bot,
            value=one.value if one.stars is None else value_of_stars(one.stars),
            dwell_ms=one.dwell_ms,
            image=one.image,
            box=one.box,
        )
        for place, one in enumerate(judged, start=1)
    ]
    insert_events(connection, events, source="refine")


# only what the list really showed: nobody brings a product in by claiming to have clicked on it
_SIGNALS = prepared(
    """
    SELECT e.product_id,
           count(*) FILTER (WHERE e.type = 'click') AS clicks,
           count(*) FILTER (WHERE e.type = 'return') AS returns,
           sum(e.dwell_ms) FILTER (WHERE e.type = 'dwell') AS seen_ms,
           sum(e.dwell_ms) FILTER (WHERE e.type = 'return') AS away_ms,
           (array_agg(e.value ORDER BY e.occurred_at DESC, e.id DESC)
              FILTER (WHERE e.type IN ('like', 'dislike', 'rating')))[1] AS judgement
    FROM events e
    WHERE e.query_id = ANY(CAST(:query_ids AS text[])) AND e.source <> 'refine' AND NOT e.is_bot
      AND e.type IN ('click', 'return', 'dwell', 'like', 'dislike', 'rating')
      AND e.received_on BETWEEN CAST(:first AS date) - 1 AND CAST(:today AS date) + 1
      AND EXISTS (SELECT FROM served_pages p WHERE p.query_id = e.query_id AND e.product_id = ANY(p.product_ids)
                  AND p.served_on = ANY(CAST(:days AS date[])))
    GROUP BY e.product_id
    """
)


def session_signals(
    connection: Connection, query_ids: Sequence[str], grades: SignalGrades | None = None
) -> dict[str, float]:
    """Grades in [-1, 1], by product id, of what was done with products of the lists ``query_ids``.

    Clicks, visible time and returns give a grade between 0 and 1 (``ml/feedback/signals.py``); a like, dislike or
    rating that was sent as an event counts as it is, the latest one. Products of which nothing can be said are absent.
    """
    found: dict[str, float] = {}
    if not query_ids:
        return found
    days = sorted({day_of(query_id) for query_id in query_ids})
    values = {"query_ids": list(query_ids), "days": days, "first": days[0], "today": datetime.now(UTC).date()}
    for row in _SIGNALS.rows(connection, values):
        seen = row.seen_ms if row.seen_ms is not None else row.away_ms  # how long it was left open bounds what was seen
        one = grade(Signals(row.clicks, row.returns, seen, row.judgement), grades or SignalGrades())
        if one is not None:
            found[row.product_id] = one
    return found
