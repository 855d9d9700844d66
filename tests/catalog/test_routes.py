"""Products over HTTP: replaced, deleted, and sent in batches with a verdict for each line."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from redis import Redis
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.catalog.models import Product
from backend.catalog.schemas import PRODUCT_EXAMPLE
from backend.main import create_app
from backend.queue import INGEST_DUE
from backend.settings import Settings
from tests.fixtures.api import Keys


@pytest.fixture
def api_settings(database_url: str, redis_url: str, tmp_path: Any) -> Settings:
    """No route of these tests asks Milvus or an encoder."""
    return Settings(
        home=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        milvus_uri="http://127.0.0.1:1",
        request_max_bytes=2**20,
        log_level="error",
    )


@pytest.fixture
def app(api_settings: Settings) -> FastAPI:
    return create_app(api_settings)


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_put_then_get_gives_back_what_was_sent(api: TestClient, keys: Keys, redis_url: str) -> None:
    answer = api.put("/v1/products/p1", json=PRODUCT_EXAMPLE, headers=keys.server)
    assert (answer.status_code, answer.json()) == (200, {"id": "p1", "status": "created", "detail": None})
    assert Redis.from_url(redis_url).exists(f"nudge:{INGEST_DUE}")
    read = api.get("/v1/products/p1", headers=keys.storefront).json()
    same = ("id", "title", "description", "brand", "price", "currency", "availability", "url", "attributes", "captions")
    assert {name: read[name] for name in same} == {name: PRODUCT_EXAMPLE[name] for name in same}
    assert read["category"] == ["Toys", "Plush"]
    assert read["images"] == [
        {"source": "https://shop.example/p1.jpg", "state": "pending", "content_hash": None, "url": None}
    ]
    assert api.put("/v1/products/p1", json=PRODUCT_EXAMPLE, headers=keys.server).json()["status"] == "unchanged"


def test_put_without_an_id_in_the_body_takes_the_addresss(api: TestClient, keys: Keys) -> None:
    assert api.put("/v1/products/a/b c", json={"title": "T"}, headers=keys.server).json()["id"] == "a/b c"
    assert api.get("/v1/products/a%2Fb%20c", headers=keys.server).json()["title"] == "T"
    mismatch = api.put("/v1/products/a", json={"id": "b", "title": "T"}, headers=keys.server)
    assert (mismatch.status_code, mismatch.json()["found"], mismatch.json()["expected"]) == (422, "b", "a")


@pytest.mark.parametrize(
    "change",
    [
        {"price": -1},
        {"price": "NaN"},
        {"availability": "maybe"},
        {"title": "a\x00b"},
        {"title": ""},
        {"images": ["file:///etc/passwd"]},
        {"images": ["javascript:alert(1)"]},
        {"images": [{"data": "not base64!"}]},
        {"url": "javascript:alert(1)"},
        {"attributes": {"a": {"nested": 1}}},
        {"attributes": {"a": "x\x00"}},
        {"variants": [{"sku": "a"}, {"sku": "a"}]},
        {"updated_at": "2026-01-01T00:00:00"},  # no zone
        {"updated_at": "2999-01-01T00:00:00Z"},
        {"colour": "unknown field"},
    ],
)
def test_put_refuses_what_cannot_be_kept_and_says_why(api: TestClient, keys: Keys, change: dict[str, Any]) -> None:
    answer = api.put("/v1/products/p1", json=PRODUCT_EXAMPLE | change, headers=keys.server)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert api.get("/v1/products/p1", headers=keys.server).status_code == 404


def test_delete_and_the_late_update(api: TestClient, keys: Keys) -> None:
    api.put("/v1/products/p1", json=PRODUCT_EXAMPLE, headers=keys.server)
    old = api.delete("/v1/products/p1?updated_at=2026-11-19T00:00:00Z", headers=keys.server)
    assert old.json()["status"] == "stale"
    assert api.delete("/v1/products/p1", headers=keys.server).json()["status"] == "deleted"
    assert api.get("/v1/products/p1", headers=keys.server).status_code == 404
    assert api.put("/v1/products/p1", json=PRODUCT_EXAMPLE, headers=keys.server).json()["status"] == "stale"
    assert api.delete("/v1/products/p1", headers=keys.server).json()["status"] == "unchanged"
    assert api.delete("/v1/products/p2", headers=keys.server).status_code == 404


def test_writes_need_a_server_key(api: TestClient, keys: Keys) -> None:
    for key, status in ((keys.storefront, 403), ({}, 401)):
        assert api.put("/v1/products/p1", json={"title": "T"}, headers=key).status_code == status
        assert api.delete("/v1/products/p1", headers=key).status_code == status
        assert api.post("/v1/products:batch", content=b"{}", headers=key).status_code == status
    assert api.get("/v1/images", headers=keys.server).status_code == 403


BATCH = [
    {"id": "p1", "title": "One"},
    {"id": "p2", "title": "Two", "price": "abc", "availability": "maybe"},
    {"id": "p1", "deleted": True},
    {"id": "p1", "title": "One again"},
    {"id": "p9", "deleted": True},
    {"id": "p3", "title": "Three", "deleted": False},
]


def test_batch_gives_each_line_its_verdict_in_order(
    api: TestClient, keys: Keys, sessions: sessionmaker[Session]
) -> None:
    body = lines(*BATCH) + b'\n{"id": "p4", "title"\n[1]\n"text"\nnull\n\xff\xfe\n' + b"[" * 100_000 + b"\n{}"
    answer = api.post("/v1/products:batch", content=body, headers=keys.server)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(one["line"], one["id"], one["status"]) for one in results] == [
        (1, "p1", "created"),
        (2, "p2", "rejected"),
        (3, "p1", "deleted"),
        (4, "p1", "created"),
        (5, "p9", "missing"),
        (6, "p3", "created"),
        *((line, None, "rejected") for line in (8, 9, 10, 11, 12, 13, 14)),
    ]
    assert [(e["field"], e["found"]) for e in results[1]["errors"]] == [("price", "abc"), ("availability", "maybe")]
    assert "found 'abc'" in results[1]["detail"]
    assert answer.json()["counts"] == {"created": 3, "rejected": 8, "deleted": 1, "missing": 1}
    with sessions() as session:
        assert session.scalars(select(Product.title).order_by(Product.id)).all() == ["One again", "Three"]


def test_batch_answers_in_lines_to_those_who_ask(api: TestClient, keys: Keys) -> None:
    headers = keys.server | {"Accept": "application/x-ndjson", "Content-Type": "application/json"}
    answer = api.post("/v1/products:batch", content=lines(*BATCH), headers=headers)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["line"] for line in answer.text.splitlines()] == [1, 2, 3, 4, 5, 6]


def test_batch_refuses_more_than_it_may_hold(api: TestClient, keys: Keys) -> None:
    many = api.post("/v1/products:batch", content=b"1\n" * 10_002, headers=keys.server)
    assert (many.status_code, many.json()["expected"]) == (413, "at most 10000 lines")
    assert api.post("/v1/products:batch", content=b" " * (2**20 + 1), headers=keys.server).status_code == 413


def test_parked_images_are_listed_and_tried_again(api: TestClient, keys: Keys, sessions: sessionmaker[Session]) -> None:
    api.put("/v1/products/p1", json=PRODUCT_EXAMPLE, headers=keys.server)
    with sessions() as session, session.begin():
        session.execute(text("UPDATE product_images SET state = 'parked', error = 'The server answered 404.'"))
    page = api.get("/v1/images?state=parked", headers=keys.admin).json()
    assert [(one["product_id"], one["error"]) for one in page["images"]] == [("p1", "The server answered 404.")]
    retried = api.post("/v1/images:retry", json={"ids": [page["images"][0]["id"]]}, headers=keys.admin)
    assert retried.json() == {"retried": 1}
    assert api.get("/v1/images", headers=keys.admin).json() == {"images": [], "total": 0, "cursor": None}
    assert api.post("/v1/images:retry", json={}, headers=keys.admin).json() == {"retried": 0}


OPERATIONS = {
    "get_product",
    "put_product",
    "delete_product",
    "write_products",
    "list_images",
    "retry_images",
}


def test_every_operation_has_examples(app: FastAPI) -> None:
    """Of its body where it has one, and of its answer."""
    description = app.openapi()
    found = {one["operationId"]: one for path in description["paths"].values() for one in path.values()}

    def shown(content: dict[str, Any]) -> bool:
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        return "example" in content or "examples" in description["components"]["schemas"].get(name, {})

    for name in OPERATIONS:
        assert shown(found[name]["responses"]["200"]["content"]["application/json"]), name
        assert all(map(shown, found[name].get("requestBody", {}).get("content", {}).values())), name
