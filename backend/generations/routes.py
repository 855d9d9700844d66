"""Generations and index builds over HTTP."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy.orm import Session

from backend.access.dependencies import AdminCaller, QueueDep, SessionDep, SettingsDep
from backend.access.provided import provided
from backend.generations.builds import Use, drop_build, list_builds, progress, start_build, usable_source, uses
from backend.generations.listing import list_generations, one_generation
from backend.generations.models import IndexBuild
from backend.generations.promote import roll_back
from backend.generations.repository import WRITABLE_STATES
from backend.generations.schemas import BuildList, BuildRead, BuildRequest, GenerationList, GenerationRead, LiveChange
from backend.generations.serving import ServingHolder
from backend.queue import ADVANCE_BUILDS

router = APIRouter(prefix="/v1", tags=["generations"])

ServingHolderDep = Annotated[ServingHolder, Depends(provided(ServingHolder))]
"""How a route of this or a higher room asks for what serves."""

GenerationName = Annotated[
    str, Path(pattern="^g?[0-9]{1,18}$", description="Name of the generation, such as g7.", examples=["g7"])
]
BuildNumber = Annotated[int, Path(ge=1, le=10**18, description="Number of the index build.", examples=[2])]
Most = Annotated[int, Query(ge=1, le=500, description="Most of them listed.")]


@router.get("/generations", operation_id="list_generations")
def get_generations(_caller: AdminCaller, session: SessionDep, limit: Most = 50) -> GenerationList:
    """Generations and their states, the newest first."""
    return GenerationList(generations=[GenerationRead.of(listed) for listed in list_generations(session, limit)])


@router.get("/generations/{generation}", operation_id="get_generation")
def get_generation(generation: GenerationName, _caller: AdminCaller, session: SessionDep) -> GenerationRead:
    """One generation: what it searches with, where it came from, and what its gates said."""
    return GenerationRead.of(one_generation(session, int(generation.removeprefix("g"))))


@router.post("/generations/{generation}/rollback", operation_id="roll_generation_back")
def roll_generation_back(
    generation: GenerationName, caller: AdminCaller, session: SessionDep, queue: QueueDep
) -> LiveChange:
    """Make the generation live that this one, which is live, replaced."""
    number = roll_back(session, actor=caller.name, from_id=int(generation.removeprefix("g")))
    queue.nudge_after_commit(session, ADVANCE_BUILDS)
    return LiveChange(live=f"g{number}")


@router.get("/builds", operation_id="list_builds")
def get_builds(_caller: AdminCaller, session: SessionDep, settings: SettingsDep, limit: Most = 50) -> BuildList:
    """Index builds with what uses them and how far they are, the newest first."""
    used = uses(session, timedelta(hours=settings.rollback_window_h))
    return BuildList(
        builds=[read_build(session, build, used.get(build.id, [])) for build in list_builds(session, limit)]
    )


@router.post("/builds", operation_id="start_build", status_code=202)
def post_build(body: BuildRequest, caller: AdminCaller, session: SessionDep, queue: QueueDep) -> BuildRead:
    """Switch the encoder: make a build with it beside the live one, and let it go live when it is ready."""
    build = start_build(session, usable_source(body.encoder), promote=body.promote, actor=caller.name)
    queue.nudge_after_commit(session, ADVANCE_BUILDS)
    return read_build(session, build, [])


@router.delete("/builds/{build}", operation_id="drop_build")
def delete_build(
    build: BuildNumber,
    caller: AdminCaller,
    session: SessionDep,
    settings: SettingsDep,
    queue: QueueDep,
    forget: Annotated[
        bool, Query(description="Drop it although retired or waiting generations use it: they cannot go live any more.")
    ] = False,
) -> BuildRead:
    """Give up a build that is being made, or drop one that no generation uses."""
    window = timedelta(hours=settings.rollback_window_h)
    dropped = drop_build(session, build, window=window, actor=caller.name, forget=forget)
    queue.nudge_after_commit(session, ADVANCE_BUILDS)
    return read_build(session, dropped, uses(session, window).get(build, []))


def read_build(session: Session, build: IndexBuild, used: list[Use]) -> BuildRead:
    """The build as shown, with its progress where it is written."""
    written = build.state in WRITABLE_STATES and build.encoder_id is not None
    return BuildRead.of(build, used, progress(session, build) if written else None)
