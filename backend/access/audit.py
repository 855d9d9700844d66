"""The record of changes that people and commands made."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.access.models import AuditEntry

ENTRY_EXAMPLE: dict[str, Any] = {
    "id": 7,
    "actor": "command line",
    "action": "key_created",
    "subject": "key 3",
    "details": {"name": "my shop", "scope": "storefront", "origins": ["https://shop.example"]},
    "at": "2026-11-21T09:00:00Z",
}


class AuditEntryRead(BaseModel):
    """One change."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [ENTRY_EXAMPLE]})

    id: int
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    at: datetime


class AuditPage(BaseModel):
    """Changes, newest first. ``cursor`` continues with older ones; null at the end."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"entries": [ENTRY_EXAMPLE], "cursor": 7}]})

    entries: list[AuditEntryRead]
    cursor: int | None


def record(session: Session, *, actor: str, action: str, subject: str, details: dict[str, Any] | None = None) -> None:
    """Note a change in the transaction that makes it. ``details`` never hold secrets or what shoppers typed."""
    session.add(AuditEntry(actor=actor[:120], action=action, subject=subject[:300], details=details or {}))


def read_entries(session: Session, *, limit: int, before: int | None = None) -> AuditPage:
    """The ``limit`` newest entries, or those older than the entry ``before``."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    rows: Sequence[AuditEntry] = session.scalars(query).all()
    entries = [AuditEntryRead.model_validate(row) for row in rows[:limit]]
    return AuditPage(entries=entries, cursor=entries[-1].id if len(rows) > limit else None)
