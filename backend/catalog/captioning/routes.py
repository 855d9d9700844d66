"""Generated captions over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body, Query

from backend.access.dependencies import AdminCaller, QueueDep, SessionDep
from backend.catalog.captioning.repository import caption_status, list_captions, retry_captions
from backend.catalog.captioning.schemas import (
    HASH,
    CaptionPage,
    CaptionRetry,
    CaptionsRetried,
    CaptionState,
    CaptionStatus,
)
from backend.queue import CAPTION_DUE

router = APIRouter(tags=["captions"])


@router.get("/v1/captions/status", operation_id="caption_status")
def read_status(_caller: AdminCaller, session: SessionDep) -> CaptionStatus:
    """The captioner in use, how many pictures it has captioned, and what holds it up."""
    return caption_status(session)


@router.get("/v1/captions", operation_id="list_captions")
def read_captions(
    _caller: AdminCaller,
    session: SessionDep,
    state: Annotated[CaptionState, Query(description="How far the pictures got.")] = "parked",
    limit: Annotated[int, Query(ge=1, le=500, description="Most pictures listed.")] = 100,
    cursor: Annotated[
        str, Query(pattern="^([0-9a-f]{64})?$", description="Cursor of the page before.", examples=[HASH])
    ] = "",
) -> CaptionPage:
    """Pictures by state: what the captioner in use said of each, or why it was given up on."""
    return list_captions(session, state, after=cursor, limit=limit)


@router.post("/v1/captions:retry", operation_id="retry_captions")
def try_captions_again(
    _caller: AdminCaller, session: SessionDep, queue: QueueDep, body: Annotated[CaptionRetry, Body()]
) -> CaptionsRetried:
    """Make parked pictures due again, as if they had never been tried, and end a pause."""
    retried = retry_captions(session, body.content_hashes)
    queue.nudge_after_commit(session, CAPTION_DUE)
    return CaptionsRetried(retried=retried)
