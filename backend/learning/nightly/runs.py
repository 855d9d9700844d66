"""Nights and their steps as rows: begun once, moved on by whoever holds the night's lock, read by everybody."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session, defer

from backend.errors import NotFound
from backend.learning.models import NightlyRun, NightlyStep

STEPS = ("sessions", "propensities", "training", "gates", "build", "flip", "report")
"""Steps of a night in their order, by the names that people read."""

MOST_ATTEMPTS = 5
"""Times that a step is begun before its night is given up: one that kills its worker must end some day."""


def running_night(session: Session) -> NightlyRun | None:
    """The night that is under way; there is one at most."""
    return session.scalars(select(NightlyRun).where(NightlyRun.state == "running")).one_or_none()


def find_night(session: Session, number: int) -> NightlyRun:
    """The night of this number.

    Raises:
        NotFound: there is none.
    """
    found = session.get(NightlyRun, number)
    if found is None:
        raise NotFound(f"there is no night n{number}", found=f"n{number}")
    return found


def list_nights(session: Session, limit: int) -> Sequence[NightlyRun]:
    """Nights, the newest first; without their reports, which are long and stay where they are."""
    newest = select(NightlyRun).order_by(NightlyRun.id.desc()).limit(limit)
    return session.scalars(newest.options(defer(NightlyRun.report))).all()


def steps_of(session: Session, number: int) -> Sequence[NightlyStep]:
    """Steps of a night in their order."""
    wanted = select(NightlyStep).where(NightlyStep.run_id == number).order_by(NightlyStep.place)
    return session.scalars(wanted.execution_options(populate_existing=True)).all()


def locked_night(session: Session, number: int) -> NightlyRun:
    """The night, which nobody else changes until this transaction ends."""
    return session.get_one(NightlyRun, number, populate_existing=True, with_for_update=True)


def begin_step(session: Session, number: int, name: str) -> int:
    """Note that a step begins; how many times it has by now."""
    begun = (
        update(NightlyStep)
        .where(NightlyStep.run_id == number, NightlyStep.name == name)
        .values(state="running", attempts=NightlyStep.attempts + 1, started_at=_now(), ended_at=None, progress={})
    )
    return session.execute(begun.returning(NightlyStep.attempts)).scalar_one()


def end_step(session: Session, number: int, name: str, result: dict[str, Any], *, state: str = "done") -> None:
    """Note what came of a step."""
    step = session.get_one(NightlyStep, (number, name), populate_existing=True)
    step.state, step.result, step.ended_at = state, result, _now()


def put_back(session: Session, number: int, names: Sequence[str], *, uncounted: bool = False) -> None:
    """Let steps be done (again); ``uncounted`` takes back that they were begun."""
    values: dict[str, Any] = {"state": "pending", "started_at": None, "ended_at": None, "progress": {}}
    if uncounted:
        values["attempts"] = NightlyStep.attempts - 1
    session.execute(update(NightlyStep).where(NightlyStep.run_id == number, NightlyStep.name.in_(names)).values(values))


def skip_pending(session: Session, number: int, *, but: Sequence[str] = ()) -> None:
    """Leave out the steps that have not begun."""
    pending = (NightlyStep.run_id == number) & NightlyStep.state.in_(("pending", "running"))
    session.execute(update(NightlyStep).where(pending, NightlyStep.name.not_in(but)).values(state="skipped"))


def tell(session: Session, number: int, name: str, what: str, done: int, total: int) -> bool:
    """Note how far a step is; whether its night still runs."""
    told = update(NightlyStep).where(NightlyStep.run_id == number, NightlyStep.name == name)
    session.execute(told.values(progress={"what": what, "done": done, "total": total}))
    return session.scalar(select(NightlyRun.state).where(NightlyRun.id == number)) == "running"


def end_night(session: Session, number: int, *, state: str, error: str | None = None) -> None:
    """End a night that runs; nothing happens to one that has ended."""
    run = locked_night(session, number)
    if run.state != "running":
        return
    run.state, run.error, run.ended_at = state, error, _now()
    skip_pending(session, number)


def _now() -> datetime:
    return datetime.now(UTC)
