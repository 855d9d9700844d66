"""What is kept of one shopper, as rows. What only this server can read anything into (hashes, odds) is left out."""

from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from backend.privacy.rows import ON_THEIR_LISTS, THEIR_EVENTS, Theirs

_INNER = (
    "ARRAY['user_id', 'shopper_id', 'session_id', 'unit', 'assignment', 'coins', 'p_show', 'candidates',"
    " 'candidate_scores']"
)


def _rows(of: str) -> TextClause:
    return text(f"SELECT to_jsonb(r) - {_INNER} FROM {of}")  # noqa: S608  made of constants


_EXPORTS: dict[str, TextClause] = {
    "lists": _rows(f"served_lists r WHERE {ON_THEIR_LISTS} ORDER BY r.served_at, r.query_id"),
    "pages": _rows(f"served_pages r WHERE {ON_THEIR_LISTS} ORDER BY r.served_at, r.query_id, r.first_position"),
    "events": _rows(f"events r WHERE {THEIR_EVENTS} ORDER BY r.occurred_at, r.id"),
    "sticky_arms": _rows("sticky_arms r WHERE r.unit = ANY(CAST(:units AS text[])) ORDER BY r.since"),
    "overrides": _rows("experiment_overrides r WHERE r.unit = ANY(CAST(:units AS text[])) ORDER BY r.experiment_id"),
    "bot_marks": _rows("bot_units r WHERE r.unit = ANY(CAST(:units AS text[])) ORDER BY r.since"),
}


def export(session: Session, theirs: Theirs) -> dict[str, list[dict[str, Any]]]:
    """Rows by table, oldest first."""
    return {name: list(session.scalars(statement, theirs.parameters())) for name, statement in _EXPORTS.items()}
