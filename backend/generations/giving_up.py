"""An image or caption that no encoder will take: products go on without it."""

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.generations.due import Kind
from backend.generations.feeding import Failure
from backend.generations.models import Refusal
from backend.logs import get_logger

log = get_logger(__name__)

_PARK = {
    "image": text(
        "UPDATE product_images SET state = 'parked', error = :reason"
        " WHERE content_hash = :subject AND state = 'ready' RETURNING product"
    ),
    "text": text("UPDATE captions SET error = :reason WHERE text_hash = :subject RETURNING product"),
}

# products are locked in the order of their ids, as every writer of them does: none wait for each other in a ring
_LOCK = {
    "image": text(
        "SELECT number FROM products WHERE number IN"
        " (SELECT product FROM product_images WHERE content_hash = :subject) ORDER BY id FOR UPDATE"
    ),
    "text": text(
        "SELECT number FROM products WHERE number IN"
        " (SELECT product FROM captions WHERE text_hash = :subject) ORDER BY id FOR UPDATE"
    ),
}

_BUMP = text("UPDATE products SET revision = revision + 1 WHERE number = ANY(:numbers)")


def park(session: Session, kind: Kind, failure: Failure) -> None:
    """Give up on one image or caption wherever it is used."""
    reason = _plain(failure.reason)
    session.execute(_LOCK[kind], {"subject": failure.subject})
    parked = session.execute(_PARK[kind], {"subject": failure.subject, "reason": reason})
    session.execute(_BUMP, {"numbers": sorted(set(parked.scalars()))})
    log.warning("parked", kind=kind, subject=failure.subject, reason=reason)


def refuse(session: Session, encoder_id: str, kind: Kind, failure: Failure) -> None:
    """Leave one image or text out of the builds of an encoder; the live build, which has it, is not touched."""
    values = {"encoder_id": encoder_id, "kind": kind, "subject": failure.subject, "reason": _plain(failure.reason)}
    session.execute(insert(Refusal).values(values).on_conflict_do_nothing())
    log.warning("refused", **values)


def _plain(reason: str) -> str:
    return reason.replace("\x00", "")[:1000]
