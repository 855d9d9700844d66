"""A catalogue that a shop tells of its changes, and the worker's part behind it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.importer import Importer, ImportOptions, ImportReport
from backend.catalog.models import Product
from backend.catalog.product_out import ProductOut
from backend.catalog.reads import get_product
from backend.catalog.shops.opening import Access, open_shop
from backend.catalog.shops.platform import Shop
from backend.catalog.shops.pull import Pull
from backend.catalog.shops.reconcile import comparison
from backend.catalog.webhooks.apply import Applier
from backend.main import create_app
from backend.settings import Settings
from tests.fixtures.api import served
from tests.fixtures.shop_server import CLIENT_ID, CLIENT_SECRET, SECRET, TOPICS, ShopServer


def access(shop: ShopServer, *, keys: bool = False, patience_s: float = 30.0) -> Access:
    """Access to ``shop``; its pauses take no time, so that an hour of outage is over in a moment."""
    secret = (CLIENT_ID, CLIENT_SECRET) if keys else (None, None)
    return Access(shop.base, *secret, patience_s=patience_s, pause=lambda _seconds: None)


@dataclass
class Catalogue:
    """The catalogue under test."""

    sessions: sessionmaker[Session]
    blobs: BlobStore

    def read(self, shop: ShopServer, *, keys: bool = False, again: bool = False, **options: Any) -> ImportReport:
        """Import ``shop``; ``keys`` says whether with its credentials."""
        listing = open_shop(access(shop, keys=keys))
        settled = ImportOptions(currency=listing.currency(), **options)
        return Importer(self.sessions, self.blobs, settled).run(Pull(self.sessions, listing, again=again).feed())

    def reconcile(self, shop: ShopServer, *, patience_s: float = 30.0, **options: Any) -> ImportReport:
        """Compare ``shop`` with the catalogue, with its credentials."""
        asked = access(shop, keys=True, patience_s=patience_s)
        with comparison(self.sessions, asked, ImportOptions(**options)) as (feed, repairing):
            return Importer(self.sessions, self.blobs, repairing).run(feed)

    def apply(self, shop: ShopServer) -> dict[str, int]:
        """Apply the deliveries that arrived; how many met each verdict."""
        told = Shop(shop.base, "EUR")
        return dict(Applier(self.sessions, self.blobs, told, on_written=lambda _session: None).run_due())

    def alive(self) -> list[str]:
        with self.sessions() as session:
            return sorted(session.scalars(select(Product.id).where(Product.deleted_at.is_(None))), key=int)

    def product(self, product_id: str) -> ProductOut:
        with self.sessions() as session:
            found = get_product(session, product_id)
        assert found is not None
        return found


@pytest.fixture
def catalogue(sessions: sessionmaker[Session], tmp_path: Path) -> Catalogue:
    return Catalogue(sessions, BlobStore(tmp_path / "blobs"))


@pytest.fixture
def api_settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """No route of these tests asks Milvus or an encoder."""
    return Settings(
        home=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        milvus_uri="http://127.0.0.1:1",
        log_level="error",
        shopify_secret=SecretStr(SECRET),
        woocommerce_secret=SecretStr(SECRET),
    )


@pytest.fixture
def app(api_settings: Settings) -> FastAPI:
    return create_app(api_settings)


@pytest.fixture
def subscribed(app: FastAPI) -> Iterator[Callable[[ShopServer], None]]:
    """Subscribes the API, behind a real server, to a shop's webhooks."""
    with served(app) as url:

        def subscribe(shop: ShopServer) -> None:
            shop.hooks = [(topic, f"{url}/v1/webhooks/{shop.kind}") for topic in TOPICS[shop.kind].values()]

        yield subscribe
