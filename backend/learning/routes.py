"""Going live by hand, over HTTP: in this room, since a guard may begin with it."""

from typing import Annotated

from fastapi import APIRouter, Body

from backend.access.dependencies import AdminCaller, QueueDep, SessionDep, SettingsDep
from backend.generations.routes import GenerationName
from backend.learning.promoting import promote
from backend.learning.schemas import PromoteIn, Promotion
from backend.queue import ADVANCE_BUILDS

router = APIRouter(prefix="/v1", tags=["generations"])


@router.post("/generations/{generation}/promote", operation_id="promote_generation")
def promote_generation(
    generation: GenerationName,
    body: Annotated[PromoteIn, Body(default_factory=PromoteIn)],
    caller: AdminCaller,
    session: SessionDep,
    settings: SettingsDep,
    queue: QueueDep,
) -> Promotion:
    """Make a generation live that is ready, or that was live before: guarded or not at all, where that is asked for."""
    number = int(generation.removeprefix("g"))
    share = settings.guard_share if body.guard else None
    guard = promote(session, number, actor=caller.name, guard_share=share)
    queue.nudge_after_commit(session, ADVANCE_BUILDS)
    return Promotion(live=f"g{number}", guard=guard and f"e{guard.id}")
