"""Trials that nights began, looked at again and again until they decide: promoted, dropped, rolled back, or over."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.access.audit import record
from backend.db import session_scope
from backend.errors import Conflict
from backend.experiments.lifecycle import conclude_experiment, find_experiment
from backend.experiments.metrics import HARM_ALPHA
from backend.experiments.models import Experiment
from backend.experiments.result_schemas import ExperimentResults
from backend.experiments.results import SETTLED, results_of
from backend.experiments.schemas import ConcludeIn
from backend.generations.models import Generation
from backend.generations.promote import go_live
from backend.generations.repository import lock_generations
from backend.learning.trials import (
    CANDIDATE,
    GUARD,
    PREVIOUS,
    PRODUCTION,
    SCREEN,
    begin_guard,
    end_trials,
    generations_of,
    is_live,
    note_in,
    run_of,
    running_trials,
)
from backend.logs import get_logger
from backend.ml.statistics.any_time import half_width
from backend.settings import Settings

log = get_logger(__name__)

REST = timedelta(seconds=60)
"""Between two looks at a trial, at least."""

PAUSE = 20.0
"""How many times as long as a look took nobody looks again: looking takes 5 % of one core at most."""

_LATEST = timedelta(days=7)
"""How long after its end an experiment is come back to."""

_TUNED_FOR = 2000


def watch(sessions: sessionmaker[Session], settings: Settings) -> None:
    """Look at the trials whose time has come, and act on what is found; call it often, from one place or several."""
    for purpose, decide in ((SCREEN, _decide_screen), (GUARD, _decide_guard)):
        with session_scope(sessions) as session:
            trials = [one.id for one in running_trials(session, purpose)]
        for number in trials:
            try:
                _look(sessions, number, settings, decide)
            except Conflict as error:  # it is tried again; neither the other trials nor the rest of a sweep wait for it
                log.warning("trial_not_decided", experiment=f"e{number}", why=error.sentence())
    _keep_final(sessions)


_Decide = Callable[[Session, Experiment, ExperimentResults, Settings], None]


def _look(sessions: sessionmaker[Session], number: int, settings: Settings, decide: _Decide) -> None:
    """Read, then decide under the lock: reading takes seconds, and nobody shall wait for it."""
    with session_scope(sessions) as session:
        one = find_experiment(session, number)
        rival = generations_of(one)[0 if one.purpose == SCREEN else 1]
        outdated = not is_live(session, rival)
        if not outdated and not _is_due(one):
            return
        found = None if outdated else results_of(session, one, needed=settings.screen_units, before=False, decides=True)
    with session_scope(sessions) as session:
        lock_generations(session)
        one = find_experiment(session, number)
        if one.status != "running":
            return
        if found is None or not is_live(session, rival):
            end_trials(session, one.purpose, "Another generation went live meanwhile.")
            return
        decide(session, one, found, settings)


def _keep_final(sessions: sessionmaker[Session]) -> None:
    """Read what experiments came to that ended a day ago: their lists are dropped one day, and this stays."""
    now = datetime.now(UTC)
    ended = Experiment.ended_at.between(now - _LATEST, now - SETTLED) & Experiment.started_at.is_not(None)
    unread = func.coalesce(Experiment.results["final"].as_boolean(), False).is_(False)
    with session_scope(sessions) as session:
        due = session.scalars(select(Experiment.id).where(ended, unread).order_by(Experiment.id)).all()
    for number in due:
        with session_scope(sessions) as session:
            results_of(session, find_experiment(session, number))


def _is_due(one: Experiment) -> bool:
    if not one.results:
        return True
    rest = max(REST, timedelta(seconds=PAUSE * one.results["took_s"]))
    return datetime.now(UTC) - datetime.fromisoformat(one.results["at"]) >= rest


def _decide_screen(session: Session, one: Experiment, found: ExperimentResults, settings: Settings) -> None:
    production, candidate = generations_of(one)
    verdict, over = found.verdict, found.days >= settings.screen_days
    if verdict.state == "better":
        _conclude(session, one, CANDIDATE, "won", verdict.sentence, "promoted")
        go_live(session, candidate, actor=SCREEN)
        begin_guard(session, candidate, production, share=settings.guard_share)
    elif verdict.state == "worse" or over:
        late = f"Not decided within {settings.screen_days:g} days: dropped. {verdict.sentence}"
        winner = PRODUCTION if verdict.state == "worse" else None
        _conclude(session, one, winner, "dropped", late if winner is None else verdict.sentence, "unchanged")
        session.get_one(Generation, candidate, populate_existing=True).state = "rejected"
    else:
        _still_runs(session, one, verdict.sentence)


def _decide_guard(session: Session, one: Experiment, found: ExperimentResults, settings: Settings) -> None:
    previous, new = generations_of(one)
    harm = found.verdict.sentence if found.verdict.state == "harm" else _missing(found)
    if harm is not None:
        _conclude(session, one, PREVIOUS, "rolled back", harm, "rolled_back")
        go_live(session, previous, actor=GUARD, undoable=False)  # a rollback, whatever was flipped meanwhile
        details = {"experiment": f"e{one.id}", "to": f"g{previous}", "why": harm}
        record(session, actor=GUARD, action="generation.rolled_back", subject=f"g{new}", details=details)
        log.warning("rolled_back", generation=f"g{new}", to=f"g{previous}", why=harm)
    elif found.days * 24 >= settings.guard_hours:
        said = f"No harm was found in {settings.guard_hours:g} hours."
        if found.verdict.state == "blocked":
            said = f"Nothing is known after {settings.guard_hours:g} hours. {found.verdict.sentence}"
        _conclude(session, one, None, "over", said, None)
    else:
        _still_runs(session, one, found.verdict.sentence)


def _missing(found: ExperimentResults) -> str | None:
    """Whether searches of the new generation leave no lists, as those that fail do: its arm lacks units."""
    if found.sample_ratio is None:
        return None
    previous, new = found.sample_ratio.found
    units = previous + new
    lacks = 0.5 - new / units if units else 0.0
    if lacks <= half_width(0.5, units, alpha=HARM_ALPHA, tuned_for=_TUNED_FOR, one_sided=True):
        return None
    return f"Searches go missing: {new:,} shoppers were answered by the new generation, {previous:,} by the previous."


def _conclude(
    session: Session, one: Experiment, winner: str | None, state: str, sentence: str, outcome: str | None
) -> None:
    """End a trial and tell its night, whose outcome becomes ``outcome``; None leaves it."""
    conclude_experiment(session, one.id, ConcludeIn(winner=winner, note=sentence[:1000]), actor=one.purpose)
    run = run_of(session, generations_of(one)[1])
    if run is None:
        return
    note_in(run, one.purpose, one, state, sentence)
    if outcome is not None:
        run.outcome, run.reason = outcome, sentence


def _still_runs(session: Session, one: Experiment, sentence: str) -> None:
    run = run_of(session, generations_of(one)[1])
    if run is not None:
        note_in(run, one.purpose, one, "running", sentence)
