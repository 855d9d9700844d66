"""Export and erasure over HTTP and in a terminal."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from backend.cli import app as cli
from tests.fixtures.api import Keys
from tests.privacy.conftest import Town


@pytest.mark.parametrize("call", ["export", "erase"])
def test_it_is_for_administrators_and_for_somebody_who_is_named(api: TestClient, keys: Keys, call: str) -> None:
    address = f"/v1/shoppers/{call}"
    assert api.post(address, json={"user_id": "ann"}, headers=keys.server).status_code == 403
    for body in ({}, {"user_id": None}, {"user_id": ""}, {"email": "ann@shop.example"}):
        assert api.post(address, json=body, headers=keys.admin).status_code == 422


def test_a_shopper_is_handed_out_and_erased_over_http(api: TestClient, keys: Keys, town: Town) -> None:
    ann = {"user_id": "ann", "shopper_id": "b1"}
    found = api.post("/v1/shoppers/export", json=ann, headers=keys.admin).json()
    assert {one["request"]["text"] for one in found["lists"]} == town.kept() - {"bob's", "stranger"}
    done = api.post("/v1/shoppers/erase", json=ann, headers=keys.admin).json()
    assert done["counts"]["lists"] == len(found["lists"])
    assert done["counts"]["events"] == len(found["events"])
    left = api.post("/v1/shoppers/export", json=ann, headers=keys.admin).json()
    assert not any(left.values())
    assert api.get("/v1/erasures", headers=keys.admin).json()["erasures"] == [done]
    entry = api.get("/v1/audit", headers=keys.admin).json()["entries"][0]
    assert (entry["action"], entry["actor"]) == ("shopper_erased", "a admin key")


def test_a_shopper_is_handed_out_and_erased_in_a_terminal(
    town: Town, database_url: str, redis_url: str, milvus_uri: str, tmp_path: Path
) -> None:
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "MILVUS_URI": milvus_uri}
    runner = CliRunner(env=stores | {"MORELIKE_HOME": str(tmp_path)})
    file = tmp_path / "ann.json"
    said = runner.invoke(cli, ["shopper", "export", "--shopper-id", "b1", "--to", str(file)])
    assert "5 lists" in said.output, said.output
    assert len(json.loads(file.read_text())["lists"]) == 5
    asked = runner.invoke(cli, ["shopper", "erase", "--shopper-id", "b1"], input="n\n")
    assert "Delete 5 searches" in asked.output
    assert "home" in town.kept()
    done = runner.invoke(cli, ["shopper", "erase", "--shopper-id", "b1", "--yes"])
    assert "5 lists" in done.output
    assert "home" not in town.kept()
    assert "still holds" in runner.invoke(cli, ["shopper", "erase", "--again"]).output
    assert runner.invoke(cli, ["shopper", "erase"]).exit_code == 1
