"""Plain JSON for shops of their own make: the lines of ``/v1/products:batch`` as signed deliveries."""

import hashlib
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from backend.catalog.batch import said
from backend.catalog.schemas import Problem, ProductDelete, ProductIn, problems, short
from backend.catalog.shops.platform import (
    Change,
    Delete,
    Envelope,
    Ignored,
    NotReadable,
    Received,
    Shop,
    Write,
    signed_in_hex,
)
from backend.catalog.shops.reading import json_of, line

CHANGES_MAX = 500
"""Most products and deletions of one delivery."""


class Generic:
    """Deliveries in this program's own format: a product, a deletion, or a list of them."""

    name = "generic"

    def envelope(self, headers: Mapping[str, str], body: bytes) -> Envelope:
        """Named by ``X-Morelike-Delivery``; by its bytes alone where that is left out."""
        kept = {name: line(value, 200) for name, value in headers.items() if name.startswith("x-morelike-")}
        kept.pop("x-morelike-signature", None)
        named = kept.get("x-morelike-delivery", "")
        return Envelope(kept.get("x-morelike-topic", ""), named or hashlib.sha256(body).hexdigest(), headers=kept)

    def is_signed(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
        """``X-Morelike-Signature: sha256=HEX`` is the HMAC of the raw body."""
        return signed_in_hex(headers.get("x-morelike-signature", "").strip().removeprefix("sha256="), body, secrets)

    def is_greeting(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Nothing is unsigned."""
        del headers, body
        return False

    def read(self, received: Received, shop: Shop) -> Sequence[Change]:
        """Each product and deletion, in order; an empty list and ``{"ping": true}`` change nothing."""
        value = json_of(received.body)
        if value in ([], {"ping": True}):
            return [Ignored("a ping")]
        values = value if isinstance(value, list) else [value]
        if len(values) > CHANGES_MAX:
            raise NotReadable("The delivery is too long.", found=len(values), expected=f"at most {CHANGES_MAX} changes")
        return [_change(one, place, received, shop) for place, one in enumerate(values, 1)]


def _change(value: object, place: int, received: Received, shop: Shop) -> Change:
    try:
        if isinstance(value, dict) and value.get("deleted") is True:
            gone = ProductDelete.model_validate(value)
            return Delete(gone.id, gone.updated_at or received.received_at)
        if not isinstance(value, dict):
            raise _wrong(place, [Problem("", short(value), "a JSON object")])
        given = {name: one for name, one in value.items() if (name, one) != ("deleted", False)}
        product = ProductIn.model_validate({"currency": shop.currency, "updated_at": received.received_at} | given)
    except ValidationError as error:
        raise _wrong(place, problems(error)) from error
    return Write(product)


def _wrong(place: int, found: list[Problem]) -> NotReadable:
    return NotReadable(f"Change {place} cannot be kept: {said(found)}.", expected="a product or a deletion")
