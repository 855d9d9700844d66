"""Generated captions over HTTP and on the command line."""

import threading
from typing import Any

import pytest
from fastapi import FastAPI
from redis import Redis
from starlette.testclient import TestClient
from typer.testing import CliRunner

from backend.catalog.captioning.budget import Budget
from backend.catalog.captioning.repository import make_current
from backend.cli import app as cli
from backend.db import session_scope
from backend.main import create_app
from backend.queue import CAPTION_DUE, INGEST_DUE
from backend.settings import Settings
from tests.catalog.captioning.conftest import SPEC, Desk, coloured
from tests.fixtures.api import Keys
from tests.fixtures.openai_server import Trouble, error_body

BAD = Trouble(400, error_body("unsupported image", "invalid_request_error"))


@pytest.fixture
def api_settings(database_url: str, redis_url: str, tmp_path: Any) -> Settings:
    """No route of these tests asks Milvus or an encoder."""
    return Settings(
        home=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        milvus_uri="http://127.0.0.1:1",
        log_level="error",
    )


@pytest.fixture
def app(api_settings: Settings) -> FastAPI:
    return create_app(api_settings)


@pytest.fixture
def some(desk: Desk) -> Desk:
    """Three products: two captioned, one picture parked."""
    for red in (1, 2, 3):
        desk.shop.put(f"p{red}", pictures=(coloured(red),))
    desk.server.troubles.append(BAD)
    assert desk.run().parked == 1
    return desk


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/captions/status"), ("GET", "/v1/captions"), ("POST", "/v1/captions:retry")]
)
def test_only_administrators_see_what_the_captioner_does(api: TestClient, keys: Keys, method: str, path: str) -> None:
    assert api.request(method, path, headers=keys.server, json={}).status_code == 403
    assert api.request(method, path, headers=keys.admin, json={}).status_code == 200


def test_status_before_anything_was_captioned(api: TestClient, keys: Keys) -> None:
    status = api.get("/v1/captions/status", headers=keys.admin).json()
    assert status == {"current": None, "others": [], "products_waiting": 0, "requests_today": 0}


@pytest.mark.usefixtures("some")
def test_status_lists_and_retry(api: TestClient, keys: Keys, redis_url: str) -> None:
    assert SPEC is not None
    status = api.get("/v1/captions/status", headers=keys.admin).json()
    assert status["current"]["id"] == SPEC.id
    assert status["current"]["prompts"] == SPEC.prompts
    assert status["current"]["counts"] == {"pending": 0, "ready": 2, "parked": 1}
    assert (status["products_waiting"], status["requests_today"]) == (0, 6)
    first = api.get("/v1/captions?state=ready&limit=1", headers=keys.admin).json()
    second = api.get(f"/v1/captions?state=ready&cursor={first['cursor']}", headers=keys.admin).json()
    rows = first["captions"] + second["captions"]
    assert second["cursor"] is None
    assert len({row["product_ids"][0] for row in rows}) == 2
    assert all(row["text"] == row["turns"][1]["answer"] for row in rows)
    (parked,) = api.get("/v1/captions", headers=keys.admin).json()["captions"]
    assert parked["error"] == "The captioner answered 400: unsupported image"
    again = api.post("/v1/captions:retry", headers=keys.admin, json={"content_hashes": [parked["content_hash"]]})
    assert again.json() == {"retried": 1}
    assert Redis.from_url(redis_url).exists(f"nudge:{CAPTION_DUE}")
    assert api.post("/v1/captions:retry", headers=keys.admin, json={}).json() == {"retried": 0}
    assert api.post("/v1/captions:retry", headers=keys.admin, json={"content_hashes": ["x"]}).status_code == 422
    assert api.get("/v1/captions?cursor=x", headers=keys.admin).status_code == 422


def test_a_product_shows_its_generated_caption(api: TestClient, keys: Keys, some: Desk) -> None:
    shown = [api.get(f"/v1/products/p{red}", headers=keys.storefront).json()["captions"] for red in (1, 2, 3)]
    assert sorted(shown) == sorted([some.texts(f"p{red}") for red in (1, 2, 3)])
    assert sum(map(len, shown)) == 2


@pytest.fixture
def command(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> CliRunner:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("MILVUS_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MORELIKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def test_commands_say_that_captioning_is_off(command: CliRunner) -> None:
    assert "Captioning is off: set MORELIKE_CAPTIONER" in command.invoke(cli, ["caption", "status"]).output
    refused = command.invoke(cli, ["caption", "generate"])
    assert refused.exit_code == 1
    assert "Captioning is off" in refused.output


def test_status_parked_and_retry(command: CliRunner, some: Desk, redis_url: str) -> None:
    status = command.invoke(cli, ["caption", "status"]).output
    assert "2 pictures are captioned, 0 wait, 1 were given up on. 6 requests were sent today." in status
    parked = command.invoke(cli, ["caption", "parked"]).output
    assert "unsupported image" in parked
    assert "1 pictures will be asked about again." in command.invoke(cli, ["caption", "retry"]).output
    assert Redis.from_url(redis_url).exists(f"nudge:{CAPTION_DUE}")
    assert some.run().captioned == 1


def test_generate_ends_a_pause_and_waits_until_all_is_said(command: CliRunner, some: Desk, redis_url: str) -> None:
    some.execute("UPDATE captioners SET paused_until = now() + interval '1 h', reason = 'the server was away'")
    assert "Paused until" in command.invoke(cli, ["caption", "status"]).output
    done = command.invoke(cli, ["caption", "generate"])
    assert done.exit_code == 0, done.output
    assert "3/3" in done.output
    assert "Paused" not in done.output
    assert Redis.from_url(redis_url).exists(f"nudge:{CAPTION_DUE}")


def test_generate_leaves_when_the_captioner_pauses_and_says_why(command: CliRunner, some: Desk) -> None:
    some.shop.put("p9", pictures=(coloured(9),))
    worker = threading.Timer(1.0, lambda: some.run(key="sk-wrong", budget=Budget(backoff_s=60)))
    worker.start()
    done = command.invoke(cli, ["caption", "generate"])
    worker.join()
    assert done.exit_code == 0, done.output
    assert "Paused until" in done.output
    assert "Incorrect API key provided." in done.output
    assert command.invoke(cli, ["caption", "generate", "--no-wait"]).exit_code == 0


def test_remove_takes_a_captioner_that_is_not_in_use_out_of_the_catalogue(
    command: CliRunner, some: Desk, redis_url: str
) -> None:
    assert SPEC is not None
    refused = command.invoke(cli, ["caption", "remove", SPEC.id])
    assert "this captioner is in use" in refused.output
    with session_scope(some.sessions) as session:
        make_current(session, None, 1)
    done = command.invoke(cli, ["caption", "remove", SPEC.id])
    assert f"Captions of {SPEC.id} are removed from 2 products." in done.output
    assert some.texts("p1") + some.texts("p2") + some.texts("p3") == []
    assert Redis.from_url(redis_url).exists(f"nudge:{INGEST_DUE}")
    assert command.invoke(cli, ["caption", "remove", SPEC.id]).exit_code == 1


@pytest.mark.usefixtures("command")
def test_the_doctor_says_how_far_captions_are_and_what_stops_them(some: Desk) -> None:
    from backend.commands.doctor import _captions

    settings = Settings()
    (well,) = _captions(settings)
    assert well.well
    assert "2 pictures captioned, 0 wait" in well.fact
    assert "1 were given up on" in well.advice
    some.execute("UPDATE captioners SET paused_until = now() + interval '1 h', reason = 'the server was away'")
    (paused,) = _captions(settings)
    assert not paused.well
    assert "paused: the server was away" in paused.fact
    with session_scope(some.sessions) as session:
        make_current(session, None, 1)
    assert list(_captions(settings)) == []
