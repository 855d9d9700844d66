"""Going live: one row flip under a lock, and the same flip back."""

from datetime import UTC, datetime

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from backend.access.models import AuditEntry
from backend.errors import Conflict, NotFound
from backend.generations.models import Generation, IndexBuild
from backend.generations.repository import lock_generations

PROMOTABLE = ("ready", "live", "retired")
"""States from which a generation may go live; ``retired`` is the way back."""


def go_live(session: Session, generation_id: int, *, actor: str) -> None:
    """Make one generation live and retire the one before it; nothing happens to one that is live already.

    Args:
        session: the transaction whose commit is the flip.
        generation_id: what goes live.
        actor: who asked for it, for the audit.

    Raises:
        NotFound: there is no such generation.
        Conflict: it was never ready, or its build was dropped.
    """
    lock_generations(session)
    chosen = session.get(Generation, generation_id, populate_existing=True)
    if chosen is None:
        raise NotFound(f"there is no generation {generation_id}", found=generation_id)
    if chosen.state not in PROMOTABLE:
        raise Conflict("this generation cannot go live", found=chosen.state, expected=list(PROMOTABLE))
    build = session.get_one(IndexBuild, chosen.index_build_id, populate_existing=True)
    if build.state != "ready":
        raise Conflict("the index build of this generation is not complete", found=build.state, expected="ready")
    if chosen.state == "live":
        return
    # at most one row may be live at any statement (unique index), so the old one steps down first
    previous = session.execute(
        update(Generation).where(Generation.state == "live").values(state="retired").returning(Generation.id)
    ).scalar()
    session.execute(update(Generation).where(Generation.id == generation_id).values(state="live", live_at=func.now()))
    session.add(
        AuditEntry(
            actor=actor,
            action="generation.live",
            subject=f"g{generation_id}",
            details={"previous": previous, "at": datetime.now(UTC).isoformat()},
        )
    )
