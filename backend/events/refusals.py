"""A bounded memory of events that were refused, so that whoever connects a shop sees why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import delete, func, insert, text
from sqlalchemy.orm import Session

from backend.events.judging import UNITS
from backend.events.models import RefusedEvent

KEPT = 1000
"""How many are remembered, the newest."""

KEPT_FOR = timedelta(days=30)

KEPT_A_REQUEST = 20
"""How many of one request: a client that sends nonsense must not push out what others sent."""

PAYLOAD_BYTES_MAX = 2 * 2**10

_PERSONAL = UNITS | {"context", "traits", "ip", "email"}
"""Fields whose contents are not kept, however deep they lie."""


@dataclass(frozen=True)
class Refusal:
    """An event that was refused: the verdict's code and detail, what was sent, and by whom."""

    code: str
    detail: str
    sent: Any
    key_id: int | None = None
    origin: str | None = None


def remember(session: Session, refused: Sequence[Refusal]) -> None:
    """Keep the first of ``refused`` and forget the oldest of those that are kept."""
    if not refused:
        return
    rows = [
        {
            "code": one.code,
            "detail": one.detail.replace("\x00", "\\0"),
            "payload": payload_of(one.sent),
            "key_id": one.key_id,
            "origin": None if one.origin is None else one.origin[:300],
        }
        for one in refused[:KEPT_A_REQUEST]
    ]
    session.execute(insert(RefusedEvent), rows)
    # whoever else is forgetting at this moment does it for us, too
    session.execute(
        text(
            "DELETE FROM refused_events WHERE id IN (SELECT id FROM refused_events"
            " WHERE id <= (SELECT max(id) FROM refused_events) - :kept FOR UPDATE SKIP LOCKED)"
        ),
        {"kept": KEPT},
    )


def forget_old_refusals(session: Session) -> int:
    """Forget what was refused more than ``KEPT_FOR`` ago; how much it was."""
    gone = delete(RefusedEvent).where(RefusedEvent.received_at < func.now() - KEPT_FOR).returning(RefusedEvent.id)
    return len(session.scalars(gone).all())


def payload_of(sent: Any) -> str:
    """What was sent, as JSON of at most 2 KB, without what names a person."""
    try:
        orjson.dumps(sent)
    except TypeError:  # it can be read and not be written: objects within objects, hundreds of them
        return "…"
    return orjson.dumps(_without_persons(sent))[:PAYLOAD_BYTES_MAX].decode("utf-8", "ignore")


def _without_persons(sent: Any) -> Any:
    if isinstance(sent, dict):
        return {name: "…" if name in _PERSONAL else _without_persons(value) for name, value in sent.items()}
    return [_without_persons(one) for one in sent] if isinstance(sent, list) else sent
