"""``morelike webhook``: lists, shows and replays deliveries of the stack it finds."""

import json

import pytest
from pydantic import SecretStr
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from backend.catalog.webhooks.inbox import Inbox, SignatureWrong, secrets_by_source
from backend.catalog.webhooks.models import Delivery
from backend.cli import app
from backend.db import connect, session_scope
from backend.settings import Settings
from tests.catalog.webhooks.recorded import in_hex

SECRET = "0123456789abcdef"


@pytest.fixture
def stack(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("MILVUS_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("COLUMNS", "200")
    secrets = secrets_by_source(Settings(webhook_secret=SecretStr(SECRET)))
    assert secrets == {"generic": (SECRET,)}
    return Inbox(connect(database_url, single_statements=True), secrets)


def test_deliveries_are_listed_shown_and_replayed(stack: Inbox, sessions: sessionmaker[Session]) -> None:
    body = b'{"id": "p1", "title": "T"}'
    stack.take("generic", {"x-morelike-signature": in_hex(body, SECRET), "x-morelike-topic": "saved"}, body)
    with pytest.raises(SignatureWrong):
        stack.take("generic", {}, body)
    listed = CliRunner().invoke(app, ["webhook", "list"])
    assert listed.exit_code == 0, listed.output
    assert "saved" in listed.output
    assert "1 rejected, 1 waiting" in listed.output or "1 waiting, 1 rejected" in listed.output
    only = CliRunner().invoke(app, ["webhook", "list", "--verdict", "rejected", "--source", "generic", "--limit", "5"])
    assert "saved" not in only.output
    shown = CliRunner().invoke(app, ["webhook", "show", "1"])
    assert json.loads(shown.output)["body"] == body.decode()
    with session_scope(sessions) as session:
        session.get_one(Delivery, 1).verdict = "parked"
    replayed = CliRunner().invoke(app, ["webhook", "replay", "--verdict", "parked"])
    assert replayed.output == "1 deliveries will be applied again.\n"
    assert CliRunner().invoke(app, ["webhook", "replay", "1"]).output == "1 deliveries will be applied again.\n"


@pytest.mark.parametrize(
    "arguments", [["replay"], ["replay", "1", "--verdict", "parked"], ["list", "--verdict", "lost"]]
)
@pytest.mark.usefixtures("stack")
def test_what_cannot_be_meant_is_one_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app(["webhook", *arguments])
    assert "Expected: " in capsys.readouterr().err
