"""Segment's and RudderStack's ``track`` calls, under the names of their e-commerce specifications.

https://segment.com/docs/connections/spec/ecommerce/v2/
https://www.rudderstack.com/docs/event-spec/ecommerce-events-spec/
"""

import secrets
from collections.abc import Mapping
from typing import Any

from backend.events.dialects.understood import (
    Understood,
    as_object,
    as_query_id,
    as_text,
    as_whole,
    as_zoned,
    content_id,
    cut,
    without_nothing,
)

CALLS = frozenset({"track", "identify", "page", "screen", "group", "alias"})
"""Kinds of messages; all but ``track`` are answered and not used."""

FIELDS: Mapping[str, str] = {
    "message_id": "messageId",
    "type": "event",
    "product_id": "properties.product_id",
    "items": "properties.products",
    "shopper_id": "anonymousId",
    "user_id": "userId",
    "session_id": "context.sessionId",
    "quantity": "properties.quantity",
    "price": "properties.price",
    "currency": "properties.currency",
    "stars": "properties.rating",
}

_TYPES = {
    "products searched": "search",
    "product list filtered": "search",
    "product list viewed": "exposure",
    "product clicked": "click",
    "product viewed": "click",
    "product added": "add_to_cart",
    "wishlist product added to cart": "add_to_cart",
    "product added to wishlist": "wishlist",
    "order completed": "purchase",
    "product reviewed": "rating",
}
_LISTED_MAX = 100


def understand(sent: dict[str, Any]) -> Understood:
    """A ``track`` call in the native shape; the other calls are not used."""
    context = as_object(sent.get("context"))
    message_id = sent.get("messageId") or _message_id(sent)
    name = sent.get("event")
    if sent.get("type") != "track":
        return _not_used(message_id, f"{sent.get('type')} calls are not used")
    if not isinstance(name, str):
        said = {"message_id": message_id, "type": name}  # for the schema to say what is wrong with it
        return Understood("segment", said)
    kind = _TYPES.get(name.strip().lower())
    if kind is None:
        return _not_used(message_id, f"events of this name are not used: found {cut(name, 100)!r}")
    properties = as_object(sent.get("properties"))
    what = _WHAT[kind](properties) if kind in _WHAT else {}
    if kind == "exposure" and not what["items"]:
        return _not_used(message_id, "properties.products: found none, expected what the page listed")
    common = {
        "message_id": message_id,
        "type": kind,
        "query_id": _query_id(properties),
        "shopper_id": as_text(sent.get("anonymousId")),
        "user_id": as_text(sent.get("userId")),
        "session_id": as_text(context.get("sessionId", properties.get("session_id"))),
        "timestamp": as_zoned(sent.get("originalTimestamp") or sent.get("timestamp")),
        "surface": _surface(sent, context),
        "device": _device(context),
        "attributes": without_nothing({"event": cut(name, 100), "query": cut(properties.get("query"))}),
    }
    agent = cut(context.get("userAgent"), 500)
    return Understood("segment", without_nothing(common | what), sent_at=sent.get("sentAt"), user_agent=agent)


def _message_id(sent: dict[str, Any]) -> str | None:
    """One of the content, but for when it was sent, which every retry says anew.

    A call may come without a time, too: putting the same product into the cart twice must not become once then.
    """
    if not (sent.get("originalTimestamp") or sent.get("timestamp")):
        return f"segment_{secrets.token_hex(16)}"
    return content_id("segment", {name: value for name, value in sent.items() if name != "sentAt"})


def _not_used(message_id: Any, why: str) -> Understood:
    return Understood("segment", None, cut(message_id, 100), not_used=why)


def _product(properties: dict[str, Any]) -> dict[str, Any]:
    return {"product_id": _product_id(properties)}


def _carted(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "product_id": _product_id(properties),
        "quantity": as_whole(properties.get("quantity")),
        "price": properties.get("price"),
        "currency": properties.get("currency"),
    }


def _listed(properties: dict[str, Any]) -> dict[str, Any]:
    """What a page listed; nothing is known of what was visible."""
    products = properties.get("products")
    shown = products[:_LISTED_MAX] if isinstance(products, list) else []
    return {"items": [without_nothing({"product_id": _product_id(as_object(one))}) for one in shown]}


def _bought(properties: dict[str, Any]) -> dict[str, Any]:
    products = properties.get("products")
    items = [as_object(one) for one in products] if isinstance(products, list) else []
    return {
        "currency": properties.get("currency"),
        "items": [
            without_nothing(
                {
                    "product_id": _product_id(one),
                    "query_id": _query_id(one),
                    "quantity": as_whole(one.get("quantity")),
                    "price": one.get("price"),
                }
            )
            for one in items
        ],
    }


def _reviewed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"product_id": _product_id(properties), "stars": as_whole(properties.get("rating"))}


_WHAT = {
    "exposure": _listed,
    "click": _product,
    "add_to_cart": _carted,
    "wishlist": _carted,
    "purchase": _bought,
    "rating": _reviewed,
}


def _product_id(properties: dict[str, Any]) -> Any:
    """``product_id``; shops that do not send it name the product by ``sku``, and older ones by ``id``."""
    for name in ("product_id", "productId", "sku", "id"):
        if properties.get(name) not in (None, ""):
            return as_text(properties[name])
    return None


def _query_id(properties: dict[str, Any]) -> str | None:
    """Neither specification has one: a shop adds it as a property, as Algolia's guides have it do."""
    found = (as_query_id(properties.get(name)) for name in ("query_id", "queryId", "queryID"))
    return next((query_id for query_id in found if query_id), None)


def _surface(sent: dict[str, Any], context: dict[str, Any]) -> str | None:
    if sent.get("channel") == "mobile" or as_object(context.get("device")).get("type") in ("ios", "android"):
        return "app"
    return "web" if "page" in context else None


def _device(context: dict[str, Any]) -> str | None:
    mobile = as_object(context.get("userAgentData")).get("mobile")
    if isinstance(mobile, bool):
        return "mobile" if mobile else "desktop"
    return "mobile" if as_object(context.get("device")).get("type") in ("ios", "android") else None
