"""SQL of deliveries: kept at the door, claimed by the worker, listed, replayed, and forgotten in the end."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, func, select, text, update
from sqlalchemy.orm import Session, defer

from backend.catalog.shops.platform import Envelope
from backend.catalog.webhooks.models import Delivery

REJECTED_KEPT = 200
"""Rejected deliveries kept of each source: strangers fill no disk."""

DUE = ("waiting", "failed")


@dataclass(frozen=True)
class Letter:
    """A delivery at the door."""

    source: str
    envelope: Envelope
    body_hash: str
    body: bytes


# one statement, hence one round trip and one transaction; a repetition is counted on the delivery it repeats
_KEEP = text(
    """
    WITH waiting AS (SELECT set_config('synchronous_commit', :synchronous, true))
    INSERT INTO deliveries (source, key, body_hash, topic, event, headers, body, size, triggered_at)
    SELECT :source, :key, :body_hash, :topic, :event, CAST(:headers AS jsonb), :body, :size,
           CAST(:triggered_at AS timestamptz)
    FROM waiting
    ON CONFLICT (source, key, body_hash) WHERE verdict <> 'rejected'
    DO UPDATE SET repeats = deliveries.repeats + 1, repeated_at = now()
    RETURNING id, repeats
    """
)
_REJECT = text(
    """
    WITH kept AS (
      INSERT INTO deliveries (source, key, body_hash, topic, event, headers, size, triggered_at, verdict, detail,
                              processed_at)
      VALUES (:source, :key, :body_hash, :topic, :event, CAST(:headers AS jsonb), :size, :triggered_at, 'rejected',
              :detail, now()))
    DELETE FROM deliveries WHERE id IN (
      SELECT id FROM deliveries WHERE verdict = 'rejected' AND source = :source ORDER BY id DESC OFFSET :most)
    """
)


# its commit is a synchronous one, and what is flushed is all that was committed before
_FLUSH = text("SELECT pg_logical_emit_message(true, 'morelike', '')")


def keep_accepted(engine: Engine, letter: Letter, *, durable: bool) -> tuple[int, int]:
    """Keep a delivery whose signature was right; (its id, how often it came before).

    Unless ``durable`` this does not wait for the disk: ``flush`` does, or PostgreSQL itself within 0.6 s.
    """
    more = {"body": letter.body, "synchronous": "on" if durable else "off"}
    with engine.connect() as connection:
        row = connection.execute(_KEEP, _values(letter) | more).one()
    return row.id, row.repeats


def flush(engine: Engine) -> None:
    """Wait until whatever was committed is on disk."""
    with engine.connect() as connection:
        connection.execute(_FLUSH)


def keep_rejected(engine: Engine, letter: Letter, detail: str) -> None:
    """Note a delivery that was not signed, without its body, and forget the oldest of those."""
    values = _values(letter) | {"detail": detail, "most": REJECTED_KEPT - 1}  # the statement does not see its own row
    with engine.connect() as connection:
        connection.execute(_REJECT, values)


def _values(letter: Letter) -> dict[str, Any]:
    envelope = letter.envelope
    return {
        "source": letter.source,
        "key": envelope.key[:500],
        "body_hash": letter.body_hash,
        "topic": envelope.topic[:200],
        "event": envelope.event[:200] if envelope.event else None,
        "headers": json.dumps(dict(envelope.headers)),
        "size": len(letter.body),
        "triggered_at": envelope.triggered_at,
    }


def claim_due(session: Session, most: int) -> list[Delivery]:
    """The ``most`` oldest due deliveries that no other worker has in hand, locked until the transaction ends."""
    due = select(Delivery).where(Delivery.verdict.in_(DUE), Delivery.due_at <= func.now())
    return list(session.scalars(due.order_by(Delivery.id).limit(most).with_for_update(skip_locked=True)))


def claim(session: Session, number: int) -> Delivery | None:
    """The delivery ``number`` if it is due and no other worker has it in hand, locked."""
    due = select(Delivery).where(Delivery.id == number, Delivery.verdict.in_(DUE), Delivery.due_at <= func.now())
    return session.scalars(due.with_for_update(skip_locked=True)).one_or_none()


def any_due(session: Session) -> bool:
    """Whether a delivery waits for the worker."""
    due = select(Delivery.id).where(Delivery.verdict.in_(DUE), Delivery.due_at <= func.now()).limit(1)
    return session.scalar(due) is not None


def put_off(session: Session, number: int, why: str, *, attempts: int, pause: timedelta) -> None:
    """Note that applying a delivery failed: it is tried again after a pause that doubles, and parked in the end."""
    tried = session.scalar(select(Delivery.attempts).where(Delivery.id == number).with_for_update())
    if tried is None:
        return
    done = tried + 1 >= attempts
    session.execute(
        update(Delivery)
        .where(Delivery.id == number)
        .values(
            attempts=tried + 1,
            verdict="parked" if done else "failed",
            detail=why,
            due_at=func.now() + pause * 2**tried,
            processed_at=func.now(),
        )
    )


def told_before(session: Session, deliveries: Sequence[Delivery]) -> dict[tuple[str, str, str], int]:
    """(source, event, body hash) of earlier, processed deliveries that tell of the same events, with their ids."""
    events = [one.event for one in deliveries if one.event]
    if not events:
        return {}
    told = select(Delivery.source, Delivery.event, Delivery.body_hash, Delivery.id).where(
        Delivery.event.in_(events),
        Delivery.verdict.in_(("applied", "unchanged", "stale")),
        Delivery.id.not_in([one.id for one in deliveries]),
    )
    return {(row.source, row.event, row.body_hash): row.id for row in session.execute(told)}


def last_triggered(session: Session, source: str, products: Sequence[str]) -> dict[tuple[str, datetime], datetime]:
    """When what was last written of each product under each of its times had happened.

    Shops' times of a product have whole seconds. Of two deliveries with the same one, this tells which is later.
    """
    rows = session.execute(
        select(func.unnest(Delivery.products).label("product"), Delivery.dated, func.max(Delivery.triggered_at))
        .where(
            Delivery.source == source,
            Delivery.products.overlap(list(products)),
            Delivery.dated.is_not(None),
            Delivery.triggered_at.is_not(None),
            Delivery.verdict.in_(("applied", "unchanged")),
        )
        .group_by("product", Delivery.dated)
    )
    return {(product, dated): triggered for product, dated, triggered in rows}


def list_rows(
    session: Session, *, source: str | None, verdict: str | None, product: str | None, before: int | None, limit: int
) -> Sequence[Delivery]:
    """Deliveries without their bodies, newest first."""
    wanted: list[ColumnElement[bool]] = []
    if source is not None:
        wanted.append(Delivery.source == source)
    if verdict is not None:
        wanted.append(Delivery.verdict == verdict)
    if product is not None:
        wanted.append(Delivery.products.contains([product]))
    if before is not None:
        wanted.append(Delivery.id < before)
    query = select(Delivery).options(defer(Delivery.body)).where(*wanted).order_by(Delivery.id.desc()).limit(limit)
    return session.scalars(query).all()


def count_verdicts(session: Session) -> dict[str, int]:
    """How many of the deliveries that are kept have each verdict."""
    return dict(session.execute(select(Delivery.verdict, func.count()).group_by(Delivery.verdict)).all())


def replay_rows(session: Session, ids: Sequence[int] | None, verdict: str | None) -> list[int]:
    """Make deliveries due again, as if never tried: those named, or all of a verdict. Rejected ones never are."""
    chosen = update(Delivery).where(Delivery.verdict != "rejected")
    chosen = chosen.where(Delivery.id.in_(ids)) if ids is not None else chosen.where(Delivery.verdict == verdict)
    again = chosen.values(verdict="waiting", attempts=0, due_at=func.now(), detail=None).returning(Delivery.id)
    return sorted(session.scalars(again))


def forget_old(session: Session, days: float, most: int = 5000) -> int:
    """Delete up to ``most`` deliveries that came more than ``days`` ago and wait for nothing; how many there were."""
    old = select(Delivery.id).where(
        Delivery.received_at < func.now() - timedelta(days=days), Delivery.verdict.not_in(DUE)
    )
    gone = delete(Delivery).where(Delivery.id.in_(old.limit(most))).returning(Delivery.id)
    return len(session.scalars(gone).all())
