"""What Prometheus reads of nights follows their rows."""

from datetime import UTC, datetime

from prometheus_client import REGISTRY
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.learning.models import NightlyRun
from backend.learning.nightly.gauges import observe_nights

NOW = datetime.now(UTC)


def counted(outcome: str) -> float | None:
    return REGISTRY.get_sample_value("morelike_nights", {"outcome": outcome})


def test_an_outcome_or_step_that_is_no_longer_so_is_no_longer_told(sessions: sessionmaker[Session]) -> None:
    window = {"window_from": NOW, "window_to": NOW, "ended_at": NOW, "state": "done", "seed": 1}
    with session_scope(sessions) as session:
        session.add(NightlyRun(outcome="screening", report={"seconds": {"flip": 3.0}}, **window))
        session.flush()
        observe_nights(session)
        assert counted("screening") == 1
        session.execute(update(NightlyRun).values(outcome="promoted"))
        session.add(NightlyRun(outcome="unchanged", report={"seconds": {"gates": 2.0}}, **window))
        session.flush()
        observe_nights(session)
    assert (counted("screening"), counted("promoted"), counted("unchanged")) == (None, 1, 1)
    seconds = "morelike_night_step_seconds"
    assert REGISTRY.get_sample_value(seconds, {"step": "flip"}) is None
    assert REGISTRY.get_sample_value(seconds, {"step": "gates"}) == 2
