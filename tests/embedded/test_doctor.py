"""The doctor names what is wrong and goes on; here with components that are not there."""

from pathlib import Path

import pytest

from backend.commands.doctor import CHECKS, Finding, _findings
from backend.settings import Settings
from tests.fixtures.components import free_port


def found(name: str, settings: Settings) -> list[Finding]:
    [check] = [check for check in CHECKS if check.__name__ == f"_{name}"]
    return list(_findings(check, settings))


@pytest.fixture
def nowhere(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path,
        port=free_port(),
        database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/none",
        redis_url=f"redis://127.0.0.1:{free_port()}/0",
        milvus_uri=f"http://127.0.0.1:{free_port()}",
        encoder=f"local-dir:{tmp_path}/none",
    )


@pytest.mark.parametrize("name", ["database", "redis", "worker", "index", "encoder", "api"])
def test_what_is_not_there_is_one_bad_line(nowhere: Settings, name: str) -> None:
    [finding] = found(name, nowhere)
    assert not finding.well
    assert finding.advice
    assert "\n" not in finding.fact


def test_the_disk_is_looked_at_before_the_home_exists(tmp_path: Path) -> None:
    [finding] = found("disk", Settings(home=tmp_path / "not" / "yet"))
    assert finding.well
    assert str(tmp_path) in finding.fact


def test_a_database_behind_is_told_from_one_up_to_date(nowhere: Settings, database_url: str, postgres_uri: str) -> None:
    [current] = found("database", nowhere.model_copy(update={"database_url": database_url}))
    assert current.well
    assert "up to date" in current.fact
    [empty] = found("database", nowhere.model_copy(update={"database_url": postgres_uri}))
    assert not empty.well
    assert "migrations behind" in empty.fact
    assert "morelike migrate" in empty.advice


def test_an_index_without_a_generation_is_said_to_have_none(
    nowhere: Settings, database_url: str, milvus_uri: str
) -> None:
    stores = {"database_url": database_url, "milvus_uri": milvus_uri}
    [finding] = found("index", nowhere.model_copy(update=stores))
    assert not finding.well
    assert "no generation is live" in finding.fact
