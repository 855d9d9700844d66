"""HTTP of the pages for administrators: the pages, and the checklist that the setup page shows."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse

from backend.access.dependencies import AdminCaller, IndexDep, QueueDep, SessionDep, SessionsDep, SettingsDep
from backend.admin.checklist import checklist, count_states
from backend.admin.event_facts import Wanted, last_events
from backend.admin.event_schemas import EventsSeen
from backend.admin.facts import gather
from backend.admin.pages import page_files
from backend.admin.schemas import Setup
from backend.assets import Packing, SeenTag, send, send_page
from backend.db import session_scope
from backend.errors import NotFound

router = APIRouter()


class NoSuchFile(NotFound):
    """The pages have no file of this name."""

    title = "No such file"


@router.get("/setup", include_in_schema=False)
def page(seen: SeenTag = None, packing: Packing = "") -> Response:
    """The setup page."""
    return send_page(page_files()["setup.html"], seen, packing)


@router.get("/setup/{name}", include_in_schema=False)
def page_file(name: str, seen: SeenTag = None, packing: Packing = "") -> Response:
    """A file of the pages for administrators."""
    found = page_files().get(name)
    if found is None:
        raise NoSuchFile("the pages have no such file", found=name, expected=sorted(page_files()))
    return send(found, seen, packing)


@router.get("/admin", include_in_schema=False)
def admin() -> RedirectResponse:
    """The pages about learning begin with the nights."""
    return RedirectResponse("/admin/learning")


@router.get("/admin/learning", include_in_schema=False)
@router.get("/admin/nights/{night}", include_in_schema=False)
@router.get("/admin/generations", include_in_schema=False)
@router.get("/admin/generations/{generation}", include_in_schema=False)
@router.get("/admin/experiments", include_in_schema=False)
@router.get("/admin/experiments/{experiment}", include_in_schema=False)
def learning_page(seen: SeenTag = None, packing: Packing = "") -> Response:
    """The pages about learning: one file, which shows what its address names."""
    return send_page(page_files()["admin.html"], seen, packing)


@router.get("/v1/setup", operation_id="get_setup", tags=["setup"])
def get_setup(
    _caller: AdminCaller, sessions: SessionsDep, settings: SettingsDep, queue: QueueDep, index: IndexDep
) -> Setup:
    """What the shop has, and what is missing, each with the exact next step."""
    worker = queue.has_worker()  # asked before a connection is taken: it may wait a second
    with session_scope(sessions) as session:
        facts = gather(session, settings, worker=worker, is_lite=index.is_lite())
    checks = checklist(facts)
    return Setup(
        checklist=checks,
        counts=count_states(checks),
        serving=facts.serving,
        index=facts.index,
        catalogue=facts.catalogue,
        webhooks=list(facts.webhooks),
        shop=facts.shop,
        keys=list(facts.keys),
        events=facts.events,
        exploration=facts.exploration,
        experiments=list(facts.experiments),
        learning=facts.learning,
    )


@router.get("/v1/events", operation_id="list_events", tags=["events"])
def list_events(
    _caller: AdminCaller,
    session: SessionDep,
    verdict: Annotated[Wanted, Query(description="Accepted ones, rejected ones, or both.")] = "all",
    limit: Annotated[int, Query(ge=1, le=200, description="Most events listed.")] = 50,
) -> EventsSeen:
    """The last events that arrived, the newest first; of those that were refused, why, and what was sent."""
    return EventsSeen(events=last_events(session, limit, verdict))
