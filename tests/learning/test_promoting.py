"""Going live by hand: with a guard where one is asked for, or then not at all."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient
from typer.testing import CliRunner

from backend.cli import app as command
from backend.db import session_scope
from backend.errors import Conflict
from backend.experiments.lifecycle import create_experiment, start_experiment
from backend.experiments.models import Experiment
from backend.experiments.schemas import ExperimentIn
from backend.generations.models import Generation
from backend.learning.promoting import promote
from backend.learning.watching import watch
from backend.settings import Settings
from tests.experiments.arms import Behaviour, Sessions, divided, make_generations
from tests.fixtures.api import Keys


@pytest.fixture(autouse=True)
def _guarding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORELIKE_GUARD_SHARE", "0.1")


def states(sessions: Sessions) -> list[str]:
    with session_scope(sessions) as session:
        return list(session.scalars(select(Generation.state).order_by(Generation.id)))


def guards(sessions: Sessions) -> list[tuple[str, str]]:
    with session_scope(sessions) as session:
        return [(one.purpose, one.status) for one in session.scalars(select(Experiment).order_by(Experiment.id))]


def by_hand(sessions: Sessions, generation: int, share: float | None) -> str | None:
    with session_scope(sessions) as session:
        guard = promote(session, generation, actor="somebody", guard_share=share)
        return guard and f"e{guard.id}"


def test_what_somebody_makes_live_with_a_guard_is_rolled_back_where_it_harms(sessions: Sessions) -> None:
    _, new = make_generations(sessions, ("live", "ready"))
    name = by_hand(sessions, new, 0.1)
    assert name is not None
    assert states(sessions) == ["retired", "live"]
    with session_scope(sessions) as session:
        session.execute(update(Experiment).values(started_at=Experiment.started_at - timedelta(hours=1)))
    divided(name, {"previous": Behaviour(), "new": Behaviour(empty=0.4)}, shoppers=400, seed=5).write(sessions)
    watch(sessions, Settings())
    assert states(sessions) == ["live", "retired"]
    assert guards(sessions) == [("guard", "concluded")]


def test_without_a_guard_nothing_watches(sessions: Sessions) -> None:
    _, new = make_generations(sessions, ("live", "ready"))
    assert by_hand(sessions, new, None) is None
    assert (states(sessions), guards(sessions)) == (["retired", "live"], [])


def test_where_no_guard_can_begin_nothing_goes_live(sessions: Sessions) -> None:
    live, new = make_generations(sessions, ("live", "ready"))
    with pytest.raises(Conflict, match="guards are turned off"):
        by_hand(sessions, new, 0.0)
    with pytest.raises(Conflict, match="replaces nothing"):
        by_hand(sessions, live, 0.1)
    with session_scope(sessions) as session:
        arms = [{"name": "a"}, {"name": "b", "refine_policy": "none"}]
        asked = ExperimentIn.model_validate({"name": "own", "arms": arms, "traffic": 1})
        start_experiment(session, create_experiment(session, asked, actor="test").id, actor="test")
    with pytest.raises(Conflict, match="other experiments have the ranker layer"):
        by_hand(sessions, new, 0.1)
    assert (states(sessions), guards(sessions)) == (["live", "ready"], [("", "running")])


@pytest.mark.usefixtures("stocked")
def test_a_guard_is_asked_for_over_http(api: TestClient, keys: Keys, sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions) as session:
        build = session.query(Generation.index_build_id).scalar()
        heads = {"calibration": {}, "code_version": "1", "query_heads": b"others"}
        session.add(Generation(index_build_id=build, state="ready", **heads))
    wrong = api.post("/v1/generations/g2/promote", json={"guard": "perhaps"}, headers=keys.admin)
    assert wrong.status_code == 422
    assert api.post("/v1/generations/g2/promote", json={"guard": True}, headers=keys.server).status_code == 403
    done = api.post("/v1/generations/g2/promote", json={"guard": True}, headers=keys.admin)
    assert (done.status_code, done.json()) == (200, {"live": "g2", "guard": "e1"})
    again = api.post("/v1/generations/g2/promote", json={"guard": True}, headers=keys.admin)
    assert (again.status_code, again.json()["found"]) == (409, "g2 is live")
    assert api.post("/v1/generations/g1/promote", headers=keys.admin).json() == {"live": "g1", "guard": None}


def test_the_command_names_the_guard(
    database_url: str, redis_url: str, tmp_path: Path, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_generations(sessions, ("live", "ready"))
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "MILVUS_URI": "http://x:1"}
    for name, value in (stores | {"MORELIKE_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(command, ["generation", "promote", "g2", "--guard"])
    assert "g2 is live" in done.output
    assert "e1 guards it for 48 hours" in done.output
    assert guards(sessions) == [("guard", "running")]
