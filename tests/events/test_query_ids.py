"""An id of a list names the day of the list, and no text breaks who asks for it."""

from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from backend.events.query_ids import LEGACY, day_of, new_query_id


def test_the_day_is_three_digits_of_base_36() -> None:
    # 2026-11-21 is day 2516 from 2020-01-01: 1·36² + 33·36 + 32
    assert new_query_id(datetime(2026, 11, 21, 12, tzinfo=UTC))[:5] == "q_1xw"
    assert day_of("q_1xw" + "-" * 20) == date(2026, 11, 21)


def test_days_are_those_of_utc() -> None:
    evening = datetime(2026, 11, 21, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert day_of(new_query_id(evening)) == date(2026, 11, 22)


@given(st.dates(date(2020, 1, 1), date(2147, 1, 1)))
def test_an_id_gives_its_day_back_and_fits_its_column(day: date) -> None:
    made = new_query_id(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    assert day_of(made) == day
    assert len(made) <= 32


@given(st.text(max_size=30))
def test_any_text_has_a_day(text: str) -> None:
    assert day_of(text) >= LEGACY


def test_ids_of_earlier_versions_have_no_day_of_their_own() -> None:
    assert day_of("q_7kX2mfbTQ3qVn0aJ8rYw") == LEGACY
