"""Programs that were planted among people are marked with all their rows; nobody else is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.events.behaviour import Marked, behaviours, forget_old_marks, mark_programs
from backend.events.models import BotUnit, Event, ServedList
from backend.events.query_ids import new_query_id
from backend.ml.clicks.automated import Limits

NOW = datetime.now(UTC)
PEOPLE = 8
Row = dict[str, Any]


def acts(unit: str, gaps_s: list[float], *, products: int = 7, seen: bool = True, **more: Any) -> Iterator[Row]:
    """Clicks ``gaps_s`` apart, one a list, that end now, each in view before if ``seen``."""
    at = NOW - timedelta(seconds=sum(gaps_s))
    for number, gap in enumerate(gaps_s):
        at += timedelta(seconds=gap)
        on = {"shopper_id": unit, "query_id": f"{unit}{number}", "product_id": f"p{number % products}", **more}
        yield {"type": "click", "occurred_at": at, **on}
        if seen:
            yield {"type": "exposure", "occurred_at": at, **on}


def human(count: int) -> list[float]:
    """Pauses of all lengths, of a minute on average."""
    return [30 + 120 * (number % 5 == 0) * (1 + number % 3) + number % 7 for number in range(count)]


@pytest.fixture(scope="module")
def planted() -> list[Row]:
    rows = [row for one in range(PEOPLE) for row in acts(f"person{one}", human(40))]
    rows += acts("flood", [1 + number % 3 for number in range(130)])
    rows += acts("clock", [300.0 + number % 2 for number in range(60)])
    rows += acts("blind", human(60), seen=False)
    rows += acts("app", human(60), seen=False, surface="app")  # apps of this shop report nothing of what is in view
    rows += acts("fan", human(50), products=1)
    rows += acts("few", [300.0] * 20)  # too little to say anything
    return rows


def keep(sessions: sessionmaker[Session], rows: list[Row]) -> None:
    with session_scope(sessions) as session:
        values = [{"message_id": f"m{n}", "source": "client", "received_on": NOW.date()} for n in range(len(rows))]
        columns: Row = {"surface": None, "session_id": None, "is_bot": False}
        session.execute(insert(Event), [value | columns | row for value, row in zip(values, rows, strict=True)])


def marked(session: Session, table: Any) -> set[str]:
    return set(session.scalars(select(table.shopper_id).where(table.is_bot).distinct()))


def test_programs_are_marked_for_what_they_did_and_people_are_not(
    sessions: sessionmaker[Session], planted: list[Row]
) -> None:
    keep(sessions, planted)
    with session_scope(sessions) as session:
        done = mark_programs(session, NOW)
        reasons = {one.unit: one.reason for one in session.scalars(select(BotUnit))}
        rows = {unit: sum(row["shopper_id"] == unit for row in planted) for unit in reasons}
        assert marked(session, Event) == {"flood", "clock", "blind", "fan"}
        assert session.scalar(select(func.count()).where(Event.is_bot)) == sum(rows.values())
    assert done == Marked(4, sum(rows.values()), 0)
    assert reasons["flood"].startswith("rate: 1")
    assert reasons["clock"] == "even intervals: 60 acts whose intervals vary by 0.2%"
    assert reasons["blind"] == "unseen: 100% of 60 clicks on products that were not in view"
    assert reasons["fan"] == "one product: 100% of 50 clicks, over 50 lists"


def test_what_is_counted_is_what_was_done(sessions: sessionmaker[Session], planted: list[Row]) -> None:
    keep(sessions, planted)
    with session_scope(sessions) as session:
        did = behaviours(session, NOW - timedelta(days=1), Limits())
    assert set(did) == {f"person{one}" for one in range(PEOPLE)} | {"flood", "clock", "blind", "app", "fan"}
    assert (did["clock"].acts, did["clock"].clicks, did["clock"].lists_clicked) == (60, 60, 60)
    assert did["clock"].acts_at_once == 2  # one in five minutes
    assert did["clock"].variation == pytest.approx(0.5 / 300.5, rel=1e-2)
    assert did["clock"].one_product == pytest.approx(9 / 60)  # of seven products in turn, four came once more
    assert (did["blind"].unseen, did["clock"].unseen, did["app"].unseen) == (1.0, 0.0, None)


def test_what_comes_later_from_a_program_is_marked_too_and_its_lists(sessions: sessionmaker[Session]) -> None:
    keep(sessions, list(acts("flood", [1.0] * 130)))
    with session_scope(sessions) as session:
        assert mark_programs(session, NOW).units == 1
        later = {"message_id": "later", "type": "dwell", "source": "client", "occurred_at": NOW}
        for unit in ("flood", "person"):
            session.execute(insert(Event).values(later | {"shopper_id": unit, "received_on": NOW.date()}))
            served = {"query_id": new_query_id(NOW), "shopper_id": unit, "generation_id": 1}
            session.execute(insert(ServedList).values(served | {"request": {}, "total": 0, "total_is": "exact"}))
        assert mark_programs(session, NOW) == Marked(0, 1, 1)
        assert marked(session, ServedList) == {"flood"}
        assert mark_programs(session, NOW) == Marked()


def test_searching_without_end_is_enough_and_refinements_told_by_the_server_are_not(
    sessions: sessionmaker[Session],
) -> None:
    keep(sessions, list(acts("refiner", [1.0] * 130, source="refine")))
    served = {"generation_id": 1, "request": {}, "total": 0, "total_is": "exact", "session_id": "scraper"}
    with session_scope(sessions) as session:
        lists = [served | {"query_id": new_query_id(NOW), "served_at": NOW} for _ in range(200)]
        session.execute(insert(ServedList), lists)
        assert mark_programs(session, NOW).units == 1
        assert [(one.unit, one.reason) for one in session.scalars(select(BotUnit))] == [
            ("scraper", "rate: 200 searches within ten minutes")
        ]


def test_a_mark_goes_with_the_rows_it_was_for(sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions) as session:
        session.add(BotUnit(unit="old", reason="rate", since=NOW - timedelta(days=91)))
        session.add(BotUnit(unit="new", reason="rate", since=NOW - timedelta(days=89)))
        session.flush()
        forget_old_marks(session, 90)
        assert session.scalars(select(BotUnit.unit)).all() == ["new"]
