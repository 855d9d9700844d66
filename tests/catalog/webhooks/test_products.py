"""What the platforms' products become: the same as their exports become in the importer."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from backend.catalog.shops import shopify, woocommerce
from backend.catalog.shops.platform import Delete, NotReadable, Shop, Write
from tests.catalog.webhooks.recorded import parsed

SHOP = Shop("https://shop.example", "EUR")


def of_shopify(name: str = "shopify_products_create", **changes: Any) -> Write | Delete:
    return shopify.product_of(parsed(name) | changes, SHOP)


def test_a_product_of_shopifys_webhook() -> None:
    found = of_shopify()
    assert isinstance(found, Write)
    assert (found.keeps_variants, found.replaces) == (False, ("plush-bear",))
    product = found.product
    assert (product.id, product.title, product.brand) == ("788032119674292922", "Plush Bear", "Fable")
    assert product.description == "A soft bear & friend. Washable"
    assert product.category == ["Toys & Games", "Toys", "Plush Toys"]
    assert product.attributes == {"type": "Plush Toys", "tags": ["bear", "gift"]}
    assert (product.price, product.currency, product.availability) == (Decimal("19.99"), "EUR", "in_stock")
    assert product.url == "https://shop.example/products/plush-bear"
    assert product.updated_at == datetime(2026, 11, 20, 14, tzinfo=UTC)
    assert [image.url for image in product.images] == [
        "https://cdn.shopify.com/s/files/1/0001/bear-front.jpg?v=17321001",
        "https://cdn.shopify.com/s/files/1/0001/bear-back.jpg?v=17321002",
    ]
    assert product.captions == ["a small green bear with big eyes"]
    assert [(v.sku, v.title, v.price, v.availability, v.attributes) for v in product.variants] == [
        ("BEAR-S", "Small / Moss", Decimal("19.99"), "in_stock", {"size": "Small", "color": "Moss"}),
        ("plush-bear-Large-Moss", "Large / Moss", Decimal("29.99"), "backorder", {"size": "Large", "color": "Moss"}),
        ("BEAR-S+2", "Large / Rust", Decimal("27.50"), "out_of_stock", {"size": "Large", "color": "Rust"}),
    ]


def test_a_product_of_products_json_has_one_variant_without_options_and_stock_as_yes_or_no() -> None:
    found = of_shopify("shopify_products_json")
    assert isinstance(found, Write)
    assert [(v.sku, v.title, v.availability, v.attributes) for v in found.product.variants] == [
        ("plain-cup", None, "out_of_stock", {})
    ]
    assert (found.product.category, found.product.availability) == (["Cups"], "out_of_stock")
    assert found.product.attributes == {"tags": ["cup"]}


@pytest.mark.parametrize("change", [{"status": "draft"}, {"status": "archived"}, {"published_at": None}])
def test_a_product_of_shopify_that_is_not_for_sale_is_a_deletion(change: dict[str, Any]) -> None:
    at = datetime(2026, 11, 20, 14, tzinfo=UTC)
    assert of_shopify(**change) == Delete("788032119674292922", at, ("plush-bear",))


def test_a_payload_with_fewer_variants_than_the_product_has_keeps_the_others() -> None:
    found = of_shopify(variants=parsed("shopify_products_create")["variants"][:1])
    assert isinstance(found, Write)
    assert found.keeps_variants


def test_pictures_are_taken_from_media_where_images_are_left_out() -> None:
    found = of_shopify(images=[])
    assert isinstance(found, Write)
    assert [image.url for image in found.product.images] == [
        "https://cdn.shopify.com/s/files/1/0001/bear-front.jpg?v=17321001",
        "https://cdn.shopify.com/s/files/1/0001/bear-back.jpg?v=17321002",
    ]


def test_a_product_of_woocommerce_with_and_without_its_variations() -> None:
    body, variation = parsed("woocommerce_product_created"), parsed("woocommerce_product_updated_variation")
    alone = woocommerce.product_of(body, SHOP)
    assert isinstance(alone, Write)
    assert (alone.keeps_variants, alone.replaces) == (True, ())
    product = alone.product
    assert (product.id, product.title, product.brand) == ("794", "Tom & Mia Mug", "Clay")
    assert (product.description, product.category) == ("A mug of stoneware.", ["Mugs"])
    assert product.attributes == {
        "categories": ["Mugs", "Kitchen"],
        "color": ["Blue", "Green"],
        "material": "Stoneware",
        "tags": ["gift"],
    }
    assert (product.price, product.availability) == (Decimal(12), "in_stock")
    assert (product.url, product.updated_at) == (body["permalink"], datetime(2026, 11, 20, 9, tzinfo=UTC))
    assert product.captions == ["a white mug with a blue rim"]
    whole = woocommerce.product_of(body, SHOP, [variation, variation | {"id": 732, "sku": "", "price": ""}])
    assert isinstance(whole, Write)
    assert not whole.keeps_variants
    assert [(v.sku, v.title, v.price, v.attributes) for v in whole.product.variants] == [
        ("MUG-GREEN", "Green", Decimal(13), {"color": "Green"}),
        ("794-732", "Green", None, {"color": "Green"}),
    ]
    assert len(whole.product.images) == 1


@pytest.mark.parametrize("change", [{"status": "draft"}, {"status": "private"}, {"catalog_visibility": "hidden"}])
def test_a_product_of_woocommerce_that_searches_do_not_show_is_a_deletion(change: dict[str, Any]) -> None:
    found = woocommerce.product_of(parsed("woocommerce_product_created") | change, SHOP)
    assert found == Delete("794", datetime(2026, 11, 20, 9, tzinfo=UTC))


@pytest.mark.parametrize(
    "change", [{"id": None}, {"id": True}, {"id": "x"}, {"id": 0}, {"title": ""}, {"updated_at": "x"}]
)
def test_what_is_no_product_says_why(change: dict[str, Any]) -> None:
    with pytest.raises(NotReadable) as raised:
        of_shopify(**change)
    assert raised.value.expected
