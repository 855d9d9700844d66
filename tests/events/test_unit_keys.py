"""Keys are renewed once a retention period, and one goes when the last rows under it have gone."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session, sessionmaker

from backend.events.models import BotUnit, UnitKey
from backend.events.unit_keys import MARGIN, READ_AGAIN_S, HasherHolder, renew_unit_keys
from backend.events.units import load_unit_hasher
from backend.experiments.forgetting import forget_units_of
from backend.experiments.models import Experiment, ExperimentOverride, Layer, StickyArm

DAYS = 90


@pytest.fixture
def begun(session: Session) -> datetime:
    """When the first key came into use."""
    load_unit_hasher(session)
    return session.scalars(select(UnitKey.created_at)).one()


def keys(session: Session) -> list[int]:
    return list(session.scalars(select(UnitKey.id).order_by(UnitKey.id)))


def test_a_shopper_is_found_under_both_keys_until_the_older_ones_rows_are_gone(
    session: Session, begun: datetime
) -> None:
    first = load_unit_hasher(session).hashed("shopper", "anna")
    renewed = begun + timedelta(days=DAYS, seconds=1)
    assert renew_unit_keys(session, DAYS, begun + timedelta(days=DAYS)) == []
    assert keys(session) == [1]
    assert renew_unit_keys(session, DAYS, renewed) == []
    assert keys(session) == [1, 2]
    hasher = load_unit_hasher(session)
    second = hasher.hashed("shopper", "anna")
    assert second != first
    assert hasher.under_every_key("shopper", "anna") == [second, first]
    # the first key's last row was written when the second came: a day later than retention is not enough
    assert renew_unit_keys(session, DAYS, renewed + timedelta(days=DAYS - 1)) == []
    assert renew_unit_keys(session, DAYS, renewed + timedelta(days=DAYS) + MARGIN + timedelta(seconds=1)) == [1]
    assert keys(session) == [2, 3]
    assert first not in load_unit_hasher(session).under_every_key("shopper", "anna")


def test_cursors_that_were_signed_before_are_believed(session: Session, begun: datetime) -> None:
    signature = load_unit_hasher(session).signature("page 2")
    renew_unit_keys(session, DAYS, begun + timedelta(days=DAYS + 1))
    assert load_unit_hasher(session).verifies("page 2", signature)


@pytest.mark.usefixtures("begun")
def test_what_is_known_of_units_goes_with_their_key(session: Session) -> None:
    session.execute(insert(BotUnit).values([{"unit": "1:a", "reason": "rate"}, {"unit": "11:a", "reason": "rate"}]))
    session.execute(insert(Layer).values(name="ranker", salt="s"))
    values = {"name": "e", "layer": "ranker", "method": "ab", "metric": "clicks", "coverage": 1}
    made = insert(Experiment).values(values | {"entry_salt": "a", "arm_salt": "b"}).returning(Experiment.id)
    experiment = session.scalars(made).one()
    for table in (StickyArm, ExperimentOverride):
        rows = [{"experiment_id": experiment, "unit": unit, "arm": "a"} for unit in ("1:a", "2:a")]
        session.execute(insert(table).values(rows))
    renew_unit_keys(session, DAYS, datetime.now(UTC) + timedelta(days=DAYS + 1))
    gone = renew_unit_keys(session, DAYS, datetime.now(UTC) + timedelta(days=2 * DAYS + 4))
    forget_units_of(session, gone)
    assert session.scalars(select(BotUnit.unit)).all() == ["11:a"]
    assert session.scalars(select(StickyArm.unit)).all() == ["2:a"]
    assert session.scalars(select(ExperimentOverride.unit)).all() == ["2:a"]


def test_a_process_follows_within_a_minute(sessions: sessionmaker[Session], session: Session) -> None:
    now = 0.0
    holder = HasherHolder(sessions, clock=lambda: now)
    first = holder.current
    renew_unit_keys(session, DAYS, datetime.now(UTC) + timedelta(days=DAYS + 1))
    session.commit()
    assert session.scalar(select(func.count()).select_from(UnitKey)) == 2
    now = READ_AGAIN_S - 1
    assert holder.current is first
    now = READ_AGAIN_S
    assert [key_id for key_id, _ in holder.current.keys] == [2, 1]
