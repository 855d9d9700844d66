"""Nights over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query

from backend.access.dependencies import AdminCaller, QueueDep, SessionDep, SettingsDep
from backend.learning.nightly.begin import NightAsked, begin_night, cancel_night
from backend.learning.nightly.runs import find_night, list_nights, steps_of
from backend.learning.nightly.schemas import NightIn, NightList, NightRead, NightReport
from backend.queue import NIGHTLY

router = APIRouter(prefix="/v1", tags=["learning"])

NightName = Annotated[str, Path(pattern="^n?[0-9]{1,18}$", description="Name of the night.", examples=["n7"])]


@router.get("/nights", operation_id="list_nights")
def get_nights(_caller: AdminCaller, session: SessionDep, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> NightList:
    """Nights with their outcomes, the newest first."""
    return NightList(nights=[NightRead.of(run) for run in list_nights(session, limit)])


@router.post("/nights", operation_id="begin_night", status_code=202)
def post_night(
    body: Annotated[NightIn, Body(default_factory=NightIn)],
    caller: AdminCaller,
    session: SessionDep,
    settings: SettingsDep,
    queue: QueueDep,
) -> NightRead:
    """Let a worker learn now from what shoppers did, rather than at the time of the schedule."""
    run = begin_night(session, settings, NightAsked(caller.name, **body.model_dump()))
    session.flush()
    session.refresh(run)
    queue.nudge_after_commit(session, NIGHTLY)
    return NightRead.of(run)


@router.get("/nights/{night}", operation_id="get_night")
def get_night(night: NightName, _caller: AdminCaller, session: SessionDep) -> NightReport:
    """One night: how far each step is, and everything that was measured."""
    run = find_night(session, int(night.removeprefix("n")))
    return NightReport.whole(run, steps_of(session, run.id))


@router.post("/nights/{night}/cancel", operation_id="cancel_night")
def post_cancel(night: NightName, caller: AdminCaller, session: SessionDep) -> NightRead:
    """End a night that is under way; nothing changes by it any more."""
    return NightRead.of(cancel_night(session, int(night.removeprefix("n")), actor=caller.name))
