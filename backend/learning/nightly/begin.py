"""Nights as they are asked for: by the schedule, by people; one at a time, and one for each night of the schedule."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from backend.access.audit import record
from backend.errors import Conflict
from backend.events.models import Erasure
from backend.generations.models import Generation
from backend.generations.repository import live_generation
from backend.learning.models import NightlyRun, NightlyStep
from backend.learning.nightly.lock import is_held
from backend.learning.nightly.runs import STEPS, end_night, find_night, running_night
from backend.settings import Settings

SCHEDULE = "schedule"
"""Who asks for the nights of the schedule."""

LATE = timedelta(hours=1)
"""How late the very first night may begin: a stack that is started at noon waits for its hour."""

REST = timedelta(minutes=1)
"""Before a step that failed once is begun again; twice as long after each further time."""

CHALLENGER_EVERY = timedelta(days=7)
"""How often one arm starts from the identity, to see what a long chain of warm starts has drifted into."""

_BEGIN_LOCK = 0x6D6F7262


class NightRunning(Conflict):
    """One night is worked on at a time."""

    title = "A night is under way"


@dataclass(frozen=True)
class NightAsked:
    """What a night is to be.

    Args:
        actor: who asks, for the audit.
        night: which of the schedule's; None where somebody asks for one in between.
        dry_run: learn and judge, and change nothing.
        item_heads: whether heads of items learn, too; None where their time has come.
        window_days: days that are learned from; None as set.
        seed: of everything drawn at random; None takes the number of the night.
    """

    actor: str
    night: date | None = None
    dry_run: bool = False
    item_heads: bool | None = None
    window_days: float | None = None
    seed: int | None = None


def begin_night(session: Session, settings: Settings, asked: NightAsked, now: datetime | None = None) -> NightlyRun:
    """Make the rows of a night; whoever works on nights takes it up.

    Raises:
        NightRunning: one is under way, or has been for this night of the schedule.
        Conflict: nothing is live.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _BEGIN_LOCK})
    run = planned_night(session, settings, asked, now)
    run.id = session.scalars(select(func.nextval(func.pg_get_serial_sequence("nightly_runs", "id")))).one()
    run.seed = run.id if asked.seed is None else asked.seed
    session.add(run)
    session.flush()
    session.add_all(NightlyStep(run_id=run.id, name=name, place=place) for place, name in enumerate(STEPS))
    record(session, actor=asked.actor, action="night.begun", subject=f"n{run.id}", details={"dry_run": asked.dry_run})
    return run


def planned_night(session: Session, settings: Settings, asked: NightAsked, now: datetime | None = None) -> NightlyRun:
    """The row of the night that would be begun, without its number; it is not kept.

    Raises:
        NightRunning: one is under way, or has been for this night of the schedule.
        Conflict: nothing is live.
    """
    now = now or datetime.now(UTC)
    running = running_night(session)
    if running is not None:
        raise NightRunning("One night is worked on at a time: wait for it, or cancel it.", found=f"n{running.id}")
    if asked.night is not None and _has_been(session, asked.night):
        raise NightRunning("This night of the schedule has been already.", found=asked.night.isoformat())
    live = live_generation(session)
    if live is None:
        raise Conflict("Nothing is live yet that could learn.", expected="a catalogue: `morelike import`")
    days = settings.nightly_window_days if asked.window_days is None else asked.window_days
    return NightlyRun(
        night=asked.night,
        dry_run=asked.dry_run,
        item_heads=_items_due(session, settings, now) if asked.item_heads is None else asked.item_heads,
        actor=asked.actor[:120],
        window_from=now - timedelta(days=days),
        window_to=now,
        production_id=live.id,
        options={"challenger": _challenger_due(session, now), "identity": _must_forget(session, live)},
        report={},
        state="running",
        reason="",
    )


def cancel_night(session: Session, number: int, *, actor: str) -> NightlyRun:
    """End a night that is under way: what it has not changed by now, it never will.

    Raises:
        NotFound: there is no such night.
        Conflict: it has ended.
    """
    if find_night(session, number).state != "running":
        raise Conflict(f"n{number} has ended", found=find_night(session, number).state, expected="running")
    end_night(session, number, state="cancelled")
    record(session, actor=actor, action="night.cancelled", subject=f"n{number}")
    session.flush()
    return find_night(session, number)


def due_night(session: Session, at: str, now: datetime) -> date | None:
    """The night of the schedule that is to be begun ``now``, where its time ``at`` (``02:00``, UTC; ``off``) has come.

    One that was missed is made up for until the next; the very first waits for its hour.
    """
    if at == "off":
        return None
    begins = datetime.combine(now.astimezone(UTC), time.fromisoformat(at), UTC)
    begins -= timedelta(days=1) if begins > now else timedelta()
    if _has_been(session, begins.date()) or live_generation(session) is None:
        return None
    is_first = session.scalar(select(NightlyRun.id).where(NightlyRun.night.is_not(None)).limit(1)) is None
    return None if is_first and now - begins >= LATE else begins.date()


def is_work_due(session: Session, at: str, now: datetime) -> bool:
    """Whether a night is to be begun, or one is under way that nobody works on."""
    running = running_night(session)
    if running is not None:
        return not is_held(session) and not _rests(session, running.id, now)
    return due_night(session, at, now) is not None


def _rests(session: Session, number: int, now: datetime) -> bool:
    """Whether a step failed a moment ago: what was in its way, such as a full disk, may need time to go."""
    failed = select(NightlyStep.ended_at, NightlyStep.attempts)
    failed = failed.where(
        NightlyStep.run_id == number, NightlyStep.state == "failed", NightlyStep.ended_at.is_not(None)
    )
    return any(ended_at + REST * 2 ** (attempts - 1) > now for ended_at, attempts in session.execute(failed))


def _has_been(session: Session, night: date) -> bool:
    return session.scalar(select(NightlyRun.id).where(NightlyRun.night == night)) is not None


def _items_due(session: Session, settings: Settings, now: datetime) -> bool:
    """Whether heads of items were last learned long enough ago; they want an index build of their own."""
    if not settings.item_heads_days:
        return False
    since = now - timedelta(days=settings.item_heads_days) + LATE
    lately = select(NightlyRun.id).where(NightlyRun.item_heads, NightlyRun.state == "done", ~NightlyRun.dry_run)
    return session.scalar(lately.where(NightlyRun.window_to > since).limit(1)) is None


def _challenger_due(session: Session, now: datetime) -> bool:
    since = now - CHALLENGER_EVERY + LATE
    lately = select(NightlyRun.id).where(NightlyRun.options["challenger"].as_boolean(), NightlyRun.state == "done")
    return session.scalar(lately.where(NightlyRun.window_to > since).limit(1)) is None


def _must_forget(session: Session, live: Generation) -> bool:
    """Whether what serves has learned from rows that were erased since: then nothing is carried on from it."""
    # one that was calibrated anew after the erasure has the same heads and another number
    alike = (Generation.index_build_id == live.index_build_id) & (Generation.query_heads == live.query_heads)
    alike |= Generation.id == live.id
    named = select(Erasure.id).join(Generation, Erasure.generations.any_() == Generation.id)
    return session.scalar(named.where(alike).limit(1)) is not None
