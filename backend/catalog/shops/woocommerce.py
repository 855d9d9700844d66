"""WooCommerce: products as its webhooks and its REST interface (v3) say them, and its deliveries.

Checked against ``class-wc-webhook.php`` and the product controllers of WooCommerce 10.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from backend.catalog.shops.platform import (
    Change,
    Delete,
    Envelope,
    Ignored,
    NotReadable,
    Received,
    Shop,
    Write,
    WriteVariant,
    signed_in_base64,
)
from backend.catalog.shops.reading import (
    BRAND_MAX,
    CAPTIONS_MAX,
    CATEGORY_MAX,
    DESCRIPTION_MAX,
    SKU_MAX,
    TITLE_MAX,
    VALUE_MAX,
    attributes_of,
    checked,
    distinct,
    instant_of,
    line,
    lines,
    number_of,
    object_of,
    objects,
    pictures,
    text_of,
)

_STOCK = {"instock": "in_stock", "outofstock": "out_of_stock", "onbackorder": "backorder"}
_SHOWN = ("", "visible", "search")
"""Values of ``catalog_visibility`` with which WooCommerce itself lets a search find a product."""


def product_of(
    body: Mapping[str, Any], shop: Shop, variations: Sequence[Mapping[str, Any]] | None = None
) -> Write | Delete:
    """The product that ``body`` says, with its ``variations`` where they were asked for.

    Its id is WooCommerce's number. A product names its variations by number only, so without ``variations`` the
    variants that are kept stay. One that is not published, or that the shop's own search does not show, is a deletion.

    Raises:
        NotReadable: ``body`` is no product of WooCommerce's.
    """
    number = number_of(body.get("id"), "id")
    at = instant_of(body.get("date_modified_gmt") or body.get("date_modified"), "date_modified_gmt")
    visible = line(body.get("catalog_visibility"), 20) in _SHOWN
    if line(body.get("status"), 20) not in ("", "publish") or not visible:
        return Delete(number, at)
    taken = set[str]()
    found = [_variant(one, number, taken) for one in variations or () if line(one.get("status"), 20) in ("", "publish")]
    named = isinstance(body.get("variations"), list) and bool(body["variations"])
    values = _values(body, number) | {"updated_at": at, "currency": shop.currency, "variants": found}
    values["availability"] = _availability(body)
    return Write(checked(values), keeps_variants=named and variations is None)


def _values(body: Mapping[str, Any], number: str) -> dict[str, Any]:
    categories = lines((one.get("name") for one in objects(body.get("categories"))), CATEGORY_MAX)
    brands = lines((one.get("name") for one in objects(body.get("brands"))), BRAND_MAX)
    attributes = attributes_of(
        [
            ("categories", categories if len(categories) > 1 else []),
            *((one.get("name"), _options(one)) for one in objects(body.get("attributes"))),
        ]
    )
    if tags := lines((one.get("name") for one in objects(body.get("tags"))), VALUE_MAX):
        attributes["tags"] = tags[:250]
    images = objects(body.get("images"))  # not those of variations, which a webhook of the product does not name
    description = text_of(body.get("description"), DESCRIPTION_MAX)
    link = line(body.get("permalink"), 2000)
    return {
        "id": number,
        "title": text_of(body.get("name"), TITLE_MAX),
        "description": description or text_of(body.get("short_description"), DESCRIPTION_MAX),
        "brand": brands[0] if brands else None,
        "category": [text_of(one, CATEGORY_MAX) for one in categories[:1]],
        "price": body["price"] if body.get("price") not in (None, "") else None,
        "url": link if link.startswith(("http://", "https://")) else None,
        "attributes": attributes,
        "images": pictures(one.get("src") for one in images),
        "captions": lines((one.get("alt") for one in images), VALUE_MAX)[:CAPTIONS_MAX],
    }


def _options(attribute: Mapping[str, Any]) -> list[Any]:
    """All options of a product's attribute, the one option of a variation's."""
    options = attribute.get("options")
    return options if isinstance(options, list) else [attribute.get("option")]


def _variant(body: Mapping[str, Any], parent: str, taken: set[str]) -> dict[str, Any]:
    number = number_of(body.get("id"), "id")
    options = {
        name: value
        for name, value in attributes_of(
            (one.get("name"), _options(one)) for one in objects(body.get("attributes"))
        ).items()
        if isinstance(value, str)
    }
    variant: dict[str, Any] = {
        "sku": distinct(line(body.get("sku"), SKU_MAX) or f"{parent}-{number}", taken),
        "attributes": options,
        "availability": _availability(body),
    }
    if options:
        variant["title"] = " / ".join(options.values())[:500]
    if body.get("price") not in (None, ""):
        variant["price"] = body["price"]
    return variant


def _availability(body: Mapping[str, Any]) -> str:
    return _STOCK.get(line(body.get("stock_status"), 20), "in_stock")


def _variation(body: Mapping[str, Any]) -> WriteVariant:
    """A variation, which WooCommerce sends under the topics of products."""
    parent = number_of(body.get("parent_id"), "parent_id")
    at = instant_of(body.get("date_modified_gmt"), "date_modified_gmt")
    variant = _variant(body, parent, set())
    sold = line(body.get("status"), 20) in ("", "publish")
    return WriteVariant(parent, variant["sku"], at, variant if sold else None)


class WooCommerce:
    """WooCommerce's deliveries."""

    name = "woocommerce"

    def envelope(self, headers: Mapping[str, str], body: bytes) -> Envelope:
        """Named by webhook, delivery and product.

        The delivery id alone is a hash of webhook and second, so two products saved in one second share it; and the
        body alone would take a second deletion, or a return to an earlier state, for a repetition.
        """
        kept = {name: line(value, 200) for name, value in headers.items() if name.startswith("x-wc-webhook-")}
        kept.pop("x-wc-webhook-signature", None)
        resource = re.search(rb'"id"\s*:\s*(\d{1,20})', body[:200])
        parts = (kept.get("x-wc-webhook-id", ""), kept.get("x-wc-webhook-delivery-id", ""))
        key = "/".join([*parts, resource[1].decode() if resource else ""])
        return Envelope(kept.get("x-wc-webhook-topic", ""), key, headers=kept)

    def is_signed(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
        """``X-WC-Webhook-Signature`` is the base64 HMAC of the raw body with the webhook's secret."""
        return signed_in_base64(headers.get("x-wc-webhook-signature", ""), body, secrets)

    def is_greeting(self, headers: Mapping[str, str], body: bytes) -> bool:
        """A new webhook tries its address with the unsigned form ``webhook_id=N`` and is disabled if that fails."""
        return "x-wc-webhook-topic" not in headers and re.fullmatch(rb"\s*webhook_id=\d{1,20}\s*", body) is not None

    def read(self, received: Received, shop: Shop) -> Sequence[Change]:
        """The product, or the variation of one, of the topics ``product.*``."""
        topic = received.envelope.topic.lower()
        if topic not in ("product.created", "product.updated", "product.restored", "product.deleted"):
            return [Ignored(f"topic {topic or 'missing'} says nothing about products")]
        body = object_of(received.body)
        if topic == "product.deleted":
            if "name" in body:  # the topic is not signed: a product that was sent as such must not delete itself
                raise NotReadable(
                    "The topic says deletion, the body is a product.", found=topic, expected="an id alone"
                )
            return [Delete(number_of(body.get("id"), "id"), received.received_at)]
        if body.get("type") == "variation":
            return [_variation(body)]
        found = product_of(body, shop)
        if topic == "product.restored" and isinstance(found, Write):
            # deletions carry no time and are dated on arrival; what undoes one is dated by the same clock
            dated = max(received.received_at, found.product.updated_at or received.received_at)
            found = Write(found.product.model_copy(update={"updated_at": dated}), found.keeps_variants)
        return [found]
