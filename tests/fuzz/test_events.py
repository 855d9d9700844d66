"""Whatever is sent as events, each has one verdict, and what was accepted is kept once and can be read."""

import json
import os
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.errors import BadRequest, TooLarge, Unprocessable
from backend.events.bodies import parse_events
from backend.events.feedback import session_signals
from backend.events.intake import Sender, take_events
from backend.events.models import Event
from backend.events.schemas import EVENT_EXAMPLE, PURCHASE_EXAMPLE, EventIn, EventType
from backend.events.units import load_unit_hasher
from tests.fuzz.strategies import altered, values

FUZZ = settings(
    max_examples=int(os.environ.get("MORELIKE_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TYPES = st.sampled_from(get_args(EventType))
FIELDS = st.sampled_from([*EventIn.model_fields, "unknown"])
NAMED = {"message_id": st.uuids().map(str), "type": TYPES}
ITEM = {"product_id": "p1", "quantity": 1, "price": 9.5, "visible_share": 0.5, "visible_ms": 700}
SAID = {
    "product_id": st.just("p1"),
    "dwell_ms": st.just(5),
    "value": st.floats(-1, 1),
    "stars": st.just(4),
    "box": st.just([0, 0, 1, 1]),
    "items": st.lists(st.sampled_from([ITEM, {"product_id": "p2"}, {}]), max_size=3),
    "next_query_id": st.just("q_next"),
    "query_id": st.sampled_from(["q_first", "q_2cmAAAAAAAAAAAAAAAAAAAA", "q_zzzAAAAAAAAAAAAAAAAAAAA"]),
    "attributes": st.dictionaries(st.text(max_size=8), values, max_size=3),
}
UBI = {
    "action_name": "purchase",
    "query_id": "q_first",
    "client_id": "a7",
    "timestamp": "2026-11-21T09:00:00Z",
    "event_attributes": {"object": {"object_id": 5}, "quantity": "1", "price": 3, "position": {"ordinal": 1}},
}
ASKED = {"user_query": "plush", "query_id": "q_first", "query_response_hit_ids": ["p1", 2, None]}
TRACKED = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "s1",
    "anonymousId": "a7",
    "originalTimestamp": "2026-11-21T09:00:00Z",
    "sentAt": "2026-11-21T09:00:01Z",
    "context": {"page": {}, "userAgent": "x", "userAgentData": {"mobile": True}, "device": {"type": "ios"}},
    "properties": {"currency": "EUR", "rating": 5, "products": [{"sku": "p1", "quantity": "2", "price": "1.5"}]},
}
KINDS = ["Order Completed", "Product Clicked", "Product List Viewed", "Product Added", "Product Reviewed", "My Own"]
INNER = ["object", "object_id", "products", "product_id", "page", "device", "quantity", "price", "query", "stars"]


TINY = {"type": "click", "product_id": "p1"}
BATCHES = [
    [EVENT_EXAMPLE, EVENT_EXAMPLE | {"message_id": "m2", "type": "like"}],
    {"batch": [PURCHASE_EXAMPLE, UBI, TRACKED, ASKED], "sent_at": "2026-11-21T09:00:02Z"},
]


@st.composite
def foreign(draw: st.DrawFn) -> Any:
    """An event of another product with a name and some of its parts, outer and inner, made anything."""
    event = json.loads(json.dumps(draw(st.sampled_from([UBI, ASKED, TRACKED]))))
    if event.get("type"):
        event["event"] = draw(st.sampled_from(KINDS))
    event |= draw(st.dictionaries(st.sampled_from([*UBI, *ASKED, *TRACKED]), values, max_size=2))
    for name in ("event_attributes", "properties", "context"):
        if isinstance(event.get(name), dict):
            event[name] |= draw(st.dictionaries(st.sampled_from(INNER), values, max_size=2))
    return event


@st.composite
def events(draw: st.DrawFn) -> Any:
    """An event that is meant, most of the time, with some of its fields made anything."""
    event = draw(st.fixed_dictionaries(NAMED, optional=SAID))
    return draw(st.just(event | draw(st.dictionaries(FIELDS, values, max_size=2))) | foreign() | values)


def may_be_another(sent: Any) -> bool:
    """Whether it is of UBI and has neither a time nor an id: sent again, it may be one more of its kind."""
    return (
        isinstance(sent, dict)
        and ("action_name" in sent or "user_query" in sent)
        and not {"timestamp", "query_id"} & set(sent)
    )


class Desk:
    """Takes events in and looks at what was kept."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        with session_scope(sessions) as session:
            self._sender = Sender(load_unit_hasher(session))

    def take(self, body: bytes) -> list[str] | None:
        """The verdicts, the same batch sent twice; None where it is refused as a whole."""
        try:
            sent = parse_events(body)
        except (BadRequest, TooLarge, Unprocessable):
            return None
        before = self._messages()
        with session_scope(self._sessions) as session:
            verdicts, _ = take_events(session, sent, self._sender)
        assert self._messages() - before == verdicts.accepted
        assert len(verdicts.results) == len(sent.events)
        verdicts.model_dump_json()
        with session_scope(self._sessions) as session:
            again, _ = take_events(session, sent, self._sender)
            assert again.accepted <= sum(may_be_another(one) for one in sent.events)
            for row in session.scalars(select(Event)):
                assert row.value is None or -1 <= row.value <= 1
            session_signals(
                session.connection(), [str(row) for row in session.scalars(select(Event.query_id).distinct())]
            )
        return [one.status for one in verdicts.results]

    def _messages(self) -> int:
        with session_scope(self._sessions) as session:
            return session.scalar(select(func.count(Event.message_id.distinct()))) or 0


@pytest.fixture
def desk(sessions: sessionmaker[Session]) -> Desk:
    return Desk(sessions)


@FUZZ
@given(sent=st.lists(events(), max_size=5), whole=st.booleans())
@example(sent=[EVENT_EXAMPLE | {"timestamp": "9999-12-31T23:59:59-23:59"}], whole=False)
@example(sent=[EVENT_EXAMPLE | {"timestamp": "0001-01-01T00:00:00+14:00"}], whole=False)
@example(sent=[TINY | {"message_id": "t1", "type": "exposure", "visible_share": 1e-300}], whole=False)
@example(sent=[TINY | {"message_id": "t2", "type": "like", "value": 5e-324}], whole=False)
@example(sent=[TINY | {"message_id": "t3", "type": "box", "box": [0, 5e-324, 1e-310, 1]}], whole=False)
@example(sent=[TINY | {"message_id": "t4", "attributes": {"n": [2**64 - 1, 1e308, 5e-324, -0.0]}}], whole=False)
@example(sent=[TINY | {"message_id": "t5", "type": "add_to_cart", "price": 9999999999.99}], whole=False)
@example(sent=[EVENT_EXAMPLE | {"message_id": "\x00"}, EVENT_EXAMPLE | {"product_id": "p\u2028"}], whole=True)
def test_events_of_any_values(desk: Desk, sent: list[Any], whole: bool) -> None:
    body = json.dumps({"batch": sent} if whole else sent).encode()
    verdicts = desk.take(body)
    assert verdicts is None or len(verdicts) == len(sent)


@FUZZ
@given(body=altered([json.dumps(sent).encode() for sent in BATCHES]))
def test_a_batch_that_was_cut_or_altered(desk: Desk, body: bytes) -> None:
    desk.take(body)
