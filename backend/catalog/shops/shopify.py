"""Shopify: products as its webhooks and its REST interface say them, and its deliveries.

Checked against the payloads that https://shopify.dev/docs/api/webhooks publishes (2024-10 to 2026-04).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from backend.catalog.feeds.values import parts_of
from backend.catalog.shops.platform import (
    Change,
    Delete,
    Envelope,
    Ignored,
    NotReadable,
    Received,
    Shop,
    Write,
    signed_in_base64,
)
from backend.catalog.shops.reading import (
    BRAND_MAX,
    CAPTIONS_MAX,
    CATEGORY_MAX,
    DESCRIPTION_MAX,
    NAME_MAX,
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

WRITES, DELETES = ("products/create", "products/update"), ("products/delete",)


def product_of(body: Mapping[str, Any], shop: Shop) -> Write | Delete:
    """The product that ``body`` says: a webhook's, ``/products.json``'s or the Admin REST interface's.

    Its id is Shopify's number, by which deletions, orders and events name it; the handle, by which exports to CSV know
    it, is what it ``replaces``. A draft, archived, unlisted or unpublished product is a deletion. ``/products.json``
    says less than a webhook (no category, stock as yes or no), so a product whose ``updated_at`` is the kept one's need
    not be written again from there.

    Raises:
        NotReadable: ``body`` is no product of Shopify's.
    """
    number, handle = number_of(body.get("id"), "id"), line(body.get("handle"), 255)
    at = instant_of(body.get("updated_at"), "updated_at")
    replaces = (handle,) if handle and not handle.isdecimal() else ()
    status = line(body.get("status"), 20).lower()
    unpublished = "published_at" in body and body["published_at"] is None
    if status in ("draft", "archived", "unlisted") or unpublished:
        return Delete(number, at, replaces)
    variants = _variants(body, handle or number)
    partial = len(objects(body.get("variant_gids"))) > len(variants)
    return Write(checked(_values(body, number, handle, at, shop) | {"variants": variants}), partial, replaces)


def _values(body: Mapping[str, Any], number: str, handle: str, at: datetime | None, shop: Shop) -> dict[str, Any]:
    kind, category = line(body.get("product_type"), CATEGORY_MAX), body.get("category")
    path = line(category.get("full_name"), 2000) if isinstance(category, dict) else ""
    tags = body.get("tags")
    attributes = attributes_of([("type", [kind] if path else [])])
    if found := lines(tags if isinstance(tags, list) else parts_of(line(tags, 50_000), ","), VALUE_MAX):
        attributes["tags"] = found[:250]  # a list, even of one, as the importer has it
    shown = _pictures(body)
    return {
        "id": number,
        "title": line(body.get("title"), TITLE_MAX),
        "description": text_of(body.get("body_html"), DESCRIPTION_MAX),
        "brand": line(body.get("vendor"), BRAND_MAX) or None,
        "category": [part[:CATEGORY_MAX] for part in path.split(" > ")][:12] if path else [kind],
        "currency": shop.currency,
        "url": f"{shop.url}/products/{handle}" if shop.url and handle else None,
        "attributes": attributes,
        "images": pictures(source for source, _ in shown),
        "captions": lines((alt for _, alt in shown), VALUE_MAX)[:CAPTIONS_MAX],
        "updated_at": at,
    }


def _pictures(body: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """(address, alternative text) of the pictures in their order, then of those that variants have for themselves."""
    images = objects(body.get("images"))
    if not images:  # media is where newer payloads say it too; videos and models show a still there, which is no photo
        media = [one for one in objects(body.get("media")) if one.get("media_content_type") == "IMAGE"]
        images = [one | (one["preview_image"] if isinstance(one.get("preview_image"), dict) else {}) for one in media]
    placed = sorted(images, key=lambda one: one["position"] if isinstance(one.get("position"), int) else 10**6)
    own = [variant.get("featured_image") for variant in objects(body.get("variants"))]
    return [(one.get("src"), one.get("alt")) for one in chain(placed, objects(own))]


def _variants(body: Mapping[str, Any], named: str) -> list[dict[str, Any]]:
    names = [line(option.get("name"), NAME_MAX).lower() for option in objects(body.get("options"))[:3]]
    variants, taken = [], set[str]()
    for one in objects(body.get("variants")):
        values = [line(one.get(f"option{place}"), VALUE_MAX) for place in (1, 2, 3)]
        options = {
            name: value
            for name, value in zip(names, values, strict=False)
            if name and value not in ("", "Default Title")
        }
        sku = line(one.get("sku"), SKU_MAX) or "-".join([named, *options.values()])[:SKU_MAX]
        variant = {"sku": distinct(sku, taken), "attributes": options, "availability": _availability(one)}
        if options:
            variant["title"] = " / ".join(options.values())[:500]
        if one.get("price") not in (None, ""):
            variant["price"] = one["price"]
        variants.append(variant)
    return variants


def _availability(variant: Mapping[str, Any]) -> str:
    """Stock that nobody tracks is there; ``/products.json`` says only whether there is any."""
    if isinstance(variant.get("available"), bool):
        return "in_stock" if variant["available"] else "out_of_stock"
    quantity = variant.get("inventory_quantity")
    tracked = variant.get("inventory_management", "shopify") not in (None, "")
    if not tracked or not isinstance(quantity, int) or quantity > 0:
        return "in_stock"
    return "backorder" if variant.get("inventory_policy") == "continue" else "out_of_stock"


class Shopify:
    """Shopify's deliveries."""

    name = "shopify"

    def envelope(self, headers: Mapping[str, str], body: bytes) -> Envelope:
        """Named by the webhook id, which repetitions share; the event id is shared by several subscriptions."""
        del body  # everything stands in the headers
        kept = {name: line(value, 200) for name, value in headers.items() if _is_own(name)}

        def header(name: str) -> str:
            # the announced "Events" leave the X- away
            return kept.get(f"x-shopify-{name}") or kept.get(f"shopify-{name}") or ""

        event = header("event-id")
        try:
            triggered_at = instant_of(header("triggered-at"), "x-shopify-triggered-at")
        except NotReadable:
            triggered_at = None
        return Envelope(header("topic"), header("webhook-id") or event, event or None, triggered_at, kept)

    def is_signed(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
        """``X-Shopify-Hmac-Sha256`` is the base64 HMAC of the raw body with the app's secret."""
        given = headers.get("x-shopify-hmac-sha256") or headers.get("shopify-hmac-sha256") or ""
        return signed_in_base64(given, body, secrets)

    def is_greeting(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Shopify signs everything."""
        del headers, body
        return False

    def read(self, received: Received, shop: Shop) -> Sequence[Change]:
        """The product of ``products/create``, ``products/update`` and ``products/delete``."""
        topic = received.envelope.topic.lower()
        if topic not in WRITES + DELETES:
            return [Ignored(f"topic {topic or 'missing'} says nothing about products")]
        body = object_of(received.body)
        if topic in WRITES:
            return [product_of(body, shop)]
        if "title" in body:  # the topic is not signed: a product that was sent as such must not delete itself
            raise NotReadable(
                "The topic says deletion, the body is a product.", found=topic, expected="a body of an id"
            )
        triggered = received.envelope.triggered_at
        at = min(triggered, received.received_at) if triggered else received.received_at
        return [Delete(number_of(body.get("id"), "id"), at)]


def _is_own(name: str) -> bool:
    return name.startswith(("x-shopify-", "shopify-")) and "hmac" not in name
