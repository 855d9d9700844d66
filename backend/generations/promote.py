"""Going live: one row flip under a lock, and the same flip back."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from backend.access.audit import record
from backend.errors import Conflict, NotFound
from backend.generations.models import Generation, IndexBuild
from backend.generations.repository import lock_generations

PROMOTABLE = ("ready", "live", "retired")
"""States from which a generation may go live; ``retired`` is the way back."""


def go_live(session: Session, generation_id: int, *, actor: str, undoable: bool = True) -> None:
    """Make one generation live and retire the one before it; nothing happens to one that is live already.

    Args:
        session: the transaction whose commit is the flip.
        generation_id: what goes live.
        actor: who asked for it, for the audit.
        undoable: whether a rollback of it leads back to what is live now; otherwise to where it led before.

    Raises:
        NotFound: there is no such generation.
        Conflict: it was never ready, or its build was dropped.
    """
    lock_generations(session)
    chosen = session.get(Generation, generation_id, populate_existing=True)
    if chosen is None:
        raise NotFound(f"there is no generation g{generation_id}", found=f"g{generation_id}")
    build = session.get_one(IndexBuild, chosen.index_build_id, populate_existing=True)
    if chosen.state not in PROMOTABLE:
        reasons = why_not(chosen, build)
        detail = f"g{chosen.id} cannot go live. {' '.join(reasons)}".rstrip()
        raise Conflict(detail, found=chosen.state, expected=list(PROMOTABLE), reasons=reasons)
    if build.state != "ready":
        raise Conflict("the index build of this generation is not complete", found=build.state, expected="ready")
    if chosen.state == "live":
        return
    # at most one row may be live at any statement (unique index), so the old one steps down first
    stepped_down = update(Generation).where(Generation.state == "live").values(state="retired", retired_at=func.now())
    previous = session.execute(stepped_down.returning(Generation.id)).scalar()
    values: dict[str, Any] = {"state": "live", "live_at": func.now(), "retired_at": None}
    if undoable:
        values["replaced"] = previous
    session.execute(update(Generation).where(Generation.id == generation_id).values(values))
    record(
        session,
        actor=actor,
        action="generation.live",
        subject=f"g{generation_id}",
        details={"previous": previous, "at": datetime.now(UTC).isoformat()},
    )


def why_not(generation: Generation, build: IndexBuild) -> list[str]:
    """What keeps a generation from going live, a sentence each: its gate, or its build; none where nothing does."""
    gates = (generation.gate_report.get(gate, {}) for gate in ("adapter", "night"))
    refused: list[str] = [reason for gate in gates for reason in gate.get("reasons", [])]
    if generation.state == "trained":
        return [f"It waits for index build {build.id}, which is at `{build.step}`."]
    if generation.state in ("rejected", "failed") and refused:
        return refused
    if build.state == "ready":
        return []
    return [f"Its index build {build.id} is {build.state}{f': {build.error}' if build.error else ''}".rstrip(".") + "."]


def roll_back(session: Session, *, actor: str, from_id: int | None = None) -> int:
    """Make the generation live that the live one replaced; its id. A new calibration in between is no step of its own.

    Args:
        session: the transaction whose commit is the flip.
        actor: who asked for it, for the audit.
        from_id: what the caller believes to be live: so two people who roll back at once go back one step.

    Raises:
        NotFound: ``from_id`` does not exist.
        Conflict: ``from_id`` is not live, or there is nothing to go back to.
    """
    lock_generations(session)
    live = session.scalars(select(Generation).where(Generation.state == "live")).one_or_none()
    if from_id is not None and session.get(Generation, from_id) is None:
        raise NotFound(f"there is no generation g{from_id}", found=f"g{from_id}")
    if live is None or (from_id is not None and live.id != from_id):
        found = f"g{from_id}" if from_id is not None else None
        raise Conflict("only the live generation can be rolled back", found=found, expected=live and f"g{live.id}")
    if live.replaced is None:
        raise Conflict(f"g{live.id} replaced no generation: there is nothing to go back to", found=f"g{live.id}")
    go_live(session, live.replaced, actor=actor, undoable=False)
    return live.replaced
