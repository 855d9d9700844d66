"""Whatever a shop sends, signed or not: the door raises nothing but its refusals, and the worker reaches a verdict."""

import itertools
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.shops.platform import NotReadable, Platform, Received, Shop
from backend.catalog.shops.platforms import PLATFORMS
from backend.catalog.webhooks.apply import Applier
from backend.catalog.webhooks.inbox import Inbox, SignatureWrong
from backend.catalog.webhooks.reads import find_delivery, list_deliveries
from backend.db import connect, session_scope
from tests.catalog.webhooks.recorded import PAYLOADS, in_base64, in_hex, parsed, payload
from tests.fuzz.strategies import altered, texts, values

FUZZ = settings(
    max_examples=int(os.environ.get("MORELIKE_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SECRET = "a secret of the fuzzer"
NAMES = sorted(path.stem for path in PAYLOADS.glob("*.json"))
TOPICS = {
    "shopify": ["products/create", "products/update", "products/delete", "orders/create", ""],
    "woocommerce": ["product.created", "product.updated", "product.restored", "product.deleted", "order.created"],
    "generic": [""],
}
HEADERS = (
    *("x-shopify-topic", "x-shopify-webhook-id", "x-shopify-event-id", "x-shopify-triggered-at", "shopify-topic"),
    *(
        "x-shopify-hmac-sha256",
        "x-shopify-shop-domain",
        "x-wc-webhook-topic",
        "x-wc-webhook-id",
        "x-wc-webhook-signature",
    ),
    *("x-wc-webhook-delivery-id", "x-morelike-signature", "x-morelike-delivery", "x-morelike-topic"),
)
headers = st.dictionaries(st.sampled_from(HEADERS), texts, max_size=5)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A recorded payload with some of its fields, or of those of one of its lists, made anything."""
    body = parsed(draw(st.sampled_from(NAMES)))
    fields = st.sampled_from(sorted(body))
    for field in draw(st.lists(fields, max_size=3, unique=True)):
        inner = body[field]
        if isinstance(inner, list) and inner and isinstance(inner[0], dict) and draw(st.booleans()):
            inner[0] |= draw(st.dictionaries(st.sampled_from(sorted(inner[0])), values, max_size=3))
        else:
            body[field] = draw(values)
    found: Any = [body, body] if draw(st.integers(0, 9)) == 0 else body
    return json.dumps(found).encode()


bodies = (
    changed() | altered([payload(name) for name in NAMES]) | values.map(lambda v: json.dumps(v).encode()) | st.binary()
)


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
@FUZZ
@given(headers=headers, body=bodies)
def test_the_door_asks_about_bytes_of_strangers_without_raising(
    platform: Platform, headers: dict[str, str], body: bytes
) -> None:
    envelope = platform.envelope(headers, body)
    json.dumps(dict(envelope.headers)).encode()
    assert not any("\x00" in one for one in (envelope.topic, envelope.key, envelope.event or ""))
    assert platform.is_signed(headers, body, (SECRET,)) is False
    assert platform.is_signed(headers, body, ()) is False
    assert platform.is_greeting(headers, body) in (True, False)


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
@FUZZ
@given(data=st.data(), body=bodies)
def test_whatever_is_signed_is_read_or_not_readable_with_a_reason(
    platform: Platform, data: st.DataObject, body: bytes
) -> None:
    topic = data.draw(st.sampled_from(TOPICS[platform.name]))
    envelope = platform.envelope({"x-shopify-topic": topic, "x-wc-webhook-topic": topic}, body)
    refused = None
    try:
        platform.read(Received(envelope, body, datetime.now(UTC)), Shop("https://shop.example", "EUR"))
    except NotReadable as error:
        refused = error
    assert refused is None or (refused.detail and refused.expected)


class Shops:
    """Sends to a real inbox and applies to a real catalogue."""

    def __init__(self, database_url: str, sessions: sessionmaker[Session], blobs: BlobStore) -> None:
        self.inbox = Inbox(connect(database_url, single_statements=True), {one.name: (SECRET,) for one in PLATFORMS})
        self.applier = Applier(sessions, blobs, Shop(), on_written=lambda _session: None)
        self.sessions = sessions
        self.keys = itertools.count()

    def sent(self, source: str, topic: str, extra: dict[str, str], body: bytes) -> str:
        """Verdict on a signed delivery that says ``body``."""
        signed = {
            "x-shopify-hmac-sha256": in_base64(body, SECRET),
            "x-wc-webhook-signature": in_base64(body, SECRET),
            "x-morelike-signature": in_hex(body, SECRET),
            "x-shopify-topic": topic,
            "x-wc-webhook-topic": topic,
        }
        unique = {
            name: str(next(self.keys)) for name in ("x-shopify-webhook-id", "x-wc-webhook-id", "x-morelike-delivery")
        }
        receipt = self.inbox.take(source, extra | signed | unique, body)
        assert receipt.id is not None
        self.applier.run_due()
        with session_scope(self.sessions) as session:
            json.dumps(find_delivery(session, receipt.id).model_dump(mode="json")).encode()
            (row,) = list_deliveries(session, before=receipt.id + 1, limit=1).deliveries
        assert row.verdict != "failed" or "not in the catalogue yet" in str(row.detail), row.detail
        return row.verdict


@pytest.fixture
def shops(database_url: str, sessions: sessionmaker[Session], tmp_path: Path) -> Shops:
    return Shops(database_url, sessions, BlobStore(tmp_path))


@FUZZ
@given(source=st.sampled_from(sorted(TOPICS)), data=st.data(), extra=headers, body=bodies)
def test_whatever_is_signed_reaches_a_verdict_that_can_be_shown(
    shops: Shops, source: str, data: st.DataObject, extra: dict[str, str], body: bytes
) -> None:
    topic = data.draw(st.sampled_from(TOPICS[source]))
    verdict = shops.sent(source, topic, extra, body)
    assert verdict in ("applied", "unchanged", "stale", "duplicate", "ignored", "parked", "failed")


@FUZZ
@given(source=st.sampled_from(sorted(TOPICS)), headers=headers, body=bodies)
@example(source="shopify", headers={"x-shopify-topic": "\ud800"}, body=b"{}")
def test_whatever_is_not_signed_is_refused(shops: Shops, source: str, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(SignatureWrong):
        shops.inbox.take(source, headers, body or b"{}")
