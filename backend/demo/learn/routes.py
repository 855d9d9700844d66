"""HTTP of ``/demo/learn``: the page, and what it asks for. Only a server that shows the demo has it."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from backend.access.callers import Caller, Scope
from backend.access.dependencies import AdminCaller, SessionsDep, SettingsDep, StorefrontCaller
from backend.access.provided import provided
from backend.assets import Asset, Packing, SeenTag, asset, send, send_page
from backend.demo.learn.lists import Lists
from backend.demo.learn.play import Player
from backend.demo.learn.scenarios import scenario
from backend.demo.learn.showing import state
from backend.errors import Forbidden, NotFound
from backend.search.answers import as_json

STATIC = Path(__file__).parent / "static"

PlayerDep = Annotated[Player, Depends(provided(Player))]
ListsDep = Annotated[Lists, Depends(provided(Lists))]


class NoDemo(NotFound):
    """This server shows a shop, not the demo."""

    title = "No demo here"


class NoSuchFile(NotFound):
    """The page has no file of this name."""

    title = "No such file"


def _shows_demo(settings: SettingsDep) -> None:
    if not settings.demo:
        raise NoDemo("this server does not show the demo", expected="`make run`, or MORELIKE_DEMO=1 on this machine")


def _may_play(caller: StorefrontCaller) -> Caller:
    """Whoever may see what administrators see: a crowd and a night change what this server serves."""
    if not caller.may(Scope.ADMIN, "GET"):
        raise Forbidden("nights are played by who sits at this machine", found=caller.scope, expected="an admin key")
    return caller


router = APIRouter(prefix="/demo/learn", include_in_schema=False, dependencies=[Depends(_shows_demo)])


@cache
def page_files() -> dict[str, Asset]:
    """The files by the name they are served under."""
    return {path.name: asset(path.read_bytes(), path.suffix.removeprefix(".")) for path in sorted(STATIC.iterdir())}


@router.get("")
def page(seen: SeenTag = None, packing: Packing = "") -> Response:
    """The page."""
    return send_page(page_files()["learn.html"], seen, packing)


@router.get("/files/{name}")
def page_file(name: str, seen: SeenTag = None, packing: Packing = "") -> Response:
    """A file of the page."""
    found = page_files().get(name)
    if found is None:
        raise NoSuchFile("the page has no such file", found=name, expected=sorted(page_files()))
    return send(found, seen, packing)


class NightWanted(BaseModel):
    """The next night of a scenario."""

    scenario: str
    afresh: bool = False
    shoppers: int | None = Field(None, ge=1, le=5000)


@router.get("/state")
def get_state(
    _caller: AdminCaller,
    player: PlayerDep,
    lists: ListsDep,
    sessions: SessionsDep,
    name: Annotated[str | None, Query(alias="scenario")] = None,
    since: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """How far everything is: what the page draws."""
    return as_json(state(player, lists, sessions, name, since))


@router.get("/results")
def get_results(
    _caller: AdminCaller,
    lists: ListsDep,
    name: Annotated[str, Query(alias="scenario")],
    generation: Annotated[int, Query(ge=1)],
    text: Annotated[str, Query(min_length=1, max_length=200)],
) -> Response:
    """A search as one generation serves it; nothing of it is recorded."""
    return as_json(lists.page(scenario(name), generation, text))


@router.post("/nights", status_code=202)
def play_night(
    _caller: Annotated[Caller, Depends(_may_play)], player: PlayerDep, wanted: NightWanted
) -> dict[str, Any]:
    """Let the crowd of a scenario come, and the night after it."""
    play = player.start(wanted.scenario, afresh=wanted.afresh, shoppers=wanted.shoppers)
    return {"scenario": play.scenario, "night": len(play.nights) + 1}


@router.post("/stop", status_code=202)
def stop(_caller: Annotated[Caller, Depends(_may_play)], player: PlayerDep) -> dict[str, Any]:
    """Send the crowd home."""
    player.stop()
    return {}
