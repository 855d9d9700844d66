"""User Behavior Insights 1.3: queries (``user_query``) and events (``action_name``).

https://o19s.github.io/ubi/schema/1.3.0/
Positions that a client claims are not read: the server knows what it served where.
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

FIELDS: Mapping[str, str] = {
    "type": "action_name",
    "product_id": "event_attributes.object.object_id",
    "items": "event_attributes.object",
    "shopper_id": "client_id",
}

HITS_KEPT = 100

_TYPES = {
    "impression": "exposure",
    "click": "click",
    "click_through": "click",
    "view": "click",
    "add_to_cart": "add_to_cart",
    "add_to_wishlist": "wishlist",
    "purchase": "purchase",
    "on_search": "search",
}
_SAME = (
    *("exposure", "return", "dwell", "skip", "wishlist", "rating", "like", "dislike", "box", "reformulation", "search"),
)
_DETAILS = ("dwell_ms", "value", "stars", "image", "box", "visible_share", "visible_ms", "columns", "next_query_id")
_PAID = ("quantity", "price", "currency")
_MEASURED = {"dwell_ms", "stars", "image", "visible_ms", "columns", "quantity"}


def understand(sent: dict[str, Any]) -> Understood:
    """A UBI query or event in the native shape."""
    if "action_name" not in sent:
        return Understood("ubi", _query(sent))
    action = sent["action_name"]
    if not isinstance(action, str):
        return Understood("ubi", sent | {"type": action})  # for the schema to say what is wrong with it
    kind = _TYPES.get(action) or (action if action in _SAME else None)
    if kind is None:
        return Understood(
            "ubi", None, _message_id(sent), not_used=f"actions of this name are not used: found {cut(action, 100)!r}"
        )
    return Understood("ubi", _event(sent, kind))


def _query(sent: dict[str, Any]) -> dict[str, Any]:
    hits = sent.get("query_response_hit_ids", sent.get("query_response_objects_ids"))
    attributes = {
        "query": cut(sent["user_query"]),
        "application": cut(sent.get("application"), 100),
        "hits": [kept for hit in hits[:HITS_KEPT] if (kept := cut(as_text(hit), 256))]
        if isinstance(hits, list)
        else None,
    }
    return _common(sent, "search", _bounded(without_nothing(attributes)))


def _bounded(attributes: dict[str, Any]) -> dict[str, Any]:
    """Fewer hits where all of them would be too much to keep."""
    while len(str(attributes)) > 3000 and attributes.get("hits"):
        attributes["hits"] = attributes["hits"][: len(attributes["hits"]) // 2]
    return attributes


def _event(sent: dict[str, Any], kind: str) -> dict[str, Any]:
    details = as_object(sent.get("event_attributes"))
    product_id = as_text(as_object(details.get("object")).get("object_id"))
    measured = {
        name: as_whole(details[name]) if name in _MEASURED else details[name]
        for name in _DETAILS + _PAID
        if name in details
    }
    attributes = without_nothing(
        {"event": cut(sent["action_name"], 100), "application": cut(sent.get("application"), 100)}
    )
    said = _common(sent, kind, attributes)
    if kind == "purchase":
        bought = {"product_id": product_id} | {name: measured.get(name) for name in ("quantity", "price")}
        return said | without_nothing({"currency": measured.get("currency"), "items": [without_nothing(bought)]})
    if kind in ("search", "reformulation"):
        return said | without_nothing({"next_query_id": as_query_id(measured.get("next_query_id"))})
    return said | without_nothing(measured | {"product_id": product_id})


def _common(sent: dict[str, Any], kind: str, attributes: dict[str, Any]) -> dict[str, Any]:
    said = {
        "message_id": _message_id(sent),
        "type": kind,
        "query_id": as_query_id(sent.get("query_id")),
        "shopper_id": as_text(sent.get("client_id")),
        "user_id": as_text(sent.get("user_id")),
        "session_id": as_text(sent.get("session_id")),
        "timestamp": as_zoned(sent.get("timestamp")),
        "attributes": attributes,
    }
    return without_nothing(said)


def _message_id(sent: dict[str, Any]) -> str:
    """Its own where it says one; else one of its content, so that the same event sent again counts once.

    A query may come without a time and an id: two searches for the same words must not become one then.
    """
    given = sent.get("message_id")
    if isinstance(given, str) and given:
        return given
    named = "timestamp" in sent or "query_id" in sent
    return (content_id("ubi", sent) if named else None) or f"ubi_{secrets.token_hex(16)}"
