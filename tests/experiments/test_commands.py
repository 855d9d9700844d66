"""``morelike experiment``, from a file to a decision."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backend.cli import app as command


@pytest.fixture(autouse=True)
def stores(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("DATABASE_URL", database_url), ("REDIS_URL", "redis://x"), ("MILVUS_URI", "http://x:1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MORELIKE_EXPLORATION_SHARE", "0.05")
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(command, ["experiment", *arguments], catch_exceptions=True)
    return done.output + str(done.exception or "")


def test_an_experiment_from_a_file_to_a_decision(tmp_path: Path) -> None:
    file = tmp_path / "cards.json"
    file.write_text(json.dumps({"name": "cards", "layer": "ui", "arms": [{"name": "small"}, {"name": "large"}]}))
    made = json.loads(run("create", str(file)))
    assert (made["id"], made["status"], made["estimate"]["days"]) == ("e1", "draft", None)
    assert json.loads(run("override", "e1", "large", "--shopper", "a7"))["status"] == "draft"
    assert "once it has run" in run("results", "e1")
    assert "a tester is named by one id" in run("override", "e1", "large")
    assert json.loads(run("start", "e1"))["slices"] == [[0, 10_000]]
    assert "only grows" in run("ramp", "e1", "--coverage", "0.5")
    assert "cards" in run("list")
    assert json.loads(run("results", "e1"))["verdict"]["state"] == "undecided"
    ended = json.loads(run("conclude", "e1", "--winner", "large", "--note", "more clicks"))
    assert (ended["status"], ended["decision"]["winner"]) == ("concluded", "large")
    assert json.loads(run("show", "e1")) == ended
    assert "e1 is concluded" in run("stop", "e1")


def test_what_cannot_be_an_experiment_is_said_by_field(tmp_path: Path) -> None:
    file = tmp_path / "wrong.json"
    file.write_text('{"name": "x", "traffic": 2, "arms": [{"name": "a"}]}')
    said = run("create", str(file))
    assert "traffic: found 2" in said
    assert "arms" in said
    for name in ("three", "e²", f"e{10**20}"):
        assert "names no experiment" in run("show", name)
    assert "no such experiment" in run("show", "e9")


def test_the_share_that_explores_is_shown_and_changed() -> None:
    assert json.loads(run("explore"))["actor"] is None
    assert json.loads(run("explore", "--share", "0.02"))["share"] == 0.02
    assert json.loads(run("explore"))["share"] == 0.02
    assert "this is no share" in run("explore", "--share", "2")
