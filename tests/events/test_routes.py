"""`POST /v1/events`: a verdict on each event, and each event once."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.db import session_scope
from backend.events.models import Event
from backend.events.schemas import BYTES_MAX, EVENTS_MAX
from tests.events.conftest import LIST
from tests.fixtures.api import SHOP, Keys

_numbers = count(1)


def event(type_: str = "click", **more: Any) -> dict[str, Any]:
    said = {"message_id": f"m{next(_numbers)}", "type": type_, "query_id": LIST, "product_id": "p1"} | more
    return {name: value for name, value in said.items() if value is not None}


@pytest.fixture
def send(client: TestClient, shared_keys: Keys) -> Any:
    def sent(*events: Any, body: Any = None, expected: int = 202) -> Any:
        answer = client.post("/v1/events", json=list(events) if body is None else body, headers=shared_keys.storefront)
        assert answer.status_code == expected, answer.text
        return answer.json()

    return sent


@pytest.fixture
def kept(shared_sessions: sessionmaker[Session]) -> Any:
    def find(message_id: str) -> Event:
        with session_scope(shared_sessions) as session:
            return session.scalars(select(Event).filter_by(message_id=message_id)).one()

    return find


@pytest.mark.parametrize(
    ("said", "value", "dwell_ms"),
    [
        ({"type_": "click"}, None, None),
        ({"type_": "return", "dwell_ms": 900}, None, 900),
        ({"type_": "dwell", "dwell_ms": 12_345}, None, 12_345),
        ({"type_": "like"}, 1.0, None),
        ({"type_": "like", "value": 0.5}, 0.5, None),
        ({"type_": "dislike"}, -1.0, None),
        ({"type_": "rating", "stars": 2}, -0.5, None),
        ({"type_": "rating", "value": 0}, 0.0, None),
        ({"type_": "box", "image": 0, "box": [0.1, 0.2, 0.5, 0.6], "value": -1}, -1.0, None),
    ],
)
def test_each_type_is_kept_as_it_is_meant(
    send: Any, kept: Any, said: dict[str, Any], value: float | None, dwell_ms: int | None
) -> None:
    one = event(**said, shopper_id="shopper-7", session_id="s1")
    assert send(one) == {
        "accepted": 1,
        "results": [{"message_id": one["message_id"], "status": "accepted", "code": None, "detail": None}],
    }
    row = kept(one["message_id"])
    assert (row.type, row.query_id, row.product_id) == (one["type"], LIST, "p1")
    assert (row.value, row.dwell_ms, row.box) == (value, dwell_ms, one.get("box"))
    assert row.source == "client"
    assert "shopper-7" not in row.shopper_id
    assert row.shopper_id != row.session_id


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"type": "bought"}, "type"),
        ({"type": "purchase"}, "product_id with another type"),
        ({"type": "purchase", "product_id": None}, "a purchase with items"),
        ({"type": "exposure", "items": [{"product_id": "p2"}]}, "either product_id or items"),
        ({"type": "exposure", "product_id": None, "items": [{"product_id": "p2", "price": 1}]}, "without price"),
        ({"type": "purchase", "product_id": None, "items": []}, "items"),
        ({"type": "purchase", "product_id": None, "items": [{"product_id": "p1", "price": 1e10}]}, "items.0.price"),
        ({"type": "reformulation", "product_id": None}, "next_query_id"),
        ({"type": "exposure", "columns": 0}, "columns"),
        ({"type": "exposure", "visible_share": 1.1}, "visible_share"),
        ({"type": "add_to_cart", "quantity": 0}, "quantity"),
        ({"surface": "fridge"}, "surface"),
        ({"attributes": {"note": "x" * 4096}}, "4096 bytes"),
        ({"attributes": {"note": "\x00"}}, "NUL"),
        ({"type": "dwell"}, "dwell_ms"),
        ({"type": "box"}, "box"),
        ({"type": "rating"}, "value or stars"),
        ({"type": "like", "value": -1}, "above 0"),
        ({"type": "click", "value": 1}, "a click has none"),
        ({"type": "box", "box": [0.5, 0, 0.5, 1]}, "x1 is below x2"),
        ({"type": "box", "box": [0, 0, 1.5, 1]}, "box.2"),
        ({"position": 3}, "position"),
        ({"product_id": None}, "product_id"),
        ({"message_id": "m" * 101}, "message_id"),
        ({"timestamp": "2026-11-21T09:00:00"}, "timestamp"),
        ({"query_id": "../../etc"}, "query_id"),
    ],
)
def test_a_wrong_event_is_rejected_with_what_was_found_and_spoils_no_other(
    send: Any, wrong: dict[str, Any], named: str
) -> None:
    bad = {name: value for name, value in (event() | wrong).items() if value is not None}
    answer = send(event(), bad, event("like"))
    assert [one["status"] for one in answer["results"]] == ["accepted", "rejected", "accepted"]
    assert answer["accepted"] == 2
    assert answer["results"][1]["code"] == "invalid"
    assert named in answer["results"][1]["detail"]


def test_a_list_that_was_never_served_is_unknown_unless_it_may_still_be_recorded(send: Any, kept: Any) -> None:
    now = datetime.now(UTC)
    early = event(query_id="q_not_recorded_yet_____", timestamp=now.isoformat())
    late = event(query_id="q_long_gone____________", timestamp=(now - timedelta(hours=2)).isoformat())
    old = event(timestamp=(now - timedelta(days=31)).isoformat())
    unattributed = event(query_id=None)
    answer = send(early, late, old, unattributed)
    assert [one["code"] for one in answer["results"]] == [None, "unknown_query_id", "too_old", None]
    assert answer["accepted"] == 2
    assert kept(unattributed["message_id"]).query_id is None


def test_a_clock_that_is_ahead_does_not_make_things_happen_later(send: Any, kept: Any) -> None:
    ahead = event(timestamp=(datetime.now(UTC) + timedelta(days=400)).isoformat())
    send(ahead)
    assert kept(ahead["message_id"]).occurred_at <= datetime.now(UTC)


def test_whatever_is_sent_again_counts_once(
    send: Any, client: TestClient, shared_keys: Keys, shared_sessions: sessionmaker[Session]
) -> None:
    batch = [event("click"), event("like"), event("dwell", dwell_ms=5)]
    repeated = [*batch, batch[0]]
    assert [one["status"] for one in send(*repeated)["results"]] == [*["accepted"] * 3, "duplicate"]
    more = event()
    orders = [[*batch, more], [more, *batch[::-1]]] * 5

    def again(events: list[dict[str, Any]]) -> int:
        answer = client.post("/v1/events", json={"batch": events}, headers=shared_keys.storefront)
        assert answer.status_code == 202, answer.text
        return int(answer.json()["accepted"])

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(again, orders)) == 1
    with session_scope(shared_sessions) as session:
        ids = [one["message_id"] for one in (*batch, more)]
        assert session.scalar(select(func.count()).where(Event.message_id.in_(ids))) == 4


def test_a_batch_has_limits(send: Any, client: TestClient, shared_keys: Keys) -> None:
    assert send(body={"batch": [event()] * EVENTS_MAX})["accepted"] == 1
    assert "500 events" in send(body=[event()] * (EVENTS_MAX + 1), expected=413)["expected"]
    large = json.dumps([event()]).encode() + b" " * BYTES_MAX
    for content in (large, iter([large])):  # declared, and in chunks
        answer = client.post(
            "/v1/events", content=content, headers=shared_keys.storefront | {"Content-Type": "application/json"}
        )
        assert answer.status_code == 413
        assert str(BYTES_MAX) in answer.json()["expected"]
    assert "array" in send(body={"events": []}, expected=422)["expected"]
    assert send(body=[]) == {"accepted": 0, "results": []}


@pytest.mark.parametrize(("kind", "status"), [("text/plain;charset=UTF-8", 202), ("application/xml", 415), ("", 415)])
def test_a_beacon_brings_its_key_in_the_address(client: TestClient, shared_keys: Keys, kind: str, status: int) -> None:
    key = shared_keys.storefront["Authorization"].removeprefix("Bearer ")
    headers = {"Origin": SHOP} | ({"Content-Type": kind} if kind else {})
    answer = client.post(f"/v1/events?key={key}", content=json.dumps([event()]), headers=headers)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert (
        client.post(
            f"/v1/events?key={key}", content="[]", headers=headers | {"Origin": "https://b.example"}
        ).status_code
        == 403
    )
    assert client.post(f"/v1/search?key={key}", json={}).status_code == 401


def test_only_a_key_that_pages_show_anyway_may_stand_in_the_address(client: TestClient, shared_keys: Keys) -> None:
    for headers in (shared_keys.server, shared_keys.admin):
        key = headers["Authorization"].removeprefix("Bearer ")
        assert client.post(f"/v1/events?key={key}", json=[]).status_code == 401
    assert client.post("/v1/events", json=[]).status_code == 401
    assert client.post("/v1/events", json=[], headers=shared_keys.server).status_code == 202


@pytest.mark.parametrize("body", [b"", b"{", b"[NaN]", b'["\xff"]', b"[" * 100_000])
def test_what_is_not_json_is_said_to_be_none(client: TestClient, shared_keys: Keys, body: bytes) -> None:
    answer = client.post(
        "/v1/events", content=body, headers=shared_keys.storefront | {"Content-Type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
