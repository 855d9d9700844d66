"""A shop is read whole, through outages and rate limits, and what is read twice is written once."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.models import ImportRun, Product, ProductImage, Variant
from backend.catalog.repository import delete_product, upsert_products
from backend.catalog.schemas import ProductIn
from backend.catalog.shops.client import BehindPassword, NotAllowed, ShopRefused, ShopSilent
from backend.catalog.shops.opening import Access, open_shop
from backend.db import session_scope
from tests.catalog.shops.conftest import Catalogue, access
from tests.fixtures.shop_items import Variety
from tests.fixtures.shop_server import CLIENT_ID, CLIENT_SECRET, ShopServer

WAYS = ("shopify", "shopify-admin", "woocommerce", "woo-store")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, ShopServer, bool]:
    """Each way to read a shop: its name, the shop, and whether it takes credentials."""
    shop = request.getfixturevalue("shopify" if request.param.startswith("shopify") else "woocommerce")
    return request.param, shop, request.param in ("shopify-admin", "woocommerce")


def test_a_shop_is_read_whole_and_once(
    way: tuple[str, ShopServer, bool], catalogue: Catalogue, sessions: sessionmaker[Session]
) -> None:
    name, shop, keys = way
    count = {"shopify": 260, "shopify-admin": 40}.get(name, 110)  # more than a page
    shop.stock(count)
    assert catalogue.read(shop, keys=keys).counts == {"created": count}
    assert catalogue.alive() == [str(number) for number in range(1, count + 1)]
    assert catalogue.read(shop, keys=keys).counts == {"unchanged": count}
    assert catalogue.read(shop, keys=keys, again=True).counts == {"unchanged": count}
    sized, plain = catalogue.product("3"), catalogue.product("4")
    assert (plain.title, plain.price, plain.currency, plain.brand) == ("Bag 4", 9.9, "EUR", "Fable")
    assert (plain.category, plain.description, plain.url) == (
        ["Bag"],
        "Made by hand.",
        f"{shop.base}/{'products' if name.startswith('shopify') else 'product'}/bag-4"
        + ("" if name.startswith("shopify") else "/"),
    )
    assert plain.captions == ([] if name == "shopify" else ["a bag on a table"])
    assert [(one.sku, one.attributes) for one in sized.variants] == [(f"VA-3-{size}", {"size": size}) for size in "SML"]
    with sessions() as session:
        kept = session.scalars(select(ProductImage.source)).all()
        runs = session.scalars(select(ImportRun).order_by(ImportRun.id)).all()
    assert sorted(kept) == sorted(f"{shop.base}/pictures/{number}.png?v=1" for number in range(1, count + 1))
    assert [(one.format, one.source, one.finished_at is not None) for one in runs] == [(name, shop.base, True)] * 3


def test_edits_deletions_and_drafts_are_taken_over(way: tuple[str, ShopServer, bool], catalogue: Catalogue) -> None:
    _, shop, keys = way
    shop.stock(12)
    catalogue.read(shop, keys=keys)
    shop.edit(5, title="Mug five", varieties=[Variety(50, "MU-5", None, "3.50", 0)])
    shop.edit(7, on_sale=False)
    shop.delete(8)
    shop.create(13)
    report = catalogue.read(shop, keys=keys, mode="full-sync")
    assert report.counts == {"created": 1, "updated": 1, "unchanged": 9, "deleted": 2}
    edited = catalogue.product("5")
    assert (edited.title, edited.price, edited.availability) == ("Mug five", 3.5, "out_of_stock")
    assert catalogue.alive() == [str(number) for number in range(1, 14) if number not in (7, 8)]


@pytest.mark.parametrize("outages", [[503], [0, 500, 429, 502], [200, 200, 503, 0]])
def test_an_outage_is_waited_out(way: tuple[str, ShopServer, bool], catalogue: Catalogue, outages: list[int]) -> None:
    _, shop, keys = way
    shop.stock(5)
    shop.outages.extend(outages)
    assert catalogue.read(shop, keys=keys).counts == {"created": 5}
    assert catalogue.alive() == ["1", "2", "3", "4", "5"]


def test_an_outage_without_end_keeps_what_was_read_deletes_nothing_and_can_be_resumed(
    woocommerce: ShopServer, catalogue: Catalogue, sessions: sessionmaker[Session]
) -> None:
    woocommerce.stock(250)
    catalogue.read(woocommerce, keys=True)
    for number in range(1, 251, 10):
        woocommerce.edit(number, title="Edited")
    woocommerce.delete(2)
    reached = [503 if place > 5 else 200 for place in range(40)]
    woocommerce.outages.extend(reached)
    report = catalogue.read(woocommerce, keys=True, mode="full-sync")
    assert "does not answer" in str(report.problem)
    assert report.counts["updated"] > 0
    assert "2" in catalogue.alive()
    woocommerce.outages.clear()
    resumed = catalogue.read(woocommerce, keys=True, mode="full-sync")
    assert (resumed.problem, resumed.counts["deleted"]) == (None, 1)
    assert resumed.counts["updated"] + report.counts["updated"] == 25
    with sessions() as session:
        stopped = session.scalars(select(ImportRun).order_by(ImportRun.id)).all()[1]
    assert [entry["kind"] for entry in stopped.rejected] == ["stopped"]


def test_the_retry_after_of_a_rate_limit_is_kept(shopify: ShopServer) -> None:
    shopify.stock(600)
    listing = open_shop(Access(shopify.base))
    shopify.per_second = 10
    assert sum(len(page) for page in listing.pages()) == 600
    shopify.per_second = None
    pages = [request for request in shopify.requests if "page=" in request]
    assert len(pages) >= 4  # the refused ones are asked again


def test_a_throttled_query_waits_for_its_points(shopify: ShopServer, catalogue: Catalogue) -> None:
    shopify.stock(60)
    shopify.points, shopify.restored = 600.0, 20_000.0
    assert catalogue.read(shopify, keys=True).counts == {"created": 60}


def test_a_product_of_many_variants_and_pictures_is_read_whole(shopify: ShopServer, catalogue: Catalogue) -> None:
    shopify.stock(1)
    item = shopify.items[1]
    item.varieties = [Variety(10 + n, f"V-{n}", str(n), "1.00", 1) for n in range(150)]
    item.pictures = [(f"{shopify.base}/pictures/{n}.png", f"view {n}") for n in range(33)]
    catalogue.read(shopify, keys=True)
    found = catalogue.product("1")
    assert [one.sku for one in found.variants] == [f"V-{n}" for n in range(150)]
    assert (len(found.images), len(found.captions)) == (33, 33)


def test_a_token_that_expired_is_bought_anew(shopify: ShopServer) -> None:
    shopify.stock(260)
    listing = open_shop(access(shopify, keys=True))
    shopify.tokens.clear()
    assert [len(page) for page in listing.pages()] == [250, 10]


def test_wrong_credentials_and_closed_shops_say_what_to_do(shopify: ShopServer, woocommerce: ShopServer) -> None:
    for shop in (shopify, woocommerce):
        with pytest.raises(ShopRefused) as refused:
            open_shop(Access(shop.base, "client", "wrong"))
        assert "Client authentication failed" in str(refused.value.found) or isinstance(refused.value, NotAllowed)
    shopify.is_open = False
    with pytest.raises(BehindPassword, match="MORELIKE_SHOP_CLIENT_ID"):
        open_shop(Access(shopify.base))
    with pytest.raises(ShopRefused, match="without TLS"):
        open_shop(Access("http://shop.example", CLIENT_ID, CLIENT_SECRET))
    woocommerce.outages.extend([503] * 50)
    with pytest.raises(ShopSilent, match="run it again later"):
        open_shop(access(woocommerce))


def test_an_address_that_is_no_shop(stranger: Any) -> None:
    with pytest.raises(ShopRefused, match="neither a Shopify shop nor a WooCommerce"):
        open_shop(Access(f"http://{stranger.host}"))


def test_a_product_skipped_between_two_pages_is_not_deleted(shopify: ShopServer, catalogue: Catalogue) -> None:
    """A product of page one goes while page two is asked for: its first product moves to page one, unseen."""
    shopify.stock(500)
    catalogue.read(shopify)
    seen = shopify.requests.append

    class Deleting(list[str]):
        def append(self, request: str) -> None:
            seen(request)
            if "page=2" in request and 1 in shopify.items:
                shopify.delete(1)

    shopify.requests = Deleting()
    report = catalogue.read(shopify, mode="full-sync")
    assert report.counts == {"unchanged": 499}
    assert "1 products were on no page" in report.notes[0]
    assert catalogue.alive() == [str(number) for number in range(1, 501)]
    assert catalogue.read(shopify, mode="full-sync").counts == {"unchanged": 499, "deleted": 1}


def test_what_was_deleted_here_and_is_sold_there_comes_back(
    woocommerce: ShopServer, catalogue: Catalogue, sessions: sessionmaker[Session]
) -> None:
    woocommerce.stock(3)
    catalogue.read(woocommerce, keys=True)
    listed_at = open_shop(access(woocommerce, keys=True)).as_of
    with session_scope(sessions) as session:
        delete_product(session, "1", listed_at - timedelta(hours=2))
        delete_product(session, "2", listed_at - timedelta(minutes=1))  # newer than a cached list may be
    assert catalogue.read(woocommerce, keys=True).counts == {"created": 1, "unchanged": 2}
    assert catalogue.alive() == ["1", "3"]


def test_a_product_that_a_file_brought_under_its_handle_is_replaced(
    shopify: ShopServer, catalogue: Catalogue, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    shopify.stock(2)
    former = [ProductIn(id=name, title="From the export") for name in ("scarf-1", "gift-card")]
    with session_scope(sessions) as session:
        upsert_products(session, former, blobs=BlobStore(tmp_path / "blobs"))
    assert catalogue.read(shopify).counts == {"created": 2, "deleted": 1}
    with sessions() as session:
        assert set(session.scalars(select(Product.id).where(Product.deleted_at.is_(None)))) == {"1", "2", "gift-card"}


def test_an_entry_that_is_no_product_is_rejected_and_the_rest_is_read(
    woocommerce: ShopServer, catalogue: Catalogue, sessions: sessionmaker[Session]
) -> None:
    woocommerce.stock(4)
    woocommerce.items[2].title = ""
    report = catalogue.read(woocommerce, keys=True)
    assert (report.counts["created"], report.counts["rejected"], report.problem) == (3, 1, None)
    with sessions() as session:
        assert session.scalars(select(Variant.sku)).all()
