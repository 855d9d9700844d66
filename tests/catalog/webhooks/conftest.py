"""The API with a secret for every platform, and a shop that signs what it sends: to the API, or at the door itself."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.blobs import BlobStore
from backend.catalog.product_out import ProductOut
from backend.catalog.reads import get_product
from backend.catalog.shops.platform import Shop, secrets_of
from backend.catalog.webhooks.apply import Applier
from backend.catalog.webhooks.inbox import Inbox
from backend.catalog.webhooks.reads import list_deliveries
from backend.catalog.webhooks.schemas import DeliveryRow
from backend.db import connect, session_scope
from backend.errors import AppError
from backend.main import create_app
from backend.settings import Settings
from tests.catalog.webhooks.recorded import in_base64, in_hex, payload

SECRETS = {
    "shopify": "shpss_0123456789abcdef",
    "woocommerce": "woo secret, with a comma",
    "generic": "0123456789abcdef",
}
_numbers = itertools.count(1)


@pytest.fixture
def api_settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """No route of these tests asks Milvus or an encoder."""
    return Settings(
        home=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        milvus_uri="http://127.0.0.1:1",
        log_level="error",
        shopify_secret=SecretStr(SECRETS["shopify"]),
        woocommerce_secret=SecretStr(SECRETS["woocommerce"]),
        webhook_secret=SecretStr(SECRETS["generic"]),
    )


@pytest.fixture
def app(api_settings: Settings) -> FastAPI:
    return create_app(api_settings)


@dataclass
class TestShop:
    """A shop that signs what it sends, and the worker's part behind it."""

    __test__ = False

    post: Callable[..., httpx.Response]
    sessions: sessionmaker[Session]
    applier: Applier

    def shopify(
        self,
        topic: str,
        body: bytes | str | dict[str, Any],
        *,
        key: str | None = None,
        triggered: str | None = "2026-11-20T14:00:00.123456789Z",
        secret: str = SECRETS["shopify"],
        **headers: str,
    ) -> httpx.Response:
        sent = _bytes(body)
        given = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": in_base64(sent, secret),
            "X-Shopify-Shop-Domain": "fable.myshopify.com",
            "X-Shopify-API-Version": "2026-04",
            "X-Shopify-Webhook-Id": key or f"webhook-{next(_numbers)}",
        }
        if triggered:
            given["X-Shopify-Triggered-At"] = triggered
        return self.post("/v1/webhooks/shopify", content=sent, headers=given | headers)

    def woo(
        self, topic: str, body: bytes | str | dict[str, Any], *, key: str | None = None, secret: str | None = None
    ) -> httpx.Response:
        sent = _bytes(body)
        given = {
            "Content-Type": "application/json",
            "User-Agent": "WooCommerce/10.3.4 Hookshot (WordPress/6.8)",
            "X-WC-Webhook-Source": "https://woo.example/",
            "X-WC-Webhook-Topic": topic,
            "X-WC-Webhook-Resource": "product",
            "X-WC-Webhook-Event": topic.partition(".")[2],
            "X-WC-Webhook-Signature": in_base64(sent, secret or SECRETS["woocommerce"]),
            "X-WC-Webhook-ID": "7",
            "X-WC-Webhook-Delivery-ID": key or f"delivery-{next(_numbers)}",
        }
        return self.post("/v1/webhooks/woocommerce", content=sent, headers=given)

    def generic(self, body: Any, *, key: str | None = None, secret: str = SECRETS["generic"]) -> httpx.Response:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"X-Morelike-Signature": f"sha256={in_hex(sent, secret)}"}
        return self.post(
            "/v1/webhooks/generic", content=sent, headers=given | ({"X-Morelike-Delivery": key} if key else {})
        )

    def apply(self) -> dict[str, int]:
        """What the worker's task does; how many deliveries met each verdict."""
        return dict(self.applier.run_due())

    def product(self, product_id: str) -> ProductOut | None:
        with session_scope(self.sessions) as session:
            return get_product(session, product_id)

    def deliveries(self, **wanted: Any) -> list[DeliveryRow]:
        with session_scope(self.sessions) as session:
            return list_deliveries(session, **wanted).deliveries


def _bytes(body: bytes | str | dict[str, Any]) -> bytes:
    if isinstance(body, str):
        return payload(body)
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
def applier(sessions: sessionmaker[Session], tmp_path: Path) -> Applier:
    return Applier(sessions, BlobStore(tmp_path / "blobs"), Shop(currency="EUR"), on_written=lambda _session: None)


@pytest.fixture
def shop(database_url: str, sessions: sessionmaker[Session], applier: Applier) -> Iterator[TestShop]:
    """A shop at the door itself: what the route does before and behind it is tested in ``test_door``."""
    engine = connect(database_url, single_statements=True)
    inbox = Inbox(engine, {name: secrets_of(secret) for name, secret in SECRETS.items()})

    def post(path: str, *, content: bytes, headers: dict[str, str]) -> httpx.Response:
        lower = {name.lower(): value for name, value in headers.items()}
        try:
            receipt = inbox.take(path.rpartition("/")[2], lower, content)
        except AppError as error:
            return httpx.Response(error.status, json=error.problem())
        return httpx.Response(200, json={"outcome": receipt.outcome, "id": receipt.id})

    yield TestShop(post, sessions, applier)
    engine.dispose()


@pytest.fixture
def online(api: TestClient, sessions: sessionmaker[Session], applier: Applier) -> TestShop:
    """The same shop, which sends over HTTP."""
    return TestShop(api.post, sessions, applier)
