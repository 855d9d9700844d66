"""Index builds as people ask for them: begun once at a time, kept by what uses them, given up and dropped."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.db import session_scope
from backend.errors import Conflict
from backend.generations.builds import BuildInUse, drop_build, uses
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.generations.promote import go_live, roll_back
from tests.fixtures.api import Keys

WINDOW = timedelta(hours=1)


def another(session: Session, state: str = "ready") -> tuple[int, int]:
    """A second build of the same encoder with a generation; numbers of both."""
    first = session.scalars(select(IndexBuild).order_by(IndexBuild.id)).first()
    assert first is not None
    build = IndexBuild(encoder_id=first.encoder_id, image_collection="i2", caption_collection="c2", state="ready")
    session.add(build)
    session.flush()
    generation = Generation(index_build_id=build.id, calibration={}, code_version="1", state=state)
    session.add(generation)
    session.flush()
    return build.id, generation.id


@pytest.mark.usefixtures("build")
def test_rollback_undoes_the_last_choice_and_a_second_one_has_nothing_to_undo(sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions) as session:
        first = session.scalars(select(Generation.id)).one()
        _, second = another(session)
        go_live(session, second, actor="test")
    with session_scope(sessions) as session:
        assert roll_back(session, actor="test", from_id=second) == first
    with pytest.raises(Conflict, match="only the live"), session_scope(sessions) as session:
        roll_back(session, actor="test", from_id=second)
    with pytest.raises(Conflict, match="nothing to go back to"), session_scope(sessions) as session:
        roll_back(session, actor="test")


@pytest.mark.usefixtures("build")
def test_retired_generation_keeps_its_build_for_the_window_and_no_longer(sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions) as session:
        first = session.scalars(select(Generation)).one()
        second_build, second = another(session)
        go_live(session, second, actor="test")
    with session_scope(sessions) as session:
        kept = uses(session, WINDOW)
        assert [(use.generation, use.state) for use in kept[first.index_build_id]] == [(first.id, "retired")]
        assert kept[first.index_build_id][0].until is not None
        assert uses(session, timedelta(0)).keys() == {second_build}


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize(("state", "forget", "dropped"), [("ready", False, False), ("ready", True, True)])
def test_build_in_use_is_dropped_only_when_its_generations_are_given_up(
    sessions: sessionmaker[Session], state: str, forget: bool, dropped: bool
) -> None:
    with session_scope(sessions) as session:
        number, generation = another(session, state)
    if not dropped:
        with pytest.raises(BuildInUse, match="forget"), session_scope(sessions) as session:
            drop_build(session, number, window=WINDOW, actor="test", forget=forget)
        return
    with session_scope(sessions) as session:
        assert drop_build(session, number, window=WINDOW, actor="test", forget=forget).state == "dropped"
        assert session.get_one(Generation, generation).state == "rejected"


def test_live_build_is_never_dropped(sessions: sessionmaker[Session], build: object) -> None:
    for forget in (False, True):
        with pytest.raises(BuildInUse, match="is live"), session_scope(sessions) as session:
            drop_build(session, build.id, window=WINDOW, actor="test", forget=forget)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("stocked")
def test_switch_over_http_is_asked_for_shown_and_given_up(
    api: TestClient, keys: Keys, tmp_path: Path, sessions: sessionmaker[Session]
) -> None:
    asked = api.post("/v1/builds", headers=keys.admin, json={"encoder": f"local-dir:{tmp_path}/other"})
    assert asked.status_code == 202, asked.text
    assert (asked.json()["state"], asked.json()["step"], asked.json()["encoder"]) == ("building", "open", None)
    again = api.post("/v1/builds", headers=keys.admin, json={"encoder": "demo"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:morelike:problem:build-running")
    running, live = api.get("/v1/builds", headers=keys.admin).json()["builds"]
    assert (running["id"], running["live"], running["promote"]) == (asked.json()["id"], False, True)
    assert (live["live"], live["progress"]) == (True, {"products": 4, "total": 4})
    assert live["used_by"] == [{"generation": "g1", "state": "live", "until": None, "pinned": []}]
    assert api.delete(f"/v1/builds/{running['id']}", headers=keys.admin).json()["state"] == "dropped"
    assert api.delete(f"/v1/builds/{live['id']}", headers=keys.admin).status_code == 409
    assert api.delete("/v1/builds/99", headers=keys.admin).status_code == 404
    with session_scope(sessions) as session:
        source = session.scalars(select(EncoderRecord.source)).one()
    refused = api.post("/v1/builds", headers=keys.admin, json={"encoder": source})
    assert (refused.status_code, refused.json()["detail"]) == (409, "this encoder is live already")


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize(
    "source", ["local-dir:relative", "no-such-model:x", "ViT-B-32:no-such-tag", "local-dir:/a\0b", "x"]
)
def test_source_that_names_nothing_is_refused(api: TestClient, keys: Keys, source: str) -> None:
    answer = api.post("/v1/builds", headers=keys.admin, json={"encoder": source})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:morelike:problem:source-unknown"), answer.text


@pytest.mark.usefixtures("stocked")
def test_generations_are_promoted_and_rolled_back_over_http(
    api: TestClient, keys: Keys, sessions: sessionmaker[Session]
) -> None:
    with session_scope(sessions) as session:
        _, second = another(session)
    promoted = api.post(f"/v1/generations/g{second}/promote", headers=keys.admin).json()
    assert promoted == {"live": f"g{second}", "guard": None}
    newest = api.get("/v1/generations", headers=keys.admin).json()["generations"][0]
    assert (newest["id"], newest["state"], newest["replaced"]) == (f"g{second}", "live", "g1")
    assert api.post("/v1/generations/g1/rollback", headers=keys.admin).status_code == 409
    assert api.post(f"/v1/generations/{second}/rollback", headers=keys.admin).json() == {"live": "g1"}
    for action in ("promote", "rollback"):
        assert api.post(f"/v1/generations/g999/{action}", headers=keys.admin).status_code == 404
        assert api.post(f"/v1/generations/g1/{action}", headers=keys.server).status_code == 403
