"""Working on a night: step after step, each of them once, wherever the one who worked on it before has stopped.

A step writes its artifacts and is then noted as done, in one transaction with whatever it changes. So whoever comes
behind a process that died begins with the step at which it died, and nothing that was changed is changed again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.db import session_scope
from backend.errors import Conflict
from backend.learning.models import NightlyRun
from backend.learning.nightly.lock import LockLost, alone
from backend.learning.nightly.night import Interrupted, Night, Works, forget_deeds
from backend.learning.nightly.runs import (
    MOST_ATTEMPTS,
    begin_step,
    end_night,
    end_step,
    find_night,
    locked_night,
    put_back,
    running_night,
    skip_pending,
    steps_of,
)
from backend.logs import get_logger

log = get_logger(__name__)

_LAST = "report"
_MOST_SAID = 2000  # letters of an error that are kept


@dataclass(frozen=True)
class Made:
    """What came of a step.

    Args:
        result: kept with the step: few numbers.
        report: added to the report of the night.
        nothing: why there is nothing to do for the steps that follow, but the report; None where there is.
    """

    result: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    nothing: str | None = None


@dataclass(frozen=True)
class Step:
    """A step of the night.

    Args:
        name: as rows and people have it.
        do: what it does; it may be done again from its beginning.
        makes: artifacts that later steps read.
    """

    name: str
    do: Callable[[Night], Made]
    makes: tuple[str, ...] = ()


def take_up(works: Works, steps: Sequence[Step], number: int | None = None) -> NightlyRun | None:
    """Work on the night that is under way until it ends, or as far as this process lives.

    Args:
        works: what this process has.
        steps: those of a night, in their order.
        number: only this night; None for any.

    Returns:
        The night as it is then; None where there was none, or another process works on it.
    """
    with alone(works.sessions) as turn:
        if turn is None:
            return None
        with session_scope(works.sessions) as session:
            run = running_night(session)
        if run is None:
            forget_deeds(works.settings.home)  # of a night that was cancelled while nobody worked on it
            return None
        if number not in (None, run.id):
            return None
        night = Night(run.id, works, turn.check)
        log.info("night_taken_up", night=run.id)
        try:
            go_on(night, steps)
        except Interrupted as why:
            log.info("night_interrupted", night=run.id, why=str(why))
        except LockLost:  # its folder is somebody else's now
            raise
        except Exception:
            _left(night)
            raise
        return _left(night)


def _left(night: Night) -> NightlyRun:
    """The night as it is now; of one that has ended, what shoppers did is removed from the disk."""
    with session_scope(night.works.sessions) as session:
        run = find_night(session, night.number)
    if run.state != "running":
        night.tidy()
    return run


def go_on(night: Night, steps: Sequence[Step]) -> None:
    """Do what is left of a night."""
    _send_back(night, steps)
    for step in steps:
        with session_scope(night.works.sessions) as session:
            states = {row.name: row.state for row in steps_of(session, night.number)}
        if states[step.name] in ("done", "skipped"):
            continue
        if not _do(night, step):
            return


def _do(night: Night, step: Step) -> bool:
    """Do one step; whether the night goes on."""
    night.check()
    night.step, sessions = step.name, night.works.sessions
    with session_scope(sessions) as session:
        tries = begin_step(session, night.number, step.name)
    if tries > MOST_ATTEMPTS:
        _give_up(night, f"{step.name} did not end in {MOST_ATTEMPTS} attempts.")
        return False
    night.works.moment(step.name, "begun")
    try:
        made = step.do(night)
    except Interrupted:
        with session_scope(sessions) as session:
            if locked_night(session, night.number).state == "running":  # what is left of a cancelled one is left out
                put_back(session, night.number, [step.name], uncounted=True)
        raise
    except LockLost:  # whoever has the night now notes what becomes of it
        raise
    except Conflict as error:  # what there is does not permit it: an honest no
        if step.name == _LAST:
            raise
        made = Made(nothing=error.sentence())
    except Exception as error:
        _note(night, step, error)
        if tries >= MOST_ATTEMPTS:
            _give_up(night, f"{step.name}: {type(error).__name__}: {error}")
        raise
    night.works.moment(step.name, "made")
    _end(night, step, made)
    night.works.moment(step.name, "done")
    return True


def _end(night: Night, step: Step, made: Made) -> None:
    """Note a step as done, with what it adds to the report, and what follows from it."""
    with session_scope(night.works.sessions) as session:
        run = locked_night(session, night.number)
        if run.state != "running" and step.name != _LAST:
            raise Interrupted("the night was cancelled")
        end_step(session, night.number, step.name, made.result)
        run.report = run.report | made.report
        if made.nothing is not None:
            run.outcome, run.reason = run.outcome or "unchanged", run.reason or made.nothing
            session.flush()
            skip_pending(session, night.number, but=(_LAST,))
    log.info("night_step_done", night=night.number, step=step.name, **made.result)


def _send_back(night: Night, steps: Sequence[Step]) -> None:
    """Begin again where artifacts of a step are gone and still needed: the night has come to another machine."""
    with session_scope(night.works.sessions) as session:
        done = {row.name for row in steps_of(session, night.number) if row.state == "done"}
        row = find_night(session, night.number)
        learned = [step for step in steps if step.makes]
        gone = [step.name for step in learned if step.name in done and not all(map(night.has, step.makes))]
        if not gone or row.generation_id is not None or row.outcome is not None:
            return
        put_back(session, night.number, [step.name for step in learned])
    night.clear()
    log.info("night_sent_back", night=night.number, gone=gone)


def _note(night: Night, step: Step, error: Exception) -> None:
    """Keep why a step did not end; it is tried again."""
    said = {"error": f"{type(error).__name__}: {error}"[:_MOST_SAID]}
    with session_scope(night.works.sessions) as session:
        end_step(session, night.number, step.name, said, state="failed")
    log.warning("night_step_failed", night=night.number, step=step.name, **said)


def _give_up(night: Night, why: str) -> None:
    with session_scope(night.works.sessions) as session:
        end_night(session, night.number, state="failed", error=why[:_MOST_SAID])
    log.error("night_failed", night=night.number, why=why)
