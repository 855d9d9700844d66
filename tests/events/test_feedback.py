"""What a refinement was told is kept once, and what a session did becomes grades."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from backend.events.feedback import Judged, record_feedback, session_signals
from backend.events.models import Event, EventId, ServedList, ServedPage
from backend.events.recording import NewEvent, forget_old_ids, insert_events
from backend.ml.feedback.signals import SignalGrades, Signals, grade

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
_numbers = count(1)


@pytest.fixture
def lists(session: Session) -> list[str]:
    """Two served lists, the second leading on from the first."""
    for query_id, shown in (("q_first", ["p1", "p2", "p3"]), ("q_second", ["p3", "p4"])):
        served = {"query_id": query_id, "generation_id": 1, "request": {}, "total": 4, "total_is": "exact"}
        session.execute(insert(ServedList).values(served))
        page = {"query_id": query_id, "first_position": 1, "product_ids": shown, "scores": [0.0] * len(shown)}
        session.execute(insert(ServedPage).values(page))
    return ["q_first", "q_second"]


def sent(session: Session, type_: str, product: str, query: str = "q_first", **more: object) -> None:
    number = next(_numbers)
    values = {"occurred_at": NOON + timedelta(seconds=number), **more}
    event = NewEvent(message_id=f"m{number}", type=type_, query_id=query, product_id=product, **values)  # type: ignore[arg-type]
    assert insert_events(session.connection(), [event], source="client") == {f"m{number}"}


def test_feedback_is_kept_as_events_of_the_list_it_is_about(session: Session, lists: list[str]) -> None:
    told = [
        Judged("p1", value=1.0),
        Judged("p2", value=-0.5),
        Judged("p3", stars=4),
        Judged("p4", dwell_ms=4000),
        Judged("p1", value=1.0, image=0, box=[0.1, 0.2, 0.5, 0.6]),
    ]
    record_feedback(session.connection(), query_id="q_next", about=lists[0], judged=told, shopper_id="1:ab")
    rows = session.scalars(select(Event).order_by(Event.id)).all()
    assert [(row.type, row.product_id, row.value, row.dwell_ms) for row in rows] == [
        ("like", "p1", 1.0, None),
        ("dislike", "p2", -0.5, None),
        ("rating", "p3", 0.5, None),
        ("dwell", "p4", None, 4000),
        ("box", "p1", 1.0, None),
    ]
    assert rows[4].box == [0.1, 0.2, 0.5, 0.6]
    assert {(row.query_id, row.source, row.shopper_id) for row in rows} == {("q_first", "refine", "1:ab")}


def test_feedback_that_is_recorded_again_counts_once(session: Session, lists: list[str]) -> None:
    for _ in range(2):
        record_feedback(session.connection(), query_id="q_next", about=lists[0], judged=[Judged("p1", value=1.0)])
    assert len(session.scalars(select(Event)).all()) == 1


def test_what_a_session_did_becomes_grades(session: Session, lists: list[str]) -> None:
    sent(session, "click", "p1")  # opened, and nothing measured
    sent(session, "click", "p2")
    sent(session, "dwell", "p2", dwell_ms=10_000)  # a third of the 30 s that are taken for interest ...
    sent(session, "dwell", "p2", dwell_ms=5_000)  # ... and a half
    sent(session, "click", "p3")
    sent(session, "return", "p3", dwell_ms=1_200)  # back at once
    sent(session, "click", "p4", "q_second")
    sent(session, "return", "p4", "q_second", dwell_ms=60_000)
    assert session_signals(session.connection(), lists) == pytest.approx({"p1": 0.1, "p2": 0.3, "p4": 0.5})
    assert session_signals(session.connection(), lists[:1]) == pytest.approx({"p1": 0.1, "p2": 0.3})
    assert session_signals(session.connection(), lists, SignalGrades(click=0, satisfied=1))["p2"] == pytest.approx(0.5)
    assert session_signals(session.connection(), []) == {}


def test_the_latest_judgement_sent_as_an_event_outweighs_clicks(session: Session, lists: list[str]) -> None:
    sent(session, "like", "p1", value=1.0)
    sent(session, "dislike", "p1", value=-1.0)
    sent(session, "click", "p1")
    assert session_signals(session.connection(), lists) == {"p1": -1.0}


def test_nothing_comes_in_that_the_list_did_not_show_or_that_a_refinement_was_told(
    session: Session, lists: list[str]
) -> None:
    sent(session, "click", "p4")  # only the second list showed it
    sent(session, "click", "p1", "q_of_another_shopper")
    record_feedback(session.connection(), query_id="q_next", about=lists[0], judged=[Judged("p1", value=1.0)])
    assert session_signals(session.connection(), lists) == {}


def test_a_quick_look_is_no_dislike_and_a_long_one_no_more_than_satisfied() -> None:
    grades = SignalGrades(click=0.1, satisfied=0.5, satisfied_ms=30_000, quick_ms=3_000)
    assert grade(Signals(), grades) is None
    assert grade(Signals(clicks=1, returns=1, dwell_ms=2_999), grades) is None
    assert grade(Signals(clicks=1, returns=1, dwell_ms=3_000), grades) == pytest.approx(0.14)
    assert grade(Signals(clicks=1, dwell_ms=2_999), grades) == pytest.approx(0.1 + 0.4 * 2999 / 30_000)
    assert grade(Signals(clicks=1, dwell_ms=3_600_000), grades) == pytest.approx(0.5)
    assert grade(Signals(judgement=-0.5, clicks=9), grades) == -0.5


@pytest.mark.parametrize("wrong", [{"click": 0.6}, {"satisfied": 1.1}, {"satisfied_ms": 10}, {"click": -0.1}])
def test_grades_that_would_turn_things_round_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="found"):
        SignalGrades(**wrong)  # type: ignore[arg-type]


def test_ids_are_forgotten_in_the_end_and_events_are_not(session: Session) -> None:
    sent(session, "click", "p1")
    session.execute(update(EventId).values(received_at=func.now() - timedelta(days=32)))
    sent(session, "click", "p1")
    assert forget_old_ids(session, 31) == 1
    assert forget_old_ids(session, 31) == 0
    assert len(session.scalars(select(Event)).all()) == 2
