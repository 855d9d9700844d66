"""SQL of captioners and of what is said: registering, counting, listing, trying again, removing."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.catalog.captioning.alignment import SHOWN, Plan, count_products_unaligned, pictures_due, products_due
from backend.catalog.captioning.budget import requests_today, resume
from backend.catalog.captioning.captioners import CaptionerSpec
from backend.catalog.captioning.models import CaptionerRecord, CaptionMark, GeneratedCaption
from backend.catalog.captioning.schemas import (
    CaptionCounts,
    CaptionerOut,
    CaptionPage,
    CaptionRow,
    CaptionState,
    CaptionStatus,
)
from backend.errors import Conflict, NotFound

OFF = "off"
"""Captioner of the plan while captioning is off."""

CAPTIONERS_LOCK = 0x6D6F7275
"""Advisory lock under which the current captioner changes."""

_COUNTS = text(f"""
    SELECT g.captioner_id, g.state, count(*) FROM generated_captions g WHERE g.state <> 'pending'
    GROUP BY g.captioner_id, g.state
    UNION ALL
    SELECT g.captioner_id, g.state, count(*) FROM generated_captions g WHERE g.state = 'pending' AND {SHOWN}
    GROUP BY g.captioner_id, g.state
""")  # noqa: S608  constants only

_LIST = text(f"""
    SELECT g.content_hash, g.captioner_id, g.state, g.text, g.turns, g.attempts, g.error, g.due_at, ARRAY(
        SELECT DISTINCT p.id FROM product_images i JOIN products p ON p.number = i.product
        WHERE i.content_hash = g.content_hash AND i.state = 'ready' AND p.deleted_at IS NULL
        ORDER BY p.id LIMIT 20) AS product_ids
    FROM generated_captions g
    WHERE g.captioner_id = :captioner AND g.state = :state AND g.content_hash > :after AND {SHOWN}
    ORDER BY g.content_hash LIMIT :limit
""")  # noqa: S608

_UNCAPTION = text("""
    WITH gone AS (DELETE FROM captions WHERE source = :captioner RETURNING product)
    UPDATE products SET revision = revision + 1 WHERE number IN (SELECT product FROM gone) RETURNING number
""")


def make_current(session: Session, spec: CaptionerSpec | None, pictures: int) -> Plan | None:
    """Make ``spec`` the captioner of this catalogue; the plan to follow, ``None`` where none was ever used."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CAPTIONERS_LOCK})
    others = update(CaptionerRecord).where(CaptionerRecord.current)
    if spec is None:
        session.execute(others.values(current=False))
        known = session.scalars(select(CaptionerRecord).order_by(CaptionerRecord.created_at.desc()).limit(1)).first()
        return Plan(OFF, known.pictures, asks=False) if known else None
    session.execute(others.where(CaptionerRecord.id != spec.id).values(current=False))
    row = {"id": spec.id, "kind": spec.kind, "model": spec.model[:400], "prompts": spec.prompts, "pictures": pictures}
    session.execute(
        insert(CaptionerRecord)
        .values(row | {"current": True})
        .on_conflict_do_update(
            index_elements=["id"],
            # a restart is how a wrong key or address is put right: it ends a pause
            set_={"current": True, "pictures": pictures, "paused_until": None, "reason": None, "failures": 0},
        )
    )
    return Plan(spec.id, pictures)


def current_plan(session: Session) -> Plan | None:
    """The plan of the captioner in use, or ``None`` where captioning is off."""
    record = _current(session)
    return Plan(record.id, record.pictures) if record else None


def anything_to_caption(session: Session, plan: Plan) -> bool:
    """Whether a run would find something to do now."""
    return products_due(session, plan) or pictures_due(session, plan)


def caption_status(session: Session) -> CaptionStatus:
    """How far the pictures are captioned, and what holds it up. Only those of products for sale wait."""
    counts: dict[str, dict[str, int]] = {}
    for captioner_id, state, count in session.execute(_COUNTS):
        counts.setdefault(captioner_id, {})[state] = count
    records = session.scalars(select(CaptionerRecord).order_by(CaptionerRecord.created_at.desc())).all()
    captioners = [_captioner_out(record, counts.get(record.id, {})) for record in records]
    plan = current_plan(session)
    return CaptionStatus(
        current=next((one for one in captioners if one.current), None),
        others=[one for one in captioners if not one.current],
        products_waiting=count_products_unaligned(session, plan) if plan else 0,
        requests_today=requests_today(session),
    )


def list_captions(session: Session, state: CaptionState, *, after: str = "", limit: int = 100) -> CaptionPage:
    """What the current captioner said, or was asked and did not say, in the order of content hashes."""
    record = _current(session)
    if record is None:
        return CaptionPage(captions=[], cursor=None)
    values = {"captioner": record.id, "state": state, "after": after, "limit": limit + 1}
    rows = session.execute(_LIST, values).mappings().all()
    page = [CaptionRow.model_validate(dict(row)) for row in rows[:limit]]
    return CaptionPage(captions=page, cursor=page[-1].content_hash if len(rows) > limit else None)


def retry_captions(session: Session, hashes: Sequence[str] | None = None) -> int:
    """Make parked pictures due again, those named or all, and end a pause; how many there were."""
    resume(session)
    record = _current(session)
    if record is None:
        return 0
    parked = update(GeneratedCaption).where(
        GeneratedCaption.captioner_id == record.id, GeneratedCaption.state == "parked"
    )
    if hashes is not None:
        parked = parked.where(GeneratedCaption.content_hash.in_(hashes))
    again = parked.values(state="pending", attempts=0, due_at=text("now()"), error=None)
    return len(session.scalars(again.returning(GeneratedCaption.content_hash)).all())


def remove_captioner(session: Session, captioner_id: str) -> int:
    """Forget a captioner and everything it said; how many products lost a caption.

    Raises:
        NotFound: there is none of this name.
        Conflict: it is in use.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CAPTIONERS_LOCK})
    record = session.get(CaptionerRecord, captioner_id)
    if record is None:
        raise NotFound("there is no such captioner", found=captioner_id)
    if record.current:
        raise Conflict(
            "this captioner is in use: set MORELIKE_CAPTIONER to another, or to off, and restart the worker",
            found=captioner_id,
        )
    session.execute(
        text(
            "SELECT number FROM products WHERE number IN (SELECT product FROM captions WHERE source = :captioner)"
            " ORDER BY id FOR UPDATE"
        ),
        {"captioner": captioner_id},
    )
    products = len(session.execute(_UNCAPTION, {"captioner": captioner_id}).all())
    session.execute(delete(GeneratedCaption).where(GeneratedCaption.captioner_id == captioner_id))
    session.execute(delete(CaptionMark))  # every product is looked at again: another's words may take the place
    session.delete(record)
    return products


def _current(session: Session) -> CaptionerRecord | None:
    return session.scalars(select(CaptionerRecord).where(CaptionerRecord.current)).one_or_none()


def _captioner_out(record: CaptionerRecord, counts: dict[str, int]) -> CaptionerOut:
    values: dict[str, Any] = {
        name: getattr(record, name)
        for name in ("id", "kind", "model", "prompts", "pictures", "current", "paused_until", "reason", "created_at")
    }
    if record.paused_until is None or record.paused_until <= datetime.now(UTC):
        values |= {"paused_until": None, "reason": None}
    counted = CaptionCounts(**{state: counts.get(state, 0) for state in ("pending", "ready", "parked")})
    return CaptionerOut(**values, counts=counted)
