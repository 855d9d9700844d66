"""Events are joined to their lists, whichever comes first; what cannot be joined is said to be unattributed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.events.attribution import CLICKED_WITHIN, SETTLED_AFTER, attribute_pending
from backend.events.models import Event
from backend.events.query_ids import new_query_id
from backend.events.recording import NewEvent, insert_events
from tests.events.conftest import keep_list

NOW = datetime.now(UTC)  # when the module is read: up to minutes before its events come
Came = Callable[..., str]


@pytest.fixture
def came(session: Session) -> Came:
    """Keeps an event that happened ``ago`` and came now, pending unless said otherwise; its message id."""
    numbers = count(1)

    def keep(type_: str, ago: timedelta = timedelta(0), **said: Any) -> str:
        name = f"m{next(numbers)}"
        values: dict[str, Any] = {"query_id": None, "product_id": "p1", "attribution": "pending", **said}
        insert_events(
            session.connection(),
            [NewEvent(message_id=name, type=type_, occurred_at=NOW - ago, **values)],
            source="client",
        )
        return name

    return keep


@pytest.fixture
def clicked(session: Session, came: Came) -> Callable[..., str]:
    """A list, and a click of shopper ``a`` on its p1; the list's id."""

    def click(ago: timedelta = timedelta(minutes=5), **said: Any) -> str:
        query_id = new_query_id(NOW)
        keep_list(session, query_id, ["p1", "p2"])
        came("click", ago, **{"query_id": query_id, "shopper_id": "1:a", "attribution": "given", **said})
        return query_id

    return click


def found(session: Session, message: str) -> tuple[str, str | None]:
    row = session.execute(select(Event.attribution, Event.query_id).filter_by(message_id=message)).one()
    return row.attribution, row.query_id


def settle(session: Session, after: timedelta = timedelta(0)) -> dict[str, int]:
    return dict(attribute_pending(session.connection(), NOW + after))


def test_an_event_that_comes_before_its_list_is_given_to_it(session: Session, came: Came) -> None:
    query_id = new_query_id(NOW)
    early = came("click", query_id=query_id)
    assert settle(session) == {}
    assert found(session, early) == ("pending", query_id)
    keep_list(session, query_id, ["p1"])
    assert settle(session) == {"given": 1}
    assert found(session, early) == ("given", query_id)
    assert settle(session) == {}


def test_one_whose_list_never_comes_has_none(session: Session, came: Came) -> None:
    lost = came("click", query_id=new_query_id(NOW))
    assert settle(session, SETTLED_AFTER - timedelta(minutes=1)) == {}
    assert settle(session, 2 * SETTLED_AFTER) == {"none": 1}
    assert found(session, lost)[0] == "none"


def test_a_purchase_is_joined_to_the_latest_click_on_its_product(
    session: Session, came: Came, clicked: Callable[..., str]
) -> None:
    clicked(timedelta(minutes=30))
    latest = clicked(timedelta(minutes=10))
    clicked(timedelta(minutes=5), product_id="p2")
    clicked(timedelta(minutes=5), shopper_id="1:b")
    bought = came("purchase", timedelta(minutes=1), shopper_id="1:a")
    clicked(timedelta(0))
    assert settle(session) == {"joined": 1}
    assert found(session, bought) == ("joined", latest)


def test_one_that_the_shops_server_sends_is_joined_by_the_signed_in_shopper(
    session: Session, came: Came, clicked: Callable[..., str]
) -> None:
    query_id = clicked(user_id="1:u")
    bought = came("purchase", user_id="1:u")
    assert settle(session) == {"joined": 1}
    assert found(session, bought) == ("joined", query_id)


def test_a_click_that_comes_late_still_gives_its_list(
    session: Session, came: Came, clicked: Callable[..., str]
) -> None:
    bought = came("purchase", timedelta(minutes=1), shopper_id="1:a")
    assert settle(session) == {}
    query_id = clicked(timedelta(minutes=20))
    assert settle(session, 2 * SETTLED_AFTER) == {"joined": 1}
    assert found(session, bought) == ("joined", query_id)


@pytest.mark.parametrize("ago", [CLICKED_WITHIN + timedelta(minutes=2), timedelta(minutes=0)], ids=["long", "later"])
def test_a_click_long_before_or_after_says_nothing(
    session: Session, came: Came, clicked: Callable[..., str], ago: timedelta
) -> None:
    clicked(ago)
    bought = came("purchase", timedelta(minutes=1), shopper_id="1:a")
    assert settle(session, 2 * SETTLED_AFTER) == {"none": 1}
    assert found(session, bought) == ("none", None)


def test_a_click_that_is_pending_itself_gives_nothing_on(
    session: Session, came: Came, clicked: Callable[..., str]
) -> None:
    clicked(attribution="none")
    came("purchase", shopper_id="1:a")
    assert settle(session) == {}


def test_a_backlog_is_worked_off_in_portions_and_nothing_is_given_up_unseen(
    session: Session, came: Came, clicked: Callable[..., str]
) -> None:
    query_id = clicked(timedelta(hours=4))
    bought = [came("purchase", shopper_id="1:a") for _ in range(5)]
    for place, name in enumerate(bought):
        received = NOW - timedelta(hours=3) + timedelta(minutes=place)
        session.execute(update(Event).filter_by(message_id=name).values(received_at=received))
    portions = [dict(attribute_pending(session.connection(), NOW, most=2)) for _ in range(4)]
    assert portions == [{"joined": 2}, {"joined": 2}, {"joined": 1}, {}]
    assert {found(session, name) for name in bought} == {("joined", query_id)}
