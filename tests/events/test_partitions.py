"""Days come in time, late ones take their rows along, and retention drops whole days."""

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.events.models import Event, ServedList
from backend.events.partitions import (
    DAYS_AHEAD,
    TABLES,
    Partitioned,
    delete_from_default,
    drop_partition,
    keep_partitions,
    make_partition,
    partition_days,
)
from backend.events.query_ids import new_query_id
from backend.events.repository import get_served_list

LISTS, _, EVENTS = TABLES
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def put_list(session: Session, at: datetime, query_id: str | None = None) -> str:
    query_id = query_id or new_query_id(at)
    values = {"query_id": query_id, "generation_id": 1, "request": {}, "total": 0, "total_is": "exact", "served_at": at}
    session.execute(insert(ServedList).values(values))
    return query_id


def put_event(session: Session, at: datetime, name: str) -> None:
    values = {"message_id": name, "type": "click", "source": "client", "occurred_at": at}
    session.execute(insert(Event).values(values | {"received_at": at, "received_on": at.date()}))


def where(session: Session, table: str) -> list[str]:
    """Partitions in which the rows of ``table`` lie."""
    return sorted(session.scalars(text(f"SELECT tableoid::regclass::text FROM {table}")))


def days(session: Session, table: Partitioned) -> list[date]:
    return partition_days(session.connection(), table)


def test_days_are_there_before_they_come(sessions: sessionmaker[Session], session: Session) -> None:
    today = datetime.now(UTC).date()
    first = days(session, LISTS)[0]
    assert first in (today, today - timedelta(days=1))  # the run may have begun before midnight
    made = [first + timedelta(ahead) for ahead in range(DAYS_AHEAD + 1)]
    assert all(days(session, table) == made for table in TABLES), "the migration made them"
    session.rollback()
    with session_scope(sessions) as other:
        drop_partition(other.connection(), LISTS, made[-1])
    keep_partitions(sessions)
    kept = days(session, LISTS)
    assert kept == [first + timedelta(ahead) for ahead in range(len(kept))], "and what is missing is made again"
    assert kept[-1] >= today + timedelta(DAYS_AHEAD)


def test_rows_of_a_day_without_partition_move_into_it_and_keep_their_ids(session: Session) -> None:
    query_id = put_list(session, NOON)
    put_list(session, NOON + timedelta(days=1))
    for name in ("m1", "m2"):
        put_event(session, NOON, name)
    before = session.execute(select(Event.id, Event.message_id).order_by(Event.id)).all()
    assert where(session, "served_lists") == ["served_lists_default"] * 2
    assert make_partition(session.connection(), LISTS, NOON.date()) == 1
    assert make_partition(session.connection(), EVENTS, NOON.date()) == 2
    assert make_partition(session.connection(), EVENTS, NOON.date()) == 0, "once made, it is left alone"
    assert where(session, "served_lists") == ["served_lists_default", "served_lists_y20260105"]
    assert where(session, "events") == ["events_y20260105"] * 2
    assert session.execute(select(Event.id, Event.message_id).order_by(Event.id)).all() == before
    assert get_served_list(session.connection(), query_id) is not None
    put_event(session, NOON, "m3")
    assert session.scalar(select(Event.id).filter_by(message_id="m3")) == before[-1].id + 1


def test_retention_drops_whole_days_and_what_lies_outside_of_them(
    sessions: sessionmaker[Session], session: Session
) -> None:
    now = datetime.now(UTC)
    kept, over = now - timedelta(days=10), now - timedelta(days=11)
    with session_scope(sessions) as other:
        for day in (kept, over):
            make_partition(other.connection(), LISTS, day.date())
            make_partition(other.connection(), EVENTS, day.date())
        lists = [put_list(other, day) for day in (kept, over)]
        lists += [put_list(other, kept, "q_of_earlier_versions"), put_list(other, over, "q_older_than_that")]
        for name, day in {"kept": kept, "over": over, "far": now - timedelta(days=40)}.items():
            put_event(other, day, name)
    keep_partitions(sessions, retention_days=10)
    assert set(session.scalars(select(ServedList.query_id))) == {lists[0], "q_of_earlier_versions"}
    assert session.scalars(select(Event.message_id)).all() == ["kept"]
    assert over.date() not in days(session, LISTS) + days(session, EVENTS)
    assert kept.date() in days(session, LISTS)


def test_old_rows_outside_of_days_go_in_portions(session: Session) -> None:
    for number in range(5):
        put_event(session, NOON, f"m{number}")
    first = NOON.date() + timedelta(days=1)
    deleted = [delete_from_default(session.connection(), EVENTS, first, most=2) for _ in range(4)]
    assert deleted == [2, 2, 1, 0]


def test_events_come_in_while_days_are_made_and_none_is_lost(sessions: sessionmaker[Session], session: Session) -> None:
    stop = threading.Event()
    sent: list[str] = []

    def send() -> None:
        while not stop.is_set():
            name = f"m{len(sent)}"
            with session_scope(sessions) as other:
                put_event(other, NOON + timedelta(days=len(sent) % 3), name)
            sent.append(name)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for ahead in range(3):
            while len(sent) < 10 * (ahead + 1):
                assert sender.is_alive()
            with session_scope(sessions) as other:
                make_partition(other.connection(), EVENTS, NOON.date() + timedelta(days=ahead))
        before = len(sent)
        while len(sent) < before + 10:
            assert sender.is_alive()
    finally:
        stop.set()
        sender.join()
    assert len(sent) >= 30
    assert sorted(session.scalars(select(Event.message_id))) == sorted(sent)
    assert "events_default" not in where(session, "events")


def test_a_table_that_is_read_for_long_is_left_for_the_next_time(
    sessions: sessionmaker[Session], session: Session
) -> None:
    old = datetime.now(UTC) - timedelta(days=5)
    with session_scope(sessions) as other:
        make_partition(other.connection(), EVENTS, old.date())
    session.execute(text(f"SELECT count(*) FROM events_y{old:%Y%m%d}"))
    keep_partitions(sessions, retention_days=2)
    with session_scope(sessions) as other:
        assert old.date() in days(other, EVENTS)
    session.rollback()
    keep_partitions(sessions, retention_days=2)
    assert old.date() not in days(session, EVENTS)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_one_day_of_many_is_read_for_a_lookup_by_id(session: Session, table: Partitioned) -> None:
    connection = session.connection()
    for ahead in range(20):
        make_partition(connection, table, NOON.date() + timedelta(days=ahead))
    plan = "\n".join(
        connection.scalars(
            text(f"EXPLAIN SELECT 1 FROM {table.name} WHERE query_id = 'q' AND {table.day} = :day"),
            {"day": NOON.date()},
        )
    )
    assert f"{table.name}_y20260105" in plan
    assert "20260106" not in plan
