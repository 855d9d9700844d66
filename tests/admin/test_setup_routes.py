"""The setup page and its checklist through the real API."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.access.callers import Scope
from backend.access.keys import create_key, revoke_key
from backend.access.provided import lookup
from backend.admin.pages import STATIC
from backend.blobs import BlobStore
from backend.catalog.models import ImportRun
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn
from backend.catalog.webhooks.models import Delivery
from backend.db import session_scope
from backend.events.models import Event, EventCount, RefusedEvent, ServedList
from backend.events.query_ids import new_query_id
from backend.experiments.models import Experiment, Layer
from backend.main import create_app
from backend.queue import Queue
from backend.settings import Settings
from tests.fixtures.api import SHOP, Keys
from tests.fixtures.components import free_port


def test_the_page_needs_no_key_and_runs_nothing_that_others_sent(api: TestClient) -> None:
    answer = api.get("/setup")
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    for way in ("<script>", "onclick", "style=", "http://", "https://"):
        assert way not in answer.text


def test_every_file_of_the_page_is_there_and_nothing_else(api: TestClient) -> None:
    for path in STATIC.iterdir():
        assert api.get(f"/setup/{path.name}").status_code == 200
    for name in ("routes.py", "..%2Froutes.py", "%2e%2e/routes.py", "nothing.js"):
        assert api.get(f"/setup/{name}").status_code == 404


def test_markup_is_never_made_from_text_and_nothing_comes_from_elsewhere() -> None:
    for path in STATIC.glob("*.js"):
        source = path.read_text("utf-8")
        for way in (".innerHTML =", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in source, f"{path.name} uses {way}"
    for path in STATIC.glob("*.css"):
        assert "url(" not in Path(path).read_text("utf-8")
        assert "@import" not in Path(path).read_text("utf-8")


@pytest.mark.parametrize("key", ["storefront", "server"])
def test_the_checklist_is_for_administrators(api: TestClient, keys: Keys, key: str) -> None:
    assert api.get("/v1/setup").status_code == 401
    assert api.get("/v1/setup", headers=getattr(keys, key)).status_code == 403


def test_the_checklist_says_what_is_there_and_what_is_missing(
    api: TestClient, app: FastAPI, keys: Keys, sessions: sessionmaker[Session], stocked: list[str]
) -> None:
    demo = ProductIn.model_validate({"id": "demo-00001", "title": "Toy"})
    with session_scope(sessions) as session:
        upsert_products(session, [demo], blobs=lookup(app, BlobStore))
        gone = create_key(session, name="old", scope=Scope.ADMIN)
        revoke_key(session, gone.row.id)
    found = api.get("/v1/setup", headers=keys.admin).json()
    checks = {check["id"]: check for check in found["checklist"]}
    assert sum(found["counts"].values()) == len(checks)
    assert found["serving"]["encoder"].startswith("tiny")
    assert checks["encoder"]["state"] == "done"
    assert found["catalogue"]["products"] == len(stocked) + 1
    assert found["catalogue"]["of_the_demo"] == 1
    assert found["catalogue"]["images"] == {"pending": 0, "ready": len(stocked), "parked": 0}
    assert found["index"]["vectors"] > len(stocked)
    assert checks["worker"]["state"] == "problem"  # none runs in this test
    assert checks["page_key"]["state"] == "done"
    assert SHOP in checks["page_key"]["fact"]
    assert {key["scope"] for key in found["keys"]} == {"storefront", "server", "admin"}
    assert "old" not in {key["name"] for key in found["keys"]}
    assert found["shop"] is None
    assert {one["source"] for one in found["webhooks"]} >= {"shopify", "woocommerce", "generic"}
    shown = keys.admin["Authorization"].split()[1]
    assert shown not in api.get("/v1/setup", headers=keys.admin).text


def test_an_empty_installation_has_a_checklist_too(api: TestClient, keys: Keys) -> None:
    found = api.get("/v1/setup", headers=keys.admin).json()
    assert found["serving"] is None
    assert {check["id"]: check["state"] for check in found["checklist"]}["encoder"] == "problem"


def test_a_broker_that_is_down_is_a_finding_and_holds_nothing_up() -> None:
    begun = time.perf_counter()
    assert Queue(f"redis://127.0.0.1:{free_port()}/0").has_worker() is None
    assert time.perf_counter() - begun < 60, "it tries again and again"


def test_the_last_comparison_with_the_shop_and_the_days_deliveries_are_read(
    api_settings: Settings, keys: Keys, sessions: sessionmaker[Session]
) -> None:
    now = datetime.now(UTC)
    with session_scope(sessions) as session:
        for counts, began in (({"created": 9}, now - timedelta(days=1)), ({"created": 2, "skipped": 7}, now)):
            run = {"source": "https://shop.example", "format": "shopify", "mode": "reconcile", "counts": counts}
            session.add(ImportRun(**run, started_at=began, finished_at=began))
        for number, (verdict, age) in enumerate((("applied", 1), ("rejected", 0), ("applied", 30), ("parked", 2))):
            row = {"source": "shopify", "key": str(number), "body_hash": "", "topic": "products/update", "size": 1}
            session.add(Delivery(**row, verdict=verdict, received_at=now - timedelta(hours=age)))
    settings = api_settings.model_copy(
        update={
            "shop_url": "https://shop.example",
            "public_url": "https://s.example/",
            "webhook_secret": SecretStr("x"),
        }
    )
    with TestClient(create_app(settings), client=("203.0.113.9", 50000)) as client:
        found = client.get("/v1/setup", headers=keys.admin).json()
    assert found["shop"]["last_counts"] == {"created": 2}
    assert found["shop"]["last_finished"]
    hooks = {one["source"]: one for one in found["webhooks"]}
    assert hooks["shopify"]["last_day"] == {"applied": 1, "rejected": 1, "parked": 1}
    assert datetime.fromisoformat(hooks["shopify"]["last_at"]) == now - timedelta(hours=1)
    assert hooks["generic"]["url"] == "https://s.example/v1/webhooks/generic"
    assert [one["has_secret"] for one in (hooks["generic"], hooks["shopify"])] == [True, False]


def test_what_came_from_shoppers_is_counted_and_the_newest_stand_first(
    api: TestClient, keys: Keys, sessions: sessionmaker[Session]
) -> None:
    now = datetime.now(UTC)
    with session_scope(sessions) as session:
        plant_events(session, now)
    found = api.get("/v1/setup", headers=keys.admin).json()
    events = found["events"]
    assert events["last_day"] == {"accepted": 9, "rejected": 2}
    assert events["refused"] == {"invalid": 2}
    assert events["types"] == {"click": 4, "exposure": 1, "search": 1}  # not the program's, nor a refinement's own
    assert events["attributed"] == 0.75  # of four: two given, one joined and one without; one waits for its list
    assert (events["pending"], events["bots"], events["searches"], events["randomised"]) == (1, 1, 2, 1)
    assert found["exploration"]["share"] == 0.0  # as the tests are set
    assert 0 < found["exploration"]["of_a_list"] < 0.1
    assert [(one["id"], one["arms"], round(one["traffic"], 3)) for one in found["experiments"]] == [
        ("e7", ["control", "g8"], 0.1)
    ]
    assert "problem" not in {c["id"]: c["state"] for c in found["checklist"] if c["id"] in ("events", "attributed")}


def test_the_last_events_are_shown_with_why_they_were_refused(
    api: TestClient, keys: Keys, sessions: sessionmaker[Session]
) -> None:
    with session_scope(sessions) as session:
        plant_events(session, datetime.now(UTC))
    seen = api.get("/v1/events", headers=keys.admin).json()["events"]
    assert [one["verdict"] for one in seen[:2]] == ["rejected", "accepted"]
    assert [one["received_at"] for one in seen] == sorted((one["received_at"] for one in seen), reverse=True)
    assert "refine" not in {one["source"] for one in seen}
    refused = api.get("/v1/events?verdict=rejected&limit=1", headers=keys.admin).json()["events"]
    assert [(one["code"], one["payload"]) for one in refused] == [("invalid", '{"type": "klick"}')]
    assert len(api.get("/v1/events?verdict=accepted&limit=3", headers=keys.admin).json()["events"]) == 3
    assert api.get("/v1/events", headers=keys.server).status_code == 403


def plant_events(session: Session, now: datetime) -> None:
    """A day's events: of lists known, joined, missing and awaited, of a program, of yesterday, and a refused one."""
    kinds = [("click", "given"), ("click", "joined"), ("exposure", "given"), ("click", "none"), ("click", "pending")]
    rows: list[dict[str, Any]] = [{"type": kind, "attribution": known, "product_id": "p1"} for kind, known in kinds]
    rows += [{"type": "search", "attribution": "none"}, {"type": "click", "product_id": "p1", "is_bot": True}]
    rows += [{"type": "like", "source": "refine"}, {"type": "click", "received_at": now - timedelta(hours=30)}]
    for number, row in enumerate(rows):
        at = row.get("received_at", now - timedelta(seconds=number + 1))
        more = {"received_at": at, "received_on": at.date(), "occurred_at": at, "message_id": f"m{number}"}
        session.add(Event(**{"source": "client", **row, **more}))
    session.add(
        RefusedEvent(code="invalid", detail="type: found 'klick'", payload='{"type": "klick"}', received_at=now)
    )
    for hours, status, code, n in ((0, "accepted", "", 9), (0, "rejected", "invalid", 2), (30, "accepted", "", 7)):
        session.add(EventCount(hour=now - timedelta(hours=hours), status=status, code=code, n=n))
    for coins in ({}, {"coins": {"kind": "pair"}}):
        served = {"query_id": new_query_id(now), "generation_id": 1, "request": {}, "total": 0, "total_is": "exact"}
        session.add(ServedList(**served, **coins, served_on=now.date()))
    session.merge(Layer(name="ranker", salt="x"))
    session.flush()
    arms = [{"name": name, "weight": 1, "generation_id": None} for name in ("control", "g8")]
    same = {"layer": "ranker", "method": "ab", "metric": "m", "entry_salt": "a", "arm_salt": "b", "arms": arms}
    for number, status in ((7, "running"), (8, "draft")):
        more = {"name": f"of {number}", "slices": [[0, 2000]], "coverage": 0.5, "status": status}
        session.add(Experiment(id=number, **same, **more))


def test_the_pages_about_learning_are_one_file(api: TestClient) -> None:
    page = api.get("/admin/learning")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    for path in ("/admin", "/admin/generations", "/admin/experiments", "/admin/nights/n1", "/admin/generations/g12"):
        assert api.get(path).text == page.text
    assert api.get("/admin/others/n1").status_code == 404


def test_one_generation_is_read_by_administrators(api: TestClient, keys: Keys, stocked: list[str]) -> None:
    assert stocked
    newest = api.get("/v1/generations", headers=keys.admin).json()["generations"][0]
    assert api.get(f"/v1/generations/{newest['id']}", headers=keys.admin).json() == newest
    assert api.get("/v1/generations/g999", headers=keys.admin).status_code == 404
    assert api.get(f"/v1/generations/{newest['id']}", headers=keys.server).status_code == 403
