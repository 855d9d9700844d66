"""Going live by hand, with the guard that a night's flip gets where one is asked for."""

from sqlalchemy.orm import Session

from backend.errors import Conflict
from backend.experiments.models import Experiment
from backend.generations.promote import go_live
from backend.generations.repository import live_generation, lock_generations
from backend.learning.trials import begin_guard


def promote(session: Session, generation_id: int, *, actor: str, guard_share: float | None = None) -> Experiment | None:
    """Make a generation live; with a guard, or else not at all, where one is asked for.

    Args:
        session: the transaction whose commit is the flip.
        generation_id: what goes live.
        actor: who asked for it, for the audit.
        guard_share: of the shoppers that keep what is replaced; None: nobody does, and nothing watches.

    Returns:
        The guard; None where none was asked for.

    Raises:
        NotFound: there is no such generation.
        Conflict: it may not go live, or a guard was asked for and cannot begin.
    """
    lock_generations(session)
    before = live_generation(session)
    go_live(session, generation_id, actor=actor)
    if guard_share is None:
        return None
    if not guard_share:
        raise Conflict("Nothing went live: guards are turned off.", found="MORELIKE_GUARD_SHARE=0")
    if before is None or before.id == generation_id:
        said = f"g{generation_id} replaces nothing that it could be compared with."
        raise Conflict(said, found=before and f"g{before.id} is live")
    guard = begin_guard(session, generation_id, before.id, share=guard_share)
    if guard is None:
        said = (
            f"Nothing went live: other experiments have the ranker layer, or g{before.id} cannot serve beside another."
        )
        raise Conflict(said, expected="room in the layer for a guard: `morelike experiment list`")
    return guard
