"""Generations that are kept ready to serve beside the live one: arms of experiments, and the holdout's."""

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.errors import Conflict
from backend.generations.models import Generation, GenerationPin, IndexBuild
from backend.generations.promote import PROMOTABLE, why_not
from backend.generations.repository import lock_generations

HOLDOUT = "holdout"

# the live generation's own encoder: the holdout differs by what was learned, not by what a newer encoder brought
_WITHOUT_HEADS = text("""
    SELECT max(g.id) FROM generations g
    JOIN index_builds b ON b.id = g.index_build_id
    JOIN index_builds lb ON lb.encoder_id = b.encoder_id
    JOIN generations live ON live.index_build_id = lb.id AND live.state = 'live'
    WHERE g.query_heads IS NULL AND b.item_heads IS NULL AND b.state = 'ready'
      AND g.state = ANY(CAST(:states AS text[]))
""")


def pin(session: Session, reason: str, generation_ids: set[int]) -> None:
    """Keep exactly these generations for ``reason``; none lets go of all of them."""
    held = set(session.scalars(select(GenerationPin.generation_id).where(GenerationPin.reason == reason)))
    if gone := held - generation_ids:
        session.execute(
            delete(GenerationPin).where(GenerationPin.reason == reason, GenerationPin.generation_id.in_(gone))
        )
    if new := generation_ids - held:
        rows = [{"generation_id": generation_id, "reason": reason} for generation_id in sorted(new)]
        session.execute(insert(GenerationPin).values(rows).on_conflict_do_nothing())


def without_heads(session: Session) -> int | None:
    """The newest generation on the live encoder that has learned nothing and may serve; None where there is none."""
    found: int | None = session.scalar(_WITHOUT_HEADS, {"states": list(PROMOTABLE)})
    return found


def pin_holdout(session: Session, share: float) -> None:
    """Keep what the holdout is served by, the newest generation without heads on the live encoder; none at share 0."""
    chosen = without_heads(session) if share else None
    held = session.scalar(select(func.max(GenerationPin.generation_id)).where(GenerationPin.reason == HOLDOUT))
    if chosen != held:
        lock_generations(session)
        pin(session, HOLDOUT, set() if chosen is None else {chosen})


def check_servable(session: Session, generation_id: int) -> None:
    """Refuse a generation that cannot serve.

    Raises:
        Conflict: there is none, it was never ready, or its index build is gone.
    """
    row = session.execute(
        select(Generation, IndexBuild)
        .join(IndexBuild, IndexBuild.id == Generation.index_build_id)
        .where(Generation.id == generation_id)
    ).one_or_none()
    if row is None:
        raise Conflict("an arm names a generation that does not exist", found=f"g{generation_id}")
    generation, build = row
    if generation.state not in PROMOTABLE or build.state != "ready":
        said = " ".join(why_not(generation, build))
        raise Conflict(
            f"g{generation_id} cannot serve an arm. {said}".rstrip(), found=generation.state, expected=list(PROMOTABLE)
        )
