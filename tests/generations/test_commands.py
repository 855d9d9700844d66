"""``morelike generation`` and ``morelike encoder status``: adapters as the command line shows them."""

import pytest
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from backend.cli import app
from backend.ml.encoder import Encoder
from tests.generations.test_adapters import REFUSED, generation, kept


@pytest.fixture
def run(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, sessions: sessionmaker[Session], build: object
) -> CliRunner:
    """Over a stack whose tiny encoder is live."""
    assert sessions
    assert build
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("MILVUS_URI", "http://x:1")
    monkeypatch.setenv("COLUMNS", "240")
    return CliRunner()


def said(run: CliRunner, *words: str) -> str:
    done = run.invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_generations_are_shown_with_their_heads_and_what_keeps_them_from_going_live(
    run: CliRunner, sessions: sessionmaker[Session], tiny_encoder: Encoder
) -> None:
    kept(sessions, tiny_encoder, promote=False)
    refused = kept(sessions, tiny_encoder, gate=REFUSED)
    waiting = kept(sessions, tiny_encoder, items=5)
    listed = said(run, "generation", "list")
    assert [listed.count(word) for word in ("query_text", "item_caption", "passed", "refused")] == [2, 1, 2, 1]
    shown = said(run, "generation", "show", f"g{waiting}")
    number = generation(sessions, waiting).index_build_id
    assert f"It waits for index build {number}, which is at `create`." in shown
    assert "heads.item_image.alpha" in shown
    assert REFUSED["reasons"][0] in said(run, "generation", "show", str(refused))
    assert f"Adapting {tiny_encoder.id} (build {number}): making collections" in said(run, "encoder", "status")
    for words, why in (
        (("promote", f"g{refused}"), f"g{refused} cannot go live. {REFUSED['reasons'][0]}"),
        (("show", "g99"), "there is no generation g99"),
        (("show", "seven"), "this is no generation"),
    ):
        failed = run.invoke(app, ["generation", *words])
        assert failed.exit_code == 1
        assert why in failed.output
