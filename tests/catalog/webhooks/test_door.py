"""The door: what is let in, what is turned away and why, and that nothing more happens there."""

import base64
import time
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.catalog.shops.platform import secrets_of, signed_in_base64
from backend.catalog.webhooks import inbox as door
from backend.catalog.webhooks.inbox import Inbox
from backend.catalog.webhooks.repository import REJECTED_KEPT
from backend.db import connect
from backend.main import create_app
from backend.queue import PROCESS_DELIVERIES
from backend.settings import Settings
from tests.catalog.webhooks.conftest import SECRETS, TestShop
from tests.catalog.webhooks.recorded import in_base64, in_hex, payload
from tests.fixtures.api import Keys


def test_a_delivery_is_kept_byte_for_byte_and_the_worker_is_told(
    online: TestShop, session: Session, redis_url: str
) -> None:
    answer = online.shopify("products/create", "shopify_products_create", key="b54557e4")
    assert (answer.status_code, answer.json()) == (200, {"outcome": "accepted", "id": 1})
    row = session.execute(text("SELECT * FROM deliveries")).one()
    assert (bytes(row.body), row.key, row.topic, row.verdict) == (
        payload("shopify_products_create"),
        "b54557e4",
        "products/create",
        "waiting",
    )
    assert row.headers["x-shopify-shop-domain"] == "fable.myshopify.com"
    assert not any("hmac" in name for name in row.headers)
    assert row.triggered_at is not None
    assert session.scalar(text("SELECT count(*) FROM products")) == 0
    redis = Redis.from_url(redis_url)
    assert any(redis.exists(f"nudge:{PROCESS_DELIVERIES}") or time.sleep(0.02) for _ in range(250))  # behind the answer


@pytest.mark.parametrize("send", ["shopify", "woo", "generic"])
def test_a_wrong_signature_is_refused_noted_without_its_body_and_changes_nothing(
    online: TestShop, session: Session, send: str
) -> None:
    bodies: dict[str, Any] = {
        "shopify": ("products/create", "shopify_products_create"),
        "woo": ("product.created", "woocommerce_product_created"),
        "generic": ({"id": "a", "title": "A"},),
    }
    answer = getattr(online, send)(*bodies[send], key="1", secret="another secret of some length")
    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:morelike:problem:signature-wrong"
    assert answer.json()["expected"].startswith("the HMAC of the raw body")
    (one,) = online.deliveries()
    assert (one.verdict, one.size > 0, "proxy" in str(one.detail)) == ("rejected", True, True)
    assert session.scalar(text("SELECT body FROM deliveries")) is None
    assert online.apply() == {}
    # the same delivery with the right signature is none the less taken in
    assert getattr(online, send)(*bodies[send], key="1").json()["outcome"] == "accepted"
    assert online.apply() == {"applied": 1}


def test_the_signature_is_over_the_raw_bytes(online: TestShop) -> None:
    body = b'{"id":1,\r\n "title" : "\\u00e9" }'
    sent = {"X-Shopify-Topic": "products/update", "X-Shopify-Hmac-Sha256": in_base64(body, SECRETS["shopify"])}
    assert online.post("/v1/webhooks/shopify", content=body, headers=sent).status_code == 200
    assert online.post("/v1/webhooks/shopify", content=body + b" ", headers=sent).status_code == 401
    assert online.post("/v1/webhooks/shopify", content=body, headers={}).status_code == 401


def test_header_names_are_read_in_any_case_and_without_the_x(online: TestShop) -> None:
    body = payload("shopify_products_create")
    signature = in_base64(body, SECRETS["shopify"])
    for number, names in enumerate(
        [("x-shopify-topic", "X-SHOPIFY-HMAC-SHA256"), ("Shopify-Topic", "shopify-hmac-sha256")]
    ):
        sent = {names[0]: "products/create", names[1]: signature, "Shopify-Webhook-Id": str(number)}
        assert online.post("/v1/webhooks/shopify", content=body, headers=sent).status_code == 200
    assert {one.topic for one in online.deliveries()} == {"products/create"}


def test_two_secrets_count_while_one_is_replaced() -> None:
    body = b"{}"
    old, new = "the old secret, of old", "0123456789abcdef0123"
    both = secrets_of(f"{old},{new}")
    assert signed_in_base64(in_base64(body, new), body, both)
    assert signed_in_base64(in_base64(body, "the old secret"), body, both) is False  # a part of it that is too short
    assert secrets_of("has,a,comma") == ("has,a,comma",)
    assert signed_in_base64(in_base64(body, "has,a,comma"), body, secrets_of("has,a,comma"))
    assert secrets_of("") == secrets_of(" , ,")[1:] == ()
    assert not signed_in_base64(in_base64(body, ""), body, secrets_of(""))


def test_a_new_webhook_of_woocommerces_is_greeted_and_nothing_else_unsigned_is(online: TestShop) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = online.post("/v1/webhooks/woocommerce", content=b"webhook_id=7", headers=form)
    assert (answer.status_code, answer.json()) == (200, {"outcome": "greeted", "id": None})
    assert online.post("/v1/webhooks/woocommerce", content=b"webhook_id=7&id=3", headers=form).status_code == 401
    assert online.post("/v1/webhooks/shopify", content=b"webhook_id=7", headers=form).status_code == 401
    assert {one.verdict for one in online.deliveries()} == {"rejected"}


def test_an_unknown_platform_and_one_without_a_secret_are_404_with_the_reason(
    api: TestClient, api_settings: Settings
) -> None:
    unknown = api.post("/v1/webhooks/magento", content=b"{}")
    assert (unknown.status_code, unknown.json()["expected"]) == (404, ["generic", "shopify", "woocommerce"])
    bare = api_settings.model_copy(update={"shopify_secret": None, "webhook_secret": None})
    with TestClient(create_app(bare)) as client:
        refused = client.post("/v1/webhooks/shopify", content=b"{}")
        assert (refused.status_code, refused.json()["expected"]) == (404, "MORELIKE_SHOPIFY_SECRET")
        assert client.post("/v1/webhooks/generic", content=b"{}").json()["expected"] == "MORELIKE_WEBHOOK_SECRET"


def test_a_body_that_is_too_large_is_refused_at_the_byte(api_settings: Settings) -> None:
    small = api_settings.model_copy(update={"request_max_bytes": 2000})
    with TestClient(create_app(small)) as client:
        body = b"x" * 2001
        sent = {"X-Shopify-Hmac-Sha256": in_base64(body, SECRETS["shopify"])}
        assert client.post("/v1/webhooks/shopify", content=body, headers=sent).status_code == 413


def test_strangers_fill_neither_disk_nor_table(
    database_url: str, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = connect(database_url, single_statements=True)
    inbox = Inbox(engine, {"generic": ("0123456789abcdef",)})
    for number in range(30):  # as fast as they can: at most one in REJECTED_EVERY_S is written down
        with pytest.raises(door.SignatureWrong):
            inbox.take("generic", {}, b"x%d" % number)
    with sessions() as session:
        assert (session.scalar(text("SELECT count(*) FROM deliveries")) or 0) <= 5
    monkeypatch.setattr(door, "REJECTED_EVERY_S", 0.0)
    for number in range(REJECTED_KEPT + 20):
        with pytest.raises(door.SignatureWrong):
            inbox.take("generic", {}, b"y%d" % number)
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM deliveries WHERE verdict = 'rejected'")) == REJECTED_KEPT
    engine.dispose()


def test_headers_of_any_length_and_bytes_are_kept_short(online: TestShop) -> None:
    answer = online.shopify("products/create", "shopify_products_create", key="k" * 5000)
    assert answer.status_code == 200
    answer = online.shopify("t" * 5000, b"{}", triggered="never", **{"X-Shopify-Odd": "\x01\x7f" * 300})
    assert answer.status_code == 200
    assert online.apply() == {"applied": 1, "ignored": 1}


def test_a_signature_that_is_no_text_is_only_wrong() -> None:
    for given in ("", "é", "=" * 10_000, "\udc80", base64.b64encode(b"short").decode()):
        assert not signed_in_base64(given, b"{}", ("secret",))
    assert in_hex(b"{}", "secret") != in_hex(b"{}", "Secret")


def test_the_door_needs_no_key_and_the_list_an_admins(api: TestClient, keys: Keys, online: TestShop) -> None:
    online.shopify("products/create", "shopify_products_create")
    for key, status in ((keys.admin, 200), (keys.server, 403), ({}, 401)):
        assert api.get("/v1/deliveries", headers=key).status_code == status
        assert api.get("/v1/deliveries/1", headers=key).status_code == status
        assert api.post("/v1/deliveries:replay", json={"ids": [1]}, headers=key).status_code == status


def test_what_was_taken_in_is_on_disk_once_it_has_settled(quiet_server: str, session: Session) -> None:
    engine = connect(quiet_server, single_statements=True)
    for durable in (False, True):
        inbox = Inbox(engine, {"generic": ("0123456789abcdef",)}, durable=durable)
        body = b'{"id": "%d", "title": "T"}' % durable
        inbox.take("generic", {"x-morelike-signature": in_hex(body, "0123456789abcdef")}, body)
        written = session.scalar(text("SELECT pg_current_wal_insert_lsn()"))
        inbox.settle()
        flushed = text("SELECT pg_current_wal_flush_lsn() >= CAST(:written AS pg_lsn)")
        assert session.scalar(flushed, {"written": written})
        session.rollback()
    engine.dispose()
