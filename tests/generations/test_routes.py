"""Generations over HTTP: the newest first, for administrators."""

import pytest
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.db import session_scope
from backend.generations.models import Generation
from tests.fixtures.api import Keys


@pytest.mark.usefixtures("stocked")
def test_generations_are_listed_newest_first_with_their_builds(
    api: TestClient, keys: Keys, sessions: sessionmaker[Session]
) -> None:
    with session_scope(sessions) as session:
        build = session.query(Generation.index_build_id).scalar()
        session.add(Generation(index_build_id=build, calibration={}, code_version="1", state="failed"))
    answer = api.get("/v1/generations", headers=keys.admin)
    assert answer.status_code == 200
    newest, live = answer.json()["generations"]
    assert (newest["state"], live["state"]) == ("failed", "live")
    assert newest["build"] == live["build"] == build
    assert live["encoder"].startswith("tiny@")
    assert live["live_at"] is not None
    assert len(api.get("/v1/generations?limit=1", headers=keys.admin).json()["generations"]) == 1


@pytest.mark.usefixtures("stocked")
def test_refused_generation_says_why_in_the_list_and_to_whoever_promotes_it(
    api: TestClient, keys: Keys, sessions: sessionmaker[Session]
) -> None:
    why = ["MRR gains +0.001 (-0.004 to +0.006); expected an interval above 0."]
    with session_scope(sessions) as session:
        build = session.query(Generation.index_build_id).scalar()
        report = {"adapter": {"passed": False, "reasons": why}}
        refused = Generation(
            index_build_id=build, calibration={}, code_version="1", state="rejected", gate_report=report
        )
        session.add(refused)
    newest, live = api.get("/v1/generations", headers=keys.admin).json()["generations"]
    assert (newest["gate_passed"], newest["reasons"], newest["heads"]) == (False, why, {})
    assert (live["gate_passed"], live["reasons"]) == (None, [])
    answer = api.post(f"/v1/generations/g{refused.id}/promote", headers=keys.admin)
    assert (answer.status_code, answer.json()["reasons"]) == (409, why)
    assert why[0] in answer.json()["detail"]


@pytest.mark.parametrize("scope", ["storefront", "server"])
def test_generations_are_for_administrators(scope: str, api: TestClient, keys: Keys) -> None:
    assert api.get("/v1/generations", headers=getattr(keys, scope)).status_code == 403
    assert api.get("/v1/generations").status_code == 401
