"""What pages and gates read of the database is what they need: whole days in UTC, and no long reports for a list."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.learning.compare import _ASKED
from backend.learning.gates import served_latency
from backend.learning.models import NightlyRun
from backend.learning.nightly.runs import list_nights
from tests.experiments.arms import Log, make_generations

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_nights_are_listed_without_their_reports(sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions) as session:
        session.add(NightlyRun(seed=1, window_from=NOON, window_to=NOON, report={"long": "x" * 1000}))
    with session_scope(sessions) as session:
        (listed,) = list_nights(session, 5)
        assert inspect(listed).unloaded == {"report"}


@pytest.mark.parametrize("hours", [-11, 0, 13])
def test_the_last_day_is_a_day_in_utc_whatever_the_zone_of_the_database(
    hours: int, sessions: sessionmaker[Session]
) -> None:
    make_generations(sessions, ("live",))
    log = Log()
    log.listed("a7", served_at=NOON - timedelta(hours=23), latency_ms=70.0)
    log.listed("a7", served_at=NOON - timedelta(hours=25), latency_ms=900.0)
    log.write(sessions)
    with session_scope(sessions) as session:
        assert served_latency(session, NOON.astimezone(timezone(timedelta(hours=hours)))) == 70.0


def test_what_was_asked_lately_is_looked_for_in_the_days_of_it(sessions: sessionmaker[Session]) -> None:
    day = datetime.now(UTC).date() - timedelta(days=60)
    with session_scope(sessions) as session:
        rows = f"FROM ('{day}') TO ('{day + timedelta(days=1)}')"
        session.execute(text(f"CREATE TABLE long_ago PARTITION OF served_lists FOR VALUES {rows}"))
        plan = "\n".join(session.scalars(text(f"EXPLAIN ANALYZE {_ASKED}"), {"most": 5}))
        session.rollback()
    assert "long_ago" not in plan
