"""An adapter for another platform is one file: this one, for a shop system that sends what an ERP might."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.reads import get_product
from backend.catalog.shops.platform import Change, Delete, Envelope, Ignored, Received, Shop, Write, signed_in_hex
from backend.catalog.shops.reading import checked, instant_of, line, lines, number_of, object_of, pictures, text_of
from backend.catalog.webhooks.apply import Applier
from backend.catalog.webhooks.inbox import Inbox
from backend.db import connect, session_scope
from tests.catalog.webhooks.recorded import in_hex


class Erp:
    """``{"event": "item.saved", "sent": "…", "item": {"no": 7, "name": "…", "photos": ["…"], "changed": "…"}}``."""

    name = "erp"

    def envelope(self, headers: Mapping[str, str], body: bytes) -> Envelope:
        """Named by ``X-Erp-Message``."""
        kept = {name: line(headers[name], 200) for name in ("x-erp-message", "x-erp-event") if name in headers}
        named = kept.get("x-erp-message") or hashlib.sha256(body).hexdigest()
        return Envelope(kept.get("x-erp-event", ""), named, headers=kept)

    def is_signed(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
        """``X-Erp-Signature`` is the HMAC in hexadecimal."""
        return signed_in_hex(headers.get("x-erp-signature", ""), body, secrets)

    def is_greeting(self, headers: Mapping[str, str], body: bytes) -> bool:
        """It tries an address with a body of its own."""
        return body == b"HELLO" and "x-erp-signature" not in headers

    def read(self, received: Received, shop: Shop) -> Sequence[Change]:
        """An item that was saved or removed."""
        body = object_of(received.body)
        if not isinstance(item := body.get("item"), dict):
            return [Ignored("no item")]
        number, at = number_of(item.get("no"), "no"), instant_of(item.get("changed"), "changed")
        if body.get("event") == "item.removed":
            return [Delete(number, at or received.received_at)]
        values = {
            "id": number,
            "title": line(item.get("name"), 1000),
            "description": text_of(item.get("text"), 20_000),
            "images": pictures(item.get("photos") or []),
            "captions": lines(item.get("captions") or [], 1000),
            "currency": shop.currency,
            "updated_at": at,
        }
        return [Write(checked(values))]


@pytest.fixture
def inbox(database_url: str) -> Inbox:
    return Inbox(connect(database_url, single_statements=True), {"erp": ("secret",)}, (Erp(),))


def test_a_platform_of_ones_own_is_verified_deduplicated_and_applied(
    inbox: Inbox, sessions: sessionmaker[Session], tmp_path: Any
) -> None:
    item = {"no": 7, "name": "Lamp", "photos": ["https://erp.example/7.jpg"], "changed": "2026-11-20T09:00:00Z"}

    def send(event: str, message: str, **changes: Any) -> str:
        body = json.dumps({"event": event, "item": item | changes}).encode()
        return inbox.take("erp", {"x-erp-message": message, "x-erp-signature": in_hex(body, "secret")}, body).outcome

    assert inbox.take("erp", {}, b"HELLO").outcome == "greeted"
    assert [send("item.saved", "m1"), send("item.saved", "m1")] == ["accepted", "duplicate"]
    applier = Applier(sessions, BlobStore(tmp_path), Shop(), on_written=lambda _session: None, platforms=(Erp(),))
    assert applier.run_due() == {"applied": 1}
    with session_scope(sessions) as session:
        lamp = get_product(session, "7")
    assert lamp is not None
    assert (lamp.title, [image.source for image in lamp.images]) == ("Lamp", ["https://erp.example/7.jpg"])
    send("item.removed", "m2", changed="2026-11-20T10:00:00Z")
    assert applier.run_due() == {"applied": 1}
    with session_scope(sessions) as session:
        assert get_product(session, "7") is None
