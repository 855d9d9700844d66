"""Events as they come in: each has a verdict of its own, and a wrong one spoils no other."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from pydantic import ValidationError
from sqlalchemy.orm import Session

from backend.catalog.schemas import problems, short
from backend.errors import BadRequest, TooLarge, Unprocessable
from backend.events.recording import NewEvent, insert_events, known_lists
from backend.events.schemas import BYTES_MAX, EVENTS_MAX, EventIn, EventVerdict, EventVerdicts
from backend.events.units import UnitHasher

OLDEST = timedelta(days=30)
"""Older events are refused: their message ids may be forgotten, and with them that they came before."""

LIST_MAY_COME = timedelta(hours=1)
"""How long after an event its list may still be recorded: lists are written without waiting for the disk."""


def parse_events(body: bytes) -> list[Any]:
    """The events of a request, not yet checked.

    Raises:
        TooLarge: more bytes or more events than one request may have.
        BadRequest: it is not JSON.
        Unprocessable: it is neither an array nor ``{"batch": [...]}``.
    """
    if len(body) > BYTES_MAX:
        raise TooLarge("one request may not hold so much", found=len(body), expected=f"at most {BYTES_MAX} bytes")
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}", expected="JSON (RFC 8259)") from None
    events = said["batch"] if isinstance(said, dict) and set(said) == {"batch"} else said
    if not isinstance(events, list):
        raise Unprocessable("events come as a list", found=short(events), expected='an array, or {"batch": [...]}')
    if len(events) > EVENTS_MAX:
        raise TooLarge("one request has too many events", found=len(events), expected=f"at most {EVENTS_MAX} events")
    return events


def take_events(session: Session, sent: Sequence[Any], hasher: UnitHasher) -> EventVerdicts:
    """Keep those of ``sent`` that can be kept and have not come before, with a verdict on each, in one transaction."""
    now = datetime.now(UTC)
    checked = [_checked(one) for one in sent]
    named = {query_id for one in checked if isinstance(one, EventIn) for query_id in _named(one)}
    known = known_lists(session, sorted(named)) if named else set()
    verdicts = [one if isinstance(one, EventVerdict) else _refusal(one, known, now) for one in checked]
    fresh: dict[str, list[NewEvent]] = {}
    for event, verdict in zip(checked, verdicts, strict=True):
        if isinstance(event, EventIn) and verdict is None:
            fresh.setdefault(event.message_id, _kept(event, hasher, now))
    rows = [row for rows in fresh.values() for row in rows]
    written = insert_events(session.connection(), rows, source="client")
    results = [verdict or _accepted(event, written) for event, verdict in zip(checked, verdicts, strict=True)]
    return EventVerdicts(accepted=sum(one.status == "accepted" for one in results), results=results)


def _checked(sent: Any) -> EventIn | EventVerdict:
    try:
        return EventIn.model_validate(sent)
    except ValidationError as error:
        said = "; ".join(f"{p.field or 'event'}: found {p.found!r}, expected {p.expected}" for p in problems(error))
        named = sent.get("message_id") if isinstance(sent, dict) else None
        return EventVerdict(
            message_id=short(named, 100) if isinstance(named, str) else None,
            status="rejected",
            code="invalid",
            detail=short(said, 1000),
        )


def _refusal(event: EventIn, known: set[str], now: datetime) -> EventVerdict | None:
    """Why an event that is well-formed is not taken, or None."""
    at = event.timestamp or now
    if at < now - OLDEST:
        return EventVerdict(
            message_id=event.message_id,
            status="rejected",
            code="too_old",
            detail=f"timestamp: found {at.isoformat()}, expected one of the last {OLDEST.days} days",
        )
    unknown = [query_id for query_id in _named(event) if query_id not in known]
    if unknown and at < now - LIST_MAY_COME:
        return EventVerdict(
            message_id=event.message_id,
            status="rejected",
            code="unknown_query_id",
            detail=f"no list has this id, or it is no longer kept: found {unknown[0]!r}",
        )
    return None


def _named(event: EventIn) -> list[str]:
    """The ids of lists that an event names."""
    said = [event.query_id, event.next_query_id, *(item.query_id for item in event.items or ())]
    return [query_id for query_id in said if query_id is not None]


def _kept(event: EventIn, hasher: UnitHasher, now: datetime) -> list[NewEvent]:
    """The rows of an event: one for each of its items, or the only one."""
    whole = NewEvent(
        message_id=event.message_id,
        type=event.type,
        query_id=event.query_id,
        product_id=event.product_id,
        shopper_id=hasher.hashed("shopper", event.shopper_id),
        session_id=hasher.hashed("session", event.session_id),
        value=event.judgement,
        dwell_ms=event.dwell_ms,
        image=event.image,
        box=event.box,
        occurred_at=min(event.timestamp or now, now),  # a clock that is ahead does not make things happen later
    )
    if event.items is None:
        return [whole]
    return [replace(whole, product_id=one.product_id, query_id=one.query_id or event.query_id) for one in event.items]


def _accepted(event: EventIn | EventVerdict, written: set[str]) -> EventVerdict:
    """Accepted, the first time that it comes; a repetition in the same request is one, too."""
    if event.message_id not in written:
        return EventVerdict(message_id=event.message_id, status="duplicate", detail="this message came before")
    written.remove(event.message_id)
    return EventVerdict(message_id=event.message_id, status="accepted")
