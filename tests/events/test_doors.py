"""The doors for events: keys wherever one may stand, packed bodies, wrong clocks, robots, what was refused."""

import base64
import gzip
import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.access.provided import lookup
from backend.db import session_scope
from backend.events.models import Event, EventCount, RefusedEvent
from backend.events.refusals import KEPT, KEPT_A_REQUEST, KEPT_FOR, PAYLOAD_BYTES_MAX, forget_old_refusals
from backend.events.schemas import BYTES_MAX
from backend.events.tally import EventTally
from tests.events.conftest import LIST
from tests.fixtures.api import SHOP, Keys

_numbers = count(1)
PAGE = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"}
OTHER = "https://other.example"


def event(type_: str = "click", **more: Any) -> dict[str, Any]:
    said = {"message_id": f"d{next(_numbers)}", "type": type_, "query_id": LIST, "product_id": "p1"} | more
    return {name: value for name, value in said.items() if value is not None}


def call(event: str = "Product Clicked", **more: Any) -> dict[str, Any]:
    properties = {"product_id": "p1", "query_id": LIST}
    return {
        "type": "track",
        "event": event,
        "messageId": f"s{next(_numbers)}",
        "anonymousId": "a7",
        "properties": properties,
    } | more


def secret(headers: dict[str, str]) -> str:
    return headers["Authorization"].removeprefix("Bearer ")


def basic(headers: dict[str, str]) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{secret(headers)}:".encode()).decode()}


@pytest.fixture
def rows(shared_sessions: sessionmaker[Session]) -> Any:
    def find(message_id: str) -> list[Event]:
        with session_scope(shared_sessions) as session:
            return list(session.scalars(select(Event).filter_by(message_id=message_id).order_by(Event.item)))

    return find


def statuses(answer: Response) -> list[str]:
    assert answer.status_code in (200, 202), answer.text
    return [one["status"] for one in answer.json()["results"]]


def test_an_event_of_several_products_is_kept_as_several_rows_once(
    client: TestClient, shared_keys: Keys, rows: Any
) -> None:
    items = [
        {"product_id": "p1", "query_id": LIST, "quantity": 1, "price": 12.5},
        {"product_id": "p2", "quantity": 3, "price": "0.999"},
    ]
    bought = event("purchase", product_id=None, query_id=None, currency="EUR", items=items, shopper_id="s", user_id="u")
    seen = event(
        "exposure",
        product_id=None,
        columns=4,
        surface="app",
        device="phone",
        items=[{"product_id": f"p{n}", "visible_share": n / 2, "visible_ms": 500 * n} for n in (1, 2)],
        attributes={"theme": {"dark": True}},
    )
    for expected in ("accepted", "duplicate"):
        answer = client.post("/v1/events", json=[bought, seen], headers=shared_keys.storefront | PAGE)
        assert statuses(answer) == [expected, expected]
    first, second = rows(bought["message_id"])
    assert (first.item, first.product_id, first.query_id, first.quantity) == (0, "p1", LIST, 1)
    assert (second.item, second.product_id, second.query_id, float(second.price)) == (1, "p2", None, 1.0)
    assert (first.attribution, second.attribution, first.currency) == ("given", "pending", "EUR")
    assert first.shopper_id != first.user_id
    near, far = rows(seen["message_id"])
    assert [(one.product_id, one.visible_share, one.visible_ms) for one in (near, far)] == [
        ("p1", 0.5, 500),
        ("p2", 1.0, 1000),
    ]
    assert (near.columns, near.surface, near.device, near.attributes) == (4, "app", "phone", {"theme": {"dark": True}})


def test_a_clock_that_is_wrong_is_corrected_by_when_it_says_that_it_sent(
    client: TestClient, shared_keys: Keys, rows: Any
) -> None:
    wrong = datetime(2031, 5, 1, 12, tzinfo=UTC)  # years ahead
    early = event(timestamp=(wrong - timedelta(minutes=10)).isoformat())
    never = event(timestamp=(wrong + timedelta(minutes=10)).isoformat())  # after it was sent
    slow = event(timestamp=(wrong - timedelta(days=31)).isoformat())
    body = {"batch": [early, never, slow], "sent_at": wrong.isoformat()}
    begun = datetime.now(UTC)
    answer = client.post("/v1/events", json=body, headers=shared_keys.storefront | PAGE)
    assert [one["code"] for one in answer.json()["results"]] == [None, None, "too_old"]
    (found,) = rows(early["message_id"])
    assert timedelta(0) <= found.occurred_at - (begun - timedelta(minutes=10)) < timedelta(minutes=2)
    assert begun <= rows(never["message_id"])[0].occurred_at <= datetime.now(UTC)
    tracked = call(originalTimestamp="2011-01-01T00:00:00Z", sentAt="2011-01-01T00:05:00Z")
    assert statuses(client.post("/v1/track", json=tracked, headers=basic(shared_keys.storefront))) == ["accepted"]
    (found,) = rows(tracked["messageId"])
    assert timedelta(minutes=4) < datetime.now(UTC) - found.occurred_at < timedelta(minutes=7)
    answer = client.post("/v1/events", json=body | {"sent_at": "noon"}, headers=shared_keys.storefront)
    assert answer.status_code == 422
    assert answer.json()["found"] == "noon"


def test_sdks_show_the_key_as_they_do_at_home(client: TestClient, shared_keys: Keys, rows: Any) -> None:
    key = secret(shared_keys.storefront)
    packed = gzip.compress(
        json.dumps({"batch": [call(), call("Checkout Started")], "sentAt": "2026-11-21T09:00:00Z"}).encode()
    )
    in_body = call(writeKey=key)
    answers = [
        client.post("/v1/track", json=call(), headers=basic(shared_keys.storefront)),
        client.post("/v1/t", content=json.dumps(in_body), headers={"Content-Type": "text/plain"}),
        client.post("/v1/b", json={"writeKey": key, "batch": [call(), call()], "sentAt": "2026-11-21T09:00:00Z"}),
        client.post(  # RudderStack's library for Node calls a packed body a form
            "/v1/batch",
            content=packed,
            headers=basic(shared_keys.server)
            | {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"},
        ),
        client.post(
            f"/beacon/v1/batch?writeKey={key}",
            content=json.dumps({"batch": [call()]}),
            headers={"Content-Type": "text/plain"},
        ),
        client.post("/v1/identify", json={"userId": "u1", "writeKey": key}),
        client.post("/v1/p", json={"name": "Home"}, headers=shared_keys.storefront),
    ]
    assert [statuses(one) for one in answers] == [
        ["accepted"],
        ["accepted"],
        ["accepted", "accepted"],
        ["accepted", "ignored"],
        ["accepted"],
        ["ignored"],
        ["ignored"],
    ]
    assert {one.status_code for one in answers} == {200}
    assert all(one.json()["success"] for one in answers)
    (row,) = rows(in_body["messageId"])
    assert (row.source, row.type, row.attribution, row.attributes) == (
        "segment",
        "click",
        "given",
        {"event": "Product Clicked"},
    )


TRACKS = ("/v1/track", "/v1/t", "/v1/batch", "/v1/b", "/v1/import", "/v1/identify", "/v1/page", "/beacon/v1/batch")
DOORS = (*TRACKS, "/v1/events", "/v1/events/validate")


@pytest.mark.parametrize("path", DOORS)
def test_a_key_of_one_origin_cannot_write_from_another(client: TestClient, shared_keys: Keys, path: str) -> None:
    def send(headers: dict[str, str], query: str = "", **more: Any) -> Response:
        body = json.dumps({"batch": [event()], **more} if "batch" in path or "events" in path else call(**more))
        return client.post(path + query, content=body, headers={"Content-Type": "text/plain"} | headers)

    assert send({}).status_code == 401
    assert send({"Authorization": "Basic !!"}).status_code == 401
    assert send({"Authorization": "Bearer mk_pub_nobody"}).status_code == 401
    ways: list[tuple[dict[str, str], str, dict[str, str]]] = [(shared_keys.storefront, "", {})]
    if path != "/v1/events/validate":
        ways.append((basic(shared_keys.storefront), "", {}))
    if path in TRACKS:
        ways.append(({}, "", {"writeKey": secret(shared_keys.storefront)}))
    if path in ("/v1/events", "/beacon/v1/batch"):
        ways.append(({}, f"?key={secret(shared_keys.storefront)}", {}))
    for headers, query, more in ways:
        here = send(headers | {"Origin": SHOP}, query, **more)
        assert here.status_code in (200, 202), here.text
        assert here.headers["access-control-allow-origin"] == SHOP
        for origin in (OTHER, "null", f"{SHOP}.evil.example", SHOP.replace("https", "http")):
            there = send(headers | {"Origin": origin}, query, **more)
            assert there.status_code == 403
            assert "access-control-allow-origin" not in there.headers
    for origin in (SHOP, OTHER):  # a key for servers is for no page
        assert send(shared_keys.server | {"Origin": origin}).status_code == 403
    names = "authorization,anonymousid,content-type,rsa-retry-attempt,sentat"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": names}
    allowed = client.options(path, headers=asked | {"Origin": SHOP})
    assert allowed.status_code == 204
    assert (allowed.headers["access-control-allow-headers"] == names) == (path in TRACKS)
    assert client.options(path, headers=asked | {"Origin": OTHER}).status_code == 403


def test_a_key_stands_elsewhere_only_where_events_come_in(client: TestClient, shared_keys: Keys) -> None:
    assert client.post("/v1/search", json={}, headers=basic(shared_keys.storefront)).status_code == 401
    assert client.post("/v1/search", json={"writeKey": secret(shared_keys.storefront)}).status_code == 401
    assert client.post("/v1/track?key=" + secret(shared_keys.storefront), json=call()).status_code == 401
    typed = call(properties={"product_id": "p1", "query": json.dumps({"writeKey": secret(shared_keys.storefront)})})
    assert client.post("/v1/track", json=typed).status_code == 401
    long = call(writeKey=secret(shared_keys.storefront), properties={"query": "x" * BYTES_MAX})
    assert client.post("/v1/track", json=long).status_code == 413


def test_batches_of_all_shapes_that_overlap_count_once_and_none_fails(
    client: TestClient, shared_keys: Keys, shared_sessions: sessionmaker[Session]
) -> None:
    mark = f"overlap-{next(_numbers)}"
    shapes = [
        lambda n: event(message_id=f"{mark}-{n}"),
        lambda n: call(messageId=f"{mark}-{n}"),
        lambda n: {
            "message_id": f"{mark}-{n}",
            "action_name": "click",
            "event_attributes": {"object": {"object_id": 1}},
        },
        lambda n: event("purchase", message_id=f"{mark}-{n}", product_id=None, items=[{"product_id": "p1"}] * 3),
    ]
    # the same id in two shapes: whoever comes first is kept, and nobody waits for the other both ways
    good = [shape(n) for n in range(20) for shape in (shapes[n % 4], shapes[(n + 1) % 4])]
    bad = [event("dwell"), None, {"action_name": "purchase"}, event(query_id="../../etc/passwd")]

    def send(seed: int) -> int:
        batch = [*good, *bad]
        random.Random(seed).shuffle(batch)
        answer = client.post("/v1/events", json=batch, headers=shared_keys.storefront | PAGE)
        assert answer.status_code == 202, answer.text
        assert statuses(answer).count("rejected") == len(bad)
        return int(answer.json()["accepted"])

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(send, range(12))) == 20
    with session_scope(shared_sessions) as session:
        items = select(func.count()).where(Event.message_id.startswith(mark)).group_by(Event.message_id)
        kept = sorted(session.scalars(items))
    assert len(kept) == 20
    assert set(kept) <= {1, 3}


@pytest.mark.parametrize("levels", [32, 33, 252, 253, 254, 255, 600, 1000, 1020])
def test_objects_within_objects_spoil_nothing(client: TestClient, shared_keys: Keys, levels: int) -> None:
    deep = '{"a":' * levels + "1" + "}" * levels
    fine, other = (json.dumps(event()) for _ in range(2))
    query = f'{{"user_query":{deep},"query_response_hit_ids":[{deep},"p1"]}}'
    wrong = [f'{{"x":{deep}}}', deep, query, f'{{"type":"track","event":{deep}}}']
    said = json.dumps(event())[:-1] + f',"attributes":{deep}}}'
    body = f"[{fine},{said},{','.join(wrong)},{other}]"
    for path in ("/v1/events/validate", "/v1/events"):
        answer = client.post(path, content=body, headers=shared_keys.storefront | {"Content-Type": "application/json"})
        if levels > 1015:  # more than is read at all, and nothing of it is kept
            assert answer.status_code in (200, 202, 400)
        else:
            allowed = "accepted" if levels <= 32 else "rejected"
            search = "accepted"  # one whose words are none
            expected = ["accepted", allowed, "rejected", "rejected", search, "rejected", "accepted"]
            assert statuses(answer) == expected


def test_a_client_that_leaves_before_its_body_is_read_is_no_failure_of_the_server(
    client: TestClient, shared_keys: Keys
) -> None:
    said: list[Any] = []

    async def receive() -> dict[str, str]:  # what a server says of a connection that is closed
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    given = {"authorization": shared_keys.storefront["Authorization"], "content-type": "text/plain", "host": "x"}
    headers = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/events", "query_string": b"", "headers": headers}
    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)
    assert said[0]["status"] == 400


def test_a_packed_body_is_no_way_round_the_limits(client: TestClient, shared_keys: Keys) -> None:
    def send(body: bytes, encoding: str = "gzip") -> Response:
        headers = shared_keys.storefront | {"Content-Encoding": encoding, "Content-Type": "application/json"}
        return client.post("/v1/events", content=body, headers=headers)

    assert send(gzip.compress(json.dumps([event()]).encode())).status_code == 202
    bomb = gzip.compress(b"[" + b" " * (200 * BYTES_MAX) + b"]")
    assert len(bomb) < BYTES_MAX
    assert send(bomb).status_code == 413
    assert send(gzip.compress(b"[]")[:-4]).status_code == 400
    assert send(b"[]").status_code == 400
    assert send(b"[]", "br").status_code == 400


def test_robots_are_kept_and_marked(client: TestClient, shared_keys: Keys, rows: Any) -> None:
    def marked(headers: dict[str, str], **more: Any) -> bool:
        sent = call(**more)
        assert statuses(client.post("/v1/track", json=sent, headers=headers)) == ["accepted"]
        return bool(rows(sent["messageId"])[0].is_bot)

    robot = {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
    assert marked(shared_keys.storefront | robot)
    assert not marked(shared_keys.storefront | PAGE)
    assert not marked(shared_keys.server | {"User-Agent": "python-requests/2.32.3"})  # it sends for its shoppers
    assert marked(shared_keys.server | PAGE, context={"userAgent": robot["User-Agent"]})


def test_asking_what_would_become_of_events_keeps_nothing(
    client: TestClient, shared_keys: Keys, shared_sessions: sessionmaker[Session]
) -> None:
    def sizes() -> list[int]:
        with session_scope(shared_sessions) as session:
            return [session.scalar(select(func.count()).select_from(table)) or 0 for table in (Event, RefusedEvent)]

    came = event()
    client.post("/v1/events", json=[came], headers=shared_keys.storefront | PAGE)
    before = sizes()
    ubi = {"action_name": "click", "client_id": "a7", "event_attributes": {"object": {"object_id": "p1"}}}
    body = [event(timestamp=datetime.now(UTC).isoformat()), came, ubi, call("My Own Event"), event("dwell"), None]
    asked = client.post("/v1/events/validate", json=body, headers=shared_keys.storefront)
    assert asked.status_code == 200
    results = asked.json()["results"]
    assert [(one["status"], one["dialect"]) for one in results] == [
        ("accepted", "native"),
        ("duplicate", "native"),
        ("accepted", "ubi"),
        ("ignored", "segment"),
        ("rejected", "native"),
        ("rejected", "native"),
    ]
    assert results[2]["understood_as"]["type"] == "click"
    assert results[2]["understood_as"]["product_id"] == "p1"
    assert results[4]["detail"]
    assert sizes() == before
    sent = client.post("/v1/events", json=body, headers=shared_keys.storefront)
    assert [(one["status"], one["code"]) for one in sent.json()["results"]] == [
        (one["status"], one["code"]) for one in results
    ]


def test_what_was_refused_is_remembered_without_whom_it_names_and_within_bounds(
    client: TestClient, shared_keys: Keys, shared_sessions: sessionmaker[Session]
) -> None:
    def refused() -> list[RefusedEvent]:
        with session_scope(shared_sessions) as session:
            return list(session.scalars(select(RefusedEvent).order_by(RefusedEvent.id)))

    with session_scope(shared_sessions) as session:
        session.execute(delete(RefusedEvent))
    wrong = event("dwell", shopper_id="jane@example.com", user_id={"mail": "jane@example.com"})
    spoken = {"type": "track", "event": 7, "messageId": "x", "userId": "jane@example.com", "traits": "jane@example.com"}
    bought = call("Order Completed", properties={"email": "jane@example.com", "products": [{"session_id": "jane@"}]})
    client.post(
        "/v1/events",
        json=[wrong, "jane", spoken, bought, event(product_id="x" * 3000)],
        headers=shared_keys.storefront | {"Origin": SHOP},
    )
    found = refused()
    assert [one.code for one in found] == ["invalid"] * 5
    assert "user_id" in found[0].detail
    assert "jane@" not in str([(one.detail, one.payload) for one in found])
    assert {one.origin for one in found} == {SHOP}
    assert all(one.key_id for one in found)
    assert max(len(one.payload.encode()) for one in found) == PAYLOAD_BYTES_MAX
    client.post("/v1/events", json=[event("dwell")] * 400, headers=shared_keys.storefront)
    assert len(refused()) == 5 + KEPT_A_REQUEST
    with session_scope(shared_sessions) as session:
        rows = [{"code": "invalid", "detail": "old", "payload": "{}"} for _ in range(KEPT)]
        session.bulk_insert_mappings(RefusedEvent.__mapper__, rows)
    client.post("/v1/events", json=[event("dwell")], headers=shared_keys.storefront)
    assert len(refused()) == KEPT
    assert refused()[-1].detail.startswith("event")
    with session_scope(shared_sessions) as session:
        session.execute(update(RefusedEvent).values(received_at=datetime.now(UTC) - KEPT_FOR))
        assert forget_old_refusals(session) == KEPT


def test_verdicts_are_counted(
    client: TestClient, shared_keys: Keys, shared_sessions: sessionmaker[Session], shared_app: Any
) -> None:
    def counted() -> dict[tuple[str, str], int]:
        lookup(shared_app, EventTally).flush()
        with session_scope(shared_sessions) as session:
            summed = select(EventCount.status, EventCount.code, func.sum(EventCount.n)).group_by("status", "code")
            return {(status, code): int(n) for status, code, n in session.execute(summed)}

    before = counted()
    good = event()
    batch = [good, good, event("dwell"), call("My Own Event"), event(timestamp="1999-01-01T00:00:00Z")]
    client.post("/v1/events", json=batch, headers=shared_keys.storefront)
    after = counted()
    assert {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)} == {
        ("accepted", ""): 1,
        ("duplicate", ""): 1,
        ("rejected", "invalid"): 1,
        ("rejected", "too_old"): 1,
        ("ignored", "not_used"): 1,
    }
