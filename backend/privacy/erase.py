"""A shopper is forgotten: rows deleted, and the generations named that had been learned from days of theirs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from backend.access.audit import record
from backend.events.models import Erasure, RefusedEvent
from backend.generations.lineage import learned_from
from backend.privacy.rows import ON_THEIR_LISTS, THEIR_EVENTS, Theirs, anyone_of, find


@dataclass(frozen=True)
class Erased:
    """What was deleted, by table, and the generations that had been learned from the days of these rows."""

    erasure: int
    counts: dict[str, int]
    generations: tuple[int, ...]
    at: datetime


def erase(session: Session, theirs: Theirs, *, named: Sequence[str] = (), actor: str) -> Erased:
    """Delete everything of ``theirs`` in this transaction, and keep that it was done.

    ``named`` are the ids as given: what was refused is kept as it came, and goes where it names one of them.
    """
    values = theirs.parameters()
    pictures = session.scalars(_PICTURES, values).all()
    times = [*session.scalars(_LIST_TIMES, values), *session.scalars(_EVENT_TIMES, values)]
    counts = {name: len(session.execute(statement, values).all()) for name, statement in _DELETIONS.items()}
    counts["pictures"] = len(session.execute(_FORGET_PICTURES, {"pictures": pictures}).all())
    counts["refused"] = _forget_refused(session, named)
    generations = learned_from(session, times)
    row = Erasure(units=theirs.units.given, generations=generations, counts=counts, actor=actor[:120])
    session.add(row)
    session.flush()
    session.refresh(row)
    details: dict[str, Any] = {"counts": counts, "generations": [f"g{one}" for one in generations]}
    record(session, actor=actor, action="shopper_erased", subject=f"erasure {row.id}", details=details)
    return Erased(row.id, counts, tuple(generations), row.at)


def erase_again(session: Session, *, actor: str) -> list[Erased]:
    """Repeat every erasure that is remembered, after a backup that is older was brought back."""
    remembered = session.scalars(select(Erasure.units).where(func.cardinality(Erasure.units) > 0)).all()
    found = (find(session, anyone_of(units)) for units in {tuple(units) for units in remembered})
    return [erase(session, theirs, actor=actor) for theirs in found if theirs.query_ids or _has_events(session, theirs)]


def _has_events(session: Session, theirs: Theirs) -> bool:
    return bool(session.scalars(_EVENT_TIMES, theirs.parameters()).first())


def _forget_refused(session: Session, named: Sequence[str]) -> int:
    """Delete refused events that name one of these ids. There are a thousand at most, each of 2 KB."""
    spelled = [way(one) for one in named for way in (json.dumps, partial(json.dumps, ensure_ascii=False), repr)]
    rows = session.scalars(select(RefusedEvent)).all() if spelled else []
    gone = [row for row in rows if any(one in row.payload or one in row.detail for one in spelled)]
    for row in gone:
        session.delete(row)
    return len(gone)


_PICTURES = text(
    f"SELECT DISTINCT r.request ->> 'image_hash' FROM served_lists r WHERE {ON_THEIR_LISTS}"  # noqa: S608  constants
    " AND r.request ->> 'image_hash' IS NOT NULL"
)
_LIST_TIMES = text(f"SELECT r.served_at FROM served_lists r WHERE {ON_THEIR_LISTS}")  # noqa: S608  constants
_EVENT_TIMES = text(f"SELECT r.received_at FROM events r WHERE {THEIR_EVENTS}")  # noqa: S608  constants

_DELETIONS = {
    "events": text(f"DELETE FROM events r WHERE {THEIR_EVENTS} RETURNING 1"),  # noqa: S608  constants
    "pages": text(f"DELETE FROM served_pages r WHERE {ON_THEIR_LISTS} RETURNING 1"),  # noqa: S608  constants
    "lists": text(f"DELETE FROM served_lists r WHERE {ON_THEIR_LISTS} RETURNING 1"),  # noqa: S608  constants
    "sticky_arms": text("DELETE FROM sticky_arms WHERE unit = ANY(CAST(:units AS text[])) RETURNING 1"),
    "overrides": text("DELETE FROM experiment_overrides WHERE unit = ANY(CAST(:units AS text[])) RETURNING 1"),
    "bot_marks": text("DELETE FROM bot_units WHERE unit = ANY(CAST(:units AS text[])) RETURNING 1"),
}

# a picture that others searched by as well stays as long as a list of theirs
_FORGET_PICTURES = text(
    """
    DELETE FROM features f WHERE f.kind = 'query' AND f.subject = ANY(CAST(:pictures AS text[]))
      AND NOT EXISTS (SELECT FROM served_lists l WHERE l.request ->> 'image_hash' = f.subject)
    RETURNING 1
    """
)
