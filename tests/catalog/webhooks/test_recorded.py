"""Recorded payloads of each platform, sent and applied: the catalogue ends in the right state each time."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.models import Product, ProductImage
from backend.catalog.shops.platform import Shop
from backend.catalog.webhooks.apply import Applier
from tests.catalog.webhooks.conftest import TestShop
from tests.catalog.webhooks.recorded import parsed

BEAR, MUG = "788032119674292922", "794"


def accepted(answer: Any) -> None:
    assert (answer.status_code, answer.json()["outcome"]) == (200, "accepted"), answer.text


def test_shopify_creates_updates_and_deletes(shop: TestShop) -> None:
    accepted(shop.shopify("products/create", "shopify_products_create"))
    assert shop.product(BEAR) is None  # answered before the work is done
    assert shop.apply() == {"applied": 1}, shop.deliveries()
    bear = shop.product(BEAR)
    assert bear is not None
    assert (bear.title, bear.price, bear.currency, len(bear.images), len(bear.variants)) == (
        "Plush Bear",
        19.99,
        "EUR",
        2,
        3,
    )
    assert bear.url == "https://fable.myshopify.com/products/plush-bear"
    accepted(shop.shopify("products/update", "shopify_products_update", triggered="2026-11-20T15:30:00Z"))
    assert shop.apply() == {"applied": 1}
    bear = shop.product(BEAR)
    assert bear is not None
    assert (bear.title, bear.price) == ("Plush Bear, large", 17.99)
    accepted(shop.shopify("products/delete", "shopify_products_delete", triggered="2026-11-20T17:00:00Z"))
    assert shop.apply() == {"applied": 1}
    assert shop.product(BEAR) is None


def test_woocommerce_creates_updates_deletes_and_restores(shop: TestShop) -> None:
    accepted(shop.woo("product.created", "woocommerce_product_created"))
    assert shop.apply() == {"applied": 1}
    mug = shop.product(MUG)
    assert mug is not None
    assert (mug.title, mug.price, mug.availability) == ("Tom & Mia Mug", 12, "in_stock")
    accepted(shop.woo("product.updated", "woocommerce_product_updated"))
    shop.apply()
    mug = shop.product(MUG)
    assert mug is not None
    assert (mug.title, mug.price, mug.availability) == ("Tom & Mia Mug, 300 ml", 11, "out_of_stock")
    accepted(shop.woo("product.deleted", "woocommerce_product_deleted"))
    assert shop.apply() == {"applied": 1}
    assert shop.product(MUG) is None
    accepted(shop.woo("product.restored", "woocommerce_product_updated"))
    assert shop.apply() == {"applied": 1}
    assert shop.product(MUG) is not None
    accepted(shop.woo("product.deleted", "woocommerce_product_deleted"))  # the same body as before, and no repetition
    assert shop.apply() == {"applied": 1}
    assert shop.product(MUG) is None


def test_generic_json_creates_and_deletes_many_at_once(shop: TestShop) -> None:
    accepted(shop.generic([{"id": "a", "title": "A", "price": 3}, {"id": "b", "title": "B"}]))
    assert shop.apply() == {"applied": 1}
    accepted(shop.generic([{"id": "a", "deleted": True}, {"id": "b", "title": "B2"}]))
    shop.apply()
    b = shop.product("b")
    assert b is not None
    assert (shop.product("a"), b.title, b.currency) == (None, "B2", "EUR")
    assert [one.products for one in shop.deliveries()] == [["a", "b"], ["a", "b"]]


@pytest.mark.parametrize(
    ("send", "first", "second", "product", "kept", "new"),
    [
        ("shopify", "products_update", "products_update_media", BEAR, "bear-front.jpg?v=17321001", "bear-side.jpg"),
        ("woo", "product_updated", "product_updated_media", MUG, "mug-front.jpg", "mug-side.jpg"),
    ],
)
def test_changed_media_keep_the_rows_of_pictures_that_stay(
    shop: TestShop, session: Session, send: str, first: str, second: str, product: str, kept: str, new: str
) -> None:
    def images() -> dict[str, int]:
        query = select(ProductImage.source, ProductImage.id).join(Product, Product.number == ProductImage.product)
        rows = session.execute(query.where(Product.id == product).order_by(ProductImage.position)).all()
        session.rollback()
        return {row.source.rsplit("/", 1)[1]: row.id for row in rows}

    platform = "shopify" if send == "shopify" else "woocommerce"
    topic = "products/update" if send == "shopify" else "product.updated"
    accepted(getattr(shop, send)(topic, f"{platform}_{first}"))
    shop.apply()
    before = images()
    accepted(getattr(shop, send)(topic, f"{platform}_{second}"))
    assert shop.apply() == {"applied": 1}
    after = images()
    assert after[kept] == before[kept]
    assert any(name.startswith(new) for name in after)
    assert not any(name.startswith(new) for name in before)


@pytest.mark.parametrize("send", ["shopify", "woo", "generic"])
def test_five_duplicates_are_one_delivery_counted_five_times(shop: TestShop, send: str) -> None:
    bodies: dict[str, Any] = {
        "shopify": ("products/create", "shopify_products_create"),
        "woo": ("product.created", "woocommerce_product_created"),
        "generic": ({"id": "a", "title": "A"},),
    }
    answers = [getattr(shop, send)(*bodies[send], key="the same") for _ in range(6)]
    assert [answer.json()["outcome"] for answer in answers] == ["accepted", *["duplicate"] * 5]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert shop.apply() == {"applied": 1}
    (one,) = shop.deliveries()
    assert (one.verdict, one.repeats) == ("applied", 5)
    again = getattr(shop, send)(*bodies[send], key="the same")
    assert again.json()["outcome"] == "duplicate"
    assert shop.apply() == {}


def test_two_products_saved_in_one_second_of_woocommerces_are_two_deliveries(shop: TestShop) -> None:
    other = parsed("woocommerce_product_created") | {"id": 795}
    accepted(shop.woo("product.created", "woocommerce_product_created", key="one second"))
    accepted(shop.woo("product.created", other, key="one second"))
    assert shop.apply() == {"applied": 2}


def test_an_event_told_to_two_subscriptions_is_applied_once(shop: TestShop) -> None:
    for _ in range(2):
        accepted(shop.shopify("products/create", "shopify_products_create", **{"X-Shopify-Event-Id": "event 1"}))
    assert shop.apply() == {"applied": 1, "duplicate": 1}
    accepted(shop.shopify("products/create", "shopify_products_create", **{"X-Shopify-Event-Id": "event 1"}))
    assert shop.apply() == {"duplicate": 1}


def test_shopifys_deliveries_in_reversed_order_end_in_the_newest_state(shop: TestShop) -> None:
    shop.shopify("products/update", "shopify_products_update_media", triggered="2026-11-20T16:00:00Z")
    shop.apply()
    shop.shopify("products/update", "shopify_products_update", triggered="2026-11-20T15:30:00Z")
    shop.apply()
    shop.shopify("products/create", "shopify_products_create", triggered="2026-11-20T14:00:00Z")
    assert shop.apply() == {"stale": 1}
    bear = shop.product(BEAR)
    assert bear is not None
    assert [(one.topic, one.verdict) for one in shop.deliveries()] == [
        ("products/create", "stale"),
        ("products/update", "stale"),
        ("products/update", "applied"),
    ]
    assert [image.source.rsplit("/", 1)[1][:9] for image in bear.images] == ["bear-fron", "bear-side"]


def test_a_deletion_that_comes_before_its_creation_stays_a_deletion(shop: TestShop) -> None:
    shop.shopify("products/delete", "shopify_products_delete", triggered="2026-11-20T17:00:00Z")
    shop.apply()
    shop.shopify("products/update", "shopify_products_update_media", triggered="2026-11-20T16:00:00Z")
    assert shop.apply() == {"stale": 1}
    assert shop.product(BEAR) is None
    shop.woo("product.deleted", "woocommerce_product_deleted")
    shop.woo("product.created", "woocommerce_product_created")
    assert shop.apply() == {"applied": 1, "stale": 1}
    assert shop.product(MUG) is None


@pytest.mark.parametrize("apart", [True, False])
def test_of_two_deliveries_dated_in_the_same_second_the_one_triggered_later_stays(shop: TestShop, apart: bool) -> None:
    older, newer = parsed("shopify_products_create"), parsed("shopify_products_create") | {"title": "Renamed"}
    shop.shopify("products/update", newer, triggered="2026-11-20T14:00:00.9Z")
    if apart:
        shop.apply()
    shop.shopify("products/create", older, triggered="2026-11-20T14:00:00.1Z")
    shop.apply()
    bear = shop.product(BEAR)
    assert bear is not None
    assert bear.title == "Renamed"


def test_a_variation_of_woocommerces_is_written_to_its_product_and_outlives_the_products_own_updates(
    shop: TestShop,
) -> None:
    shop.woo("product.updated", "woocommerce_product_updated_variation")
    assert shop.apply() == {"failed": 1}  # it came before its product, and will be tried again
    shop.woo("product.created", "woocommerce_product_created")
    assert shop.apply() == {"applied": 1}
    shop.woo("product.updated", "woocommerce_product_updated_variation")
    assert shop.apply() == {"applied": 1}
    shop.woo("product.updated", "woocommerce_product_updated")
    assert shop.apply() == {"applied": 1}
    mug = shop.product(MUG)
    assert mug is not None
    assert (mug.title, mug.price, mug.captions) == ("Tom & Mia Mug, 300 ml", 11, ["a white mug with a blue rim"])
    assert [(v.sku, v.title, v.price, v.attributes) for v in mug.variants] == [
        ("MUG-GREEN", "Green", Decimal(13), {"color": "Green"})
    ]
    gone = parsed("woocommerce_product_updated_variation") | {"status": "private"}
    shop.woo("product.updated", gone)
    shop.apply()
    mug = shop.product(MUG)
    assert mug is not None
    assert mug.variants == []


def test_a_currency_that_an_import_knew_outlives_webhooks_which_name_none(
    shop: TestShop, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    shop.shopify("products/create", "shopify_products_create")
    shop.woo("product.created", "woocommerce_product_created")
    shop.apply()  # the shop of these tests has its currency set
    bare = Applier(sessions, BlobStore(tmp_path), Shop(), on_written=lambda _session: None)
    shop.shopify("products/update", "shopify_products_update")
    shop.woo("product.updated", "woocommerce_product_updated")
    assert bare.run_due() == {"applied": 2}
    for product in (BEAR, MUG):
        found = shop.product(product)
        assert found is not None
        assert found.currency == "EUR"


def test_a_product_known_by_its_handle_from_an_export_is_replaced(shop: TestShop) -> None:
    shop.generic([{"id": "plush-bear", "title": "Plush Bear", "updated_at": "2026-11-01T00:00:00Z"}])
    shop.shopify("products/update", "shopify_products_update")
    assert shop.apply() == {"applied": 2}
    assert (shop.product("plush-bear"), shop.product(BEAR) is not None) == (None, True)
