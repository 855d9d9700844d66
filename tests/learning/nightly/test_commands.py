"""``morelike nightly``, ``morelike generation compare`` and ``/v1/nights``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient
from typer.testing import CliRunner

from backend.cli import app as command
from backend.commands import nightly
from backend.db import session_scope
from backend.generations.models import Generation, IndexBuild
from backend.learning.compare import compare_generations, most_apart
from backend.learning.models import NightlyRun
from backend.learning.nightly import steps
from backend.learning.nightly.begin import NightAsked, begin_night
from backend.ml.encoder import Encoder
from backend.settings import Settings
from tests.fixtures.api import Keys
from tests.fixtures.heads import query_heads
from tests.learning.nightly.planted import SENTENCE, planted
from tests.learning.shop import PlantedShop, make_live

VERDICT = {
    "passed": True,
    "route": "live",
    "chosen": "ips",
    "sentence": SENTENCE,
    "reasons": [],
    "gates": [
        {
            "id": "G0",
            "title": "The data",
            "passed": True,
            "reasons": [],
            "checks": [
                {"name": "satisfied clicks", "found": 2345.0, "expected": 2000, "passed": True, "sense": "least"},
                {
                    "name": "gain",
                    "found": 0.05,
                    "expected": 0,
                    "passed": False,
                    "sense": "least",
                    "low": -0.25,
                    "high": 0.35,
                },
            ],
            "plots": {},
        }
    ],
    "arms": [],
    "waits": [{"gate": "G4", "what": "satisfied clicks, mobile", "found": 100, "needed": 300, "per_day": 10.0}],
}


@pytest.fixture
def run(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "MILVUS_URI": "http://x:1"}
    ours = {"MORELIKE_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    for name, value in (stores | ours).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(steps, "NIGHT", planted(VERDICT))
    yield CliRunner()
    structlog.reset_defaults()


def said(run: CliRunner, *words: str) -> str:
    done = run.invoke(command, list(words))
    return done.output + str(done.exception or "")


def test_a_night_from_its_explanation_to_its_report(
    run: CliRunner, sessions: sessionmaker[Session], tiny_encoder: Encoder
) -> None:
    assert "No night has been yet." in said(run, "nightly", "report")
    assert "Nothing is live yet" in said(run, "nightly", "run", "--explain")
    make_live(sessions, tiny_encoder)
    explained = said(run, "nightly", "run", "--explain")
    assert "against g1, which is live" in explained
    assert "satisfied clicks" in explained
    assert "No night is under way." in said(run, "nightly", "cancel")
    assert f"n1: live as g2. {SENTENCE}" in said(run, "nightly", "run")
    listed = said(run, "nightly", "status")
    assert "promoted" in listed
    assert "g2" in listed
    reported = said(run, "nightly", "report", "n1")
    assert "2,345" in reported
    assert "0.05 (-0.25 to 0.35)" in reported, "what is asked is asked of an end of the interval"
    assert "20" in reported, "days until the phones' clicks are enough"
    with session_scope(sessions) as session:
        night = session.get_one(NightlyRun, 1)
        guard = {"experiment": "e4", "state": "running", "sentence": "No guardrail is breached."}
        night.report = night.report | {"guard": guard}
    assert "Guard e4, running: No guardrail is breached." in said(run, "nightly", "report")
    assert "there is no night n9" in said(run, "nightly", "report", "n9")
    assert "this is no night" in said(run, "nightly", "report", "yesterday")


def test_nights_over_http_are_for_administrators(api: TestClient, keys: Keys, stocked: list[str]) -> None:
    assert stocked
    assert api.post("/v1/nights", json={}, headers=keys.server).status_code == 403
    assert api.post("/v1/nights", json={"dry_runs": True}, headers=keys.admin).status_code == 422
    begun = api.post("/v1/nights", json={"dry_run": True}, headers=keys.admin)
    assert begun.status_code == 202
    assert (begun.json()["id"], begun.json()["state"], begun.json()["dry_run"]) == ("n1", "running", True)
    again = api.post("/v1/nights", json={}, headers=keys.admin)
    assert (again.status_code, again.json()["found"]) == (409, "n1")
    assert "morelike_night_running 1.0" in api.get("/metrics", headers=keys.admin).text
    one = api.get("/v1/nights/n1", headers=keys.admin).json()
    assert [step["state"] for step in one["steps"]] == ["pending"] * 7
    assert api.post("/v1/nights/n1/cancel", headers=keys.admin).json()["state"] == "cancelled"
    assert [night["state"] for night in api.get("/v1/nights", headers=keys.admin).json()["nights"]] == ["cancelled"]
    assert 'morelike_nights{outcome="cancelled"} 1.0' in api.get("/metrics", headers=keys.admin).text
    assert api.post("/v1/nights", headers=keys.admin).json()["id"] == "n2", "nothing need be said"
    assert api.get("/v1/nights/n7", headers=keys.admin).status_code == 404


def test_generations_are_compared_by_stored_vectors(
    sessions: sessionmaker[Session], tiny_encoder: Encoder, tmp_path: Path
) -> None:
    shop = PlantedShop(120)
    make_live(sessions, tiny_encoder)
    shop.stock(sessions, tiny_encoder)
    with session_scope(sessions) as session:
        heads = query_heads(tiny_encoder.id, tiny_encoder.dim, seed=3)
        build = session.query(IndexBuild.id).scalar()
        other = Generation(index_build_id=build, query_heads=heads, calibration={}, code_version="1", state="ready")
        session.add(other)

    def encode(texts: "list[str]") -> object:
        return shop.captions[: len(list(texts))]

    def compared(one: int, two: int) -> object:
        return compare_generations(
            sessions, (one, two), lambda _: encode, tmp_path / f"{one}{two}", lambda *_: None, queries=20
        )

    same, apart = compared(1, 1), compared(1, 2)
    assert same.overlap.min() == 1
    assert same.first[0] == same.first[1]
    assert same.findings[0] == same.findings[1]
    assert same.findings[0].recall > 0.9, "captions find their pictures"
    assert apart.overlap.mean() < 0.9
    assert apart.findings[1].recall < apart.findings[0].recall
    (worst,) = most_apart(apart, 1)
    assert apart.overlap[worst] == apart.overlap.min()


def test_commands_name_what_they_are_about() -> None:
    assert nightly.number_of("n7") == nightly.number_of("7") == 7


def test_a_dry_run_takes_up_no_night_that_would_change_something(
    run: CliRunner, sessions: sessionmaker[Session], tiny_encoder: Encoder
) -> None:
    make_live(sessions, tiny_encoder)
    with session_scope(sessions) as session:
        begin_night(session, Settings(), NightAsked("somebody"))
    assert "Found: n1. Expected: `morelike nightly cancel`" in said(run, "nightly", "run", "--dry-run")
    assert "not the one that is asked for" in said(run, "nightly", "run", "--seed", "3")
    with session_scope(sessions) as session:
        assert [one.state for one in session.query(Generation)] == ["live"]
    assert "n1: live as g2." in said(run, "nightly", "run")


@pytest.mark.parametrize(
    "words",
    [
        ("report", "n99999999999999999999"),
        ("report", "seven"),
    ],
)
def test_what_cannot_be_asked_for_is_a_sentence(
    words: tuple[str, ...], run: CliRunner, sessions: sessionmaker[Session], tiny_encoder: Encoder
) -> None:
    make_live(sessions, tiny_encoder)
    done = run.invoke(command, ["nightly", *words])
    assert isinstance(done.exception, SystemExit)
    assert "Found: " in done.output
    assert "Expected: " in done.output
