"""Whatever is sent as events, each has one verdict, and what was accepted is kept once and can be read."""

import json
import os
from typing import Any

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
from backend.events.schemas import EVENT_EXAMPLE
from backend.events.units import load_unit_hasher
from tests.fuzz.strategies import altered, values

FUZZ = settings(
    max_examples=int(os.environ.get("MORELIKE_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TYPES = st.sampled_from(["click", "return", "dwell", "like", "dislike", "rating", "box"])
FIELDS = st.sampled_from([*EVENT_EXAMPLE, "dwell_ms", "value", "stars", "image", "box", "session_id", "unknown"])
NAMED = {"message_id": st.uuids().map(str), "type": TYPES, "product_id": st.just("p1")}
SAID = {"dwell_ms": st.just(5), "value": st.floats(-1, 1), "stars": st.just(4), "box": st.just([0, 0, 1, 1])}


@st.composite
def events(draw: st.DrawFn) -> Any:
    """An event that is meant, most of the time, with some of its fields made anything."""
    event = draw(st.fixed_dictionaries(NAMED, optional=SAID))
    return draw(st.just(event | draw(st.dictionaries(FIELDS, values, max_size=2))) | values)


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
        before = self._count()
        with session_scope(self._sessions) as session:
            verdicts, _ = take_events(session, sent, self._sender)
        assert self._count() - before >= verdicts.accepted
        assert len(verdicts.results) == len(sent.events)
        verdicts.model_dump_json()
        with session_scope(self._sessions) as session:
            again, _ = take_events(session, sent, self._sender)
            assert again.accepted == 0
            for row in session.scalars(select(Event)):
                assert row.value is None or -1 <= row.value <= 1
            session_signals(
                session.connection(), [str(row) for row in session.scalars(select(Event.query_id).distinct())]
            )
        return [one.status for one in verdicts.results]

    def _count(self) -> int:
        with session_scope(self._sessions) as session:
            return session.scalar(select(func.count()).select_from(Event)) or 0


@pytest.fixture
def desk(sessions: sessionmaker[Session]) -> Desk:
    return Desk(sessions)


@FUZZ
@given(sent=st.lists(events(), max_size=5), whole=st.booleans())
@example(sent=[EVENT_EXAMPLE | {"timestamp": "9999-12-31T23:59:59-23:59"}], whole=False)
@example(sent=[EVENT_EXAMPLE | {"timestamp": "0001-01-01T00:00:00+14:00"}], whole=False)
@example(sent=[EVENT_EXAMPLE | {"message_id": "\x00"}, EVENT_EXAMPLE | {"product_id": "p\u2028"}], whole=True)
def test_events_of_any_values(desk: Desk, sent: list[Any], whole: bool) -> None:
    body = json.dumps({"batch": sent} if whole else sent).encode()
    verdicts = desk.take(body)
    assert verdicts is None or len(verdicts) == len(sent)


@FUZZ
@given(body=altered([json.dumps([EVENT_EXAMPLE, EVENT_EXAMPLE | {"message_id": "m2", "type": "like"}]).encode()]))
def test_a_batch_that_was_cut_or_altered(desk: Desk, body: bytes) -> None:
    desk.take(body)
