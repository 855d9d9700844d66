"""Deliveries as administrators see them, replayed, tried again, parked and forgotten."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import text, update
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.blobs import BlobStore
from backend.catalog.shops.platform import Shop
from backend.catalog.webhooks import apply
from backend.catalog.webhooks.models import Delivery
from backend.catalog.webhooks.repository import any_due, forget_old
from backend.db import session_scope
from backend.queue import PROCESS_DELIVERIES
from tests.catalog.webhooks.conftest import TestShop
from tests.fixtures.api import Keys


def sql(sessions: sessionmaker[Session], statement: str) -> None:
    with session_scope(sessions) as session:
        session.execute(text(statement))


def test_the_list_is_filtered_paged_and_counted(shop: TestShop, api: TestClient, keys: Keys) -> None:
    for number in range(5):
        shop.generic({"id": f"p{number % 2}", "title": str(number), "updated_at": "2026-11-20T09:00:00Z"})
    shop.shopify("orders/create", {"id": 1})
    shop.apply()

    def read(query: str) -> dict[str, Any]:
        answer = api.get(f"/v1/deliveries?{query}", headers=keys.admin)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    first = read("limit=4")
    assert [one["id"] for one in first["deliveries"]] == [6, 5, 4, 3]
    assert [one["id"] for one in read(f"limit=4&cursor={first['cursor']}")["deliveries"]] == [2, 1]
    assert first["counts"] == {"applied": 5, "ignored": 1}
    assert [one["id"] for one in read("product_id=p1")["deliveries"]] == [4, 2]
    assert [one["verdict"] for one in read("source=shopify")["deliveries"]] == ["ignored"]
    assert [one["id"] for one in read("verdict=ignored")["deliveries"]] == [6]
    whole = api.get("/v1/deliveries/1", headers=keys.admin).json()
    assert whole["body"] == '{"id": "p0", "title": "0", "updated_at": "2026-11-20T09:00:00Z"}'
    assert whole["results"] == [{"id": "p0", "status": "created", "detail": None}]
    assert api.get("/v1/deliveries/99", headers=keys.admin).status_code == 404


@pytest.mark.parametrize(
    ("topic", "body", "why"),
    [
        ("products/update", b"{broken", "not JSON"),
        ("products/update", b"[1]", "no JSON object"),
        ("products/update", b'{"id": 1}', "title"),
        ("products/update", b'{"id": "x", "title": "T"}', "id"),
        ("products/delete", b"{}", "id"),
        ("products/delete", "shopify_products_create", "the body is a product"),
        ("products/update", b'{"id": 1, "title": "T", "updated_at": "soon"}', "time"),
        ("products/update", b'{"id": 1, "title": "T", "updated_at": "2999-01-01T00:00:00Z"}', "ahead"),
    ],
)
def test_what_cannot_be_read_or_kept_is_parked_with_the_reason(shop: TestShop, topic: str, body: Any, why: str) -> None:
    assert shop.shopify(topic, body).status_code == 200
    assert shop.apply() == {"parked": 1}
    (one,) = shop.deliveries()
    assert why in str(one.detail)
    assert shop.apply() == {}


def test_one_change_that_cannot_be_kept_parks_a_generic_delivery_before_any_is_written(shop: TestShop) -> None:
    shop.generic([{"id": "a", "title": "A"}, {"id": "b"}])
    assert shop.apply() == {"parked": 1}
    assert shop.product("a") is None
    assert shop.deliveries()[0].detail == (
        "Change 2 cannot be kept: title: found None, expected a value. Expected: a product or a deletion."
    )


def test_replaying_applies_again_and_the_newest_time_wins_as_ever(
    shop: TestShop, api: TestClient, keys: Keys, redis_url: str
) -> None:
    shop.shopify("products/create", "shopify_products_create")
    shop.shopify("products/update", "shopify_products_update", triggered="2026-11-20T15:30:00Z")
    shop.shopify("products/update", b"{broken")
    shop.shopify("products/update", b"{}", secret="a wrong secret, and a long one")
    assert shop.apply() == {"applied": 2, "parked": 1}
    Redis.from_url(redis_url).flushall()
    again = api.post("/v1/deliveries:replay", json={"ids": [1, 4, 99]}, headers=keys.admin)
    assert again.json() == {"replayed": 1}  # the rejected one never is
    assert Redis.from_url(redis_url).exists(f"nudge:{PROCESS_DELIVERIES}")
    assert shop.apply() == {"stale": 1}
    assert api.post("/v1/deliveries:replay", json={"verdict": "parked"}, headers=keys.admin).json() == {"replayed": 1}
    assert shop.apply() == {"parked": 1}
    for wrong in ({}, {"ids": [1], "verdict": "parked"}, {"verdict": "rejected"}):
        assert api.post("/v1/deliveries:replay", json=wrong, headers=keys.admin).status_code == 422


def test_replaying_an_applied_deletion_of_a_product_that_was_made_again_is_stale(
    shop: TestShop, api: TestClient, keys: Keys
) -> None:
    shop.shopify("products/delete", "shopify_products_delete", triggered="2026-11-20T12:00:00Z")
    shop.shopify("products/create", "shopify_products_create", triggered="2026-11-20T14:00:01Z")
    assert shop.apply() == {"applied": 2}
    api.post("/v1/deliveries:replay", json={"ids": [1]}, headers=keys.admin)
    assert shop.apply() == {"stale": 1}
    assert shop.product("788032119674292922") is not None


def test_one_poisoned_delivery_holds_up_no_other_and_is_parked_in_the_end(
    shop: TestShop, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = apply.upsert_products

    def upsert(session: Session, products: Any, **more: Any) -> Any:
        if any(product.title == "poison" for product in products):
            raise RuntimeError("a defect that nobody foresaw")
        return real(session, products, **more)

    monkeypatch.setattr(apply, "upsert_products", upsert)
    for title in ("one", "poison", "three"):
        shop.generic({"id": title, "title": title})
    assert shop.apply() == {"applied": 2, "failed": 1}
    failed = shop.deliveries(verdict="failed")[0]
    assert (failed.attempts, failed.detail) == (1, "RuntimeError: a defect that nobody foresaw")
    assert failed.due_at is not None
    assert failed.due_at > datetime.now(UTC)
    assert shop.apply() == {}  # not before its time
    for _ in range(apply.ATTEMPTS - 1):
        with session_scope(sessions) as session:
            assert any_due(session) is False
        sql(sessions, "UPDATE deliveries SET due_at = now() WHERE verdict = 'failed'")
        shop.apply()
    assert [one.verdict for one in shop.deliveries()] == ["applied", "parked", "applied"]


def test_a_batch_is_written_as_a_batch_and_not_one_by_one(shop: TestShop, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = apply.upsert_products

    def upsert(session: Session, products: Any, **more: Any) -> Any:
        calls.append(len(products))
        return real(session, products, **more)

    monkeypatch.setattr(apply, "upsert_products", upsert)
    for number in range(40):
        shop.generic({"id": f"p{number}", "title": "T"})
    assert shop.apply() == {"applied": 40}
    assert calls == [40]


def test_a_worker_that_dies_in_the_middle_leaves_the_deliveries_due(
    shop: TestShop, sessions: sessionmaker[Session]
) -> None:
    shop.generic({"id": "a", "title": "A"})
    with sessions() as session:
        claimed = apply.claim_due(session, 10)
        assert len(claimed) == 1
        assert shop.apply() == {}  # another worker has it in hand
        session.rollback()  # as PostgreSQL does when its client is gone
    assert shop.apply() == {"applied": 1}


def test_workers_beside_one_another_apply_each_delivery_once(
    shop: TestShop, sessions: sessionmaker[Session], tmp_path: Any
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for number in range(150):
        shop.generic(
            {
                "id": f"p{number % 20}",
                "title": f"T{number}",
                "updated_at": f"2026-11-20T09:{number // 60:02}:{number % 60:02}Z",
            }
        )
    appliers = [
        apply.Applier(sessions, BlobStore(tmp_path), Shop(), on_written=lambda _session: None) for _ in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(lambda applier: applier.run_due(), appliers))
    assert sum(sum(one.values()) for one in counts) >= 150
    assert {one.attempts for one in shop.deliveries(limit=200)} <= {1, 2}
    for number in range(20):
        product = shop.product(f"p{number}")
        assert product is not None
        assert product.title == f"T{max(n for n in range(150) if n % 20 == number)}"


def test_old_deliveries_are_forgotten_but_none_that_waits(shop: TestShop, sessions: sessionmaker[Session]) -> None:
    for title in ("old", "waiting", "new"):
        shop.generic({"id": title, "title": title})
    with session_scope(sessions) as session:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        session.execute(update(Delivery).where(Delivery.id <= 2).values(received_at=long_ago))
        session.execute(update(Delivery).where(Delivery.id != 2).values(verdict="applied"))
    with session_scope(sessions) as session:
        assert forget_old(session, 30) == 1
    assert [one.id for one in shop.deliveries()] == [3, 2]
