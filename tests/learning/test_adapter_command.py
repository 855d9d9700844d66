"""``morelike train adapter`` over a real PostgreSQL and Redis."""

import json
import re
from inspect import signature
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from backend.cli import app
from backend.commands.train_adapter import adapter
from backend.db import session_scope
from backend.generations.models import EncoderRecord, Generation
from backend.ml.adapter_plan import AdapterPlan
from backend.ml.encoder import Encoder
from backend.queue import ADVANCE_BUILDS
from tests.learning.shop import PlantedShop

QUICK = ["train", "adapter", "--epochs", "2", "--batch", "64", "--threads", "1", "--device", "cpu"]


@pytest.fixture
def command(
    database_url: str, redis_url: str, milvus_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CliRunner:
    """The command line, pointed at this test's stores."""
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "MILVUS_URI": milvus_uri}
    ours = {"MORELIKE_HOME": str(tmp_path / "home"), "MORELIKE_ENCODER": "local-dir:/none", "COLUMNS": "200"}
    for name, value in (stores | ours).items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def test_options_begin_where_the_plan_does() -> None:
    defaults = {name: parameter.default for name, parameter in signature(adapter).parameters.items()}
    plan = vars(AdapterPlan()) | {"which": "text", "hidden": 0}
    shared = set(defaults) & set(plan) - {"rate"}  # of which several are tried
    assert len(shared) >= 11
    assert {name: defaults[name] for name in shared} == {name: plan[name] for name in shared}


def test_nothing_live_is_a_sentence(command: CliRunner) -> None:
    result = command.invoke(app, QUICK)
    assert (result.exit_code, "Nothing is live yet" in result.output) == (1, True)


def test_a_folder_cannot_go_live(command: CliRunner, tmp_path: Path) -> None:
    result = command.invoke(app, [*QUICK, "--promote", "--out", str(tmp_path)])
    assert (result.exit_code, "A folder cannot go live" in result.output) == (1, True)


def test_what_gains_nothing_is_rejected_and_every_line_is_accounted_for(
    command: CliRunner,
    sessions: sessionmaker[Session],
    tiny_encoder: Encoder,
    encoder: EncoderRecord,
    redis_url: str,
    tmp_path: Path,
) -> None:
    assert encoder.source
    PlantedShop(200).stock(sessions, tiny_encoder)
    lines = [f"thing number {row},p{(7 * row) % 200}" for row in range(200)]  # words that say nothing of the product
    lines += [f"thing number {row},gone{row}" for row in range(25)]
    pairs, rejected = tmp_path / "pairs.csv", tmp_path / "rejected.csv"
    pairs.write_text("\n".join(["text,product", *lines]) + "\n")
    result = command.invoke(app, [*QUICK, "--pairs", str(pairs), "--rejected", str(rejected), "--promote"])
    assert result.exit_code == 0, result.output
    for said in ("25 lines were left out", "line 202: no product has", "and 5 more", "Recall@10", "Refused:"):
        assert said in result.output
    assert len(rejected.read_text().splitlines()) == 26
    (number,) = re.findall(r"g(\d+) is rejected", result.output)
    with session_scope(sessions) as session:
        made = session.get_one(Generation, int(number))
        assert (made.state, made.query_heads, made.data_range["left_out"]) == ("rejected", None, 25)
        assert made.data_range["source"] == "pairs.csv"
        assert session.scalars(select(Generation.id).where(Generation.state == "live")).one() != made.id
    assert Redis.from_url(redis_url).exists(f"nudge:{ADVANCE_BUILDS}")
    assert not list((tmp_path / "home" / "training").iterdir())
    assert not list((tmp_path / "home").glob("train-*"))


def test_the_catalogue_alone_teaches_heads_that_are_written_to_a_folder(
    command: CliRunner,
    sessions: sessionmaker[Session],
    tiny_encoder: Encoder,
    encoder: EncoderRecord,
    tmp_path: Path,
) -> None:
    assert encoder.source
    PlantedShop(250).stock(sessions, tiny_encoder)
    out = tmp_path / "heads"
    result = command.invoke(app, [*QUICK, "--which", "both", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "kept of MRR, titles" in result.output
    report = json.loads((out / "report.json").read_text())
    assert report["gate"]["queries"] == report["data"]["judged"] == 25
    assert {path.name for path in out.iterdir()} == {
        "query_heads.safetensors",
        "item_heads.safetensors",
        "report.json",
    }
    with session_scope(sessions) as session:
        assert len(session.scalars(select(Generation.id)).all()) == 1
