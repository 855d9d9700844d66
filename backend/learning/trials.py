"""Trials that nights begin by themselves: screens of what offline gates could not judge, guards of what went live.

A screen interleaves a candidate with what is live for a few shoppers, because offline estimates of it are undefined. A
guard keeps what was replaced for a few shoppers, beside as many who get what is new, and watches for harm.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.errors import Conflict
from backend.experiments.layers import list_layers
from backend.experiments.lifecycle import create_experiment, start_experiment, stop_experiment
from backend.experiments.models import Experiment
from backend.experiments.schemas import ArmIn, ExperimentIn
from backend.generations.models import Generation
from backend.generations.repository import live_generation, lock_generations, ranks_as
from backend.learning.models import NightlyRun
from backend.logs import get_logger

log = get_logger(__name__)

SCREEN, GUARD = "screen", "guard"
"""What an experiment is for that a night began: kept in ``experiments.purpose``."""

PRODUCTION, CANDIDATE = "production", "candidate"
"""Arms of a screen, A and B of its drafts."""

PREVIOUS, NEW = "previous", "new"
"""Arms of a guard; the first is what the other is compared with."""


LEAST = 0.001
"""Share of the layer below which a trial would never end."""


def begin_screen(session: Session, run: NightlyRun, generation_id: int, *, share: float) -> Experiment | None:
    """Interleave a generation with what is live for ``share`` of the shoppers; idempotent.

    A screen of another generation ends: one at a time. ``run.report["screen"]`` says what became of it.

    Args:
        session: the transaction.
        run: the night whose gates could not judge it.
        generation_id: the candidate, which is ready to serve.
        share: of the shoppers; 0 begins none.

    Returns:
        The experiment; None where there is none, with the reason in the report.
    """
    lock_generations(session)
    name = f"screen of g{generation_id}"
    known = session.scalars(select(Experiment).where(Experiment.name == name)).one_or_none()
    if known is not None:
        return known
    live = live_generation(session)
    if not share or live is None or live.id == generation_id:
        note_in(run, SCREEN, None, "off", "Nothing is screened: MORELIKE_SCREEN_SHARE is 0, or nothing else is live.")
        return None
    end_trials(session, SCREEN, "A newer candidate takes its place.")
    arms = [ArmIn(name=PRODUCTION, generation=f"g{live.id}"), ArmIn(name=CANDIDATE, generation=f"g{generation_id}")]
    made = _begun(session, SCREEN, share, {"name": name, "method": "interleave", "arms": arms})
    if made is None:
        note_in(run, SCREEN, None, "off", "Nothing is screened: other experiments have the whole ranker layer.")
        return None
    note_in(
        run, SCREEN, made, "running", f"g{generation_id} is interleaved with g{live.id} for {share:.1%} of shoppers."
    )
    return made


def begin_guard(session: Session, new_id: int, previous_id: int | None, *, share: float) -> Experiment | None:
    """Keep what ``new_id`` replaced for ``share`` of the shoppers, beside as many who get ``new_id``; idempotent.

    Guards of other generations end. Where other experiments have most of the layer, it takes what is left.

    Args:
        session: the transaction, after or with the flip.
        new_id: what is live now.
        previous_id: what it replaced; None: nothing to compare with.
        share: of the shoppers in each arm; 0 begins none.

    Returns:
        The experiment; None where there is none.
    """
    lock_generations(session)
    running = {tuple(generations_of(one)): one for one in running_trials(session, GUARD)}
    if previous_id is not None and (previous_id, new_id) in running:
        return running[previous_id, new_id]
    end_trials(session, GUARD, f"g{new_id} went live.")
    if not share or previous_id is None or previous_id == new_id:
        return None
    arms = [ArmIn(name=PREVIOUS, generation=f"g{previous_id}"), ArmIn(name=NEW, generation=f"g{new_id}")]
    name = _free_name(session, f"guard of g{new_id}")
    made = _begun(session, GUARD, 2 * share, {"name": name, "arms": arms})
    run = run_of(session, new_id)
    if run is not None:
        said = f"{share:.1%} of shoppers keep g{previous_id}, and as many are compared with them."
        none = "Nothing is guarded: other experiments have the ranker layer, or what was replaced cannot serve."
        note_in(run, GUARD, made, "running" if made else "off", said if made else none)
    return made


def running_trials(session: Session, purpose: str) -> Sequence[Experiment]:
    """Experiments for ``purpose`` that run, oldest first."""
    running = (Experiment.purpose == purpose) & (Experiment.status == "running")
    return session.scalars(select(Experiment).where(running).order_by(Experiment.id)).all()


def end_trials(session: Session, purpose: str, why: str) -> None:
    """Stop the experiments for ``purpose`` that run, and say why in the reports of their nights."""
    for one in running_trials(session, purpose):
        stop_experiment(session, one.id, actor=purpose)
        run = run_of(session, generations_of(one)[1])
        if run is not None:
            note_in(run, purpose, one, "ended", why)
            if run.outcome == "screening":  # nobody looks at it any more; it waits for whoever promotes it
                run.outcome, run.reason = "ready", f"Its trial ended undecided. {why}"


def run_of(session: Session, generation_id: int) -> NightlyRun | None:
    """The night that made a generation."""
    made = select(NightlyRun).where(NightlyRun.generation_id == generation_id)
    newest = (
        made.order_by(NightlyRun.id.desc()).limit(1).with_for_update()
    )  # the night itself may still write its report
    return session.scalars(newest, execution_options={"populate_existing": True}).one_or_none()


def note_in(run: NightlyRun, purpose: str, experiment: Experiment | None, state: str, sentence: str) -> None:
    """Say in the report of a night how its trial stands: ``report["screen"]`` or ``report["guard"]``."""
    told = {"experiment": f"e{experiment.id}" if experiment else None, "state": state, "sentence": sentence}
    run.report = {**run.report, purpose: told}
    log.info("trial", purpose=purpose, run=run.id, **told)


def generations_of(one: Experiment) -> list[int]:
    """Generations of the arms, in their order."""
    return [arm["generation_id"] for arm in one.arms]


def is_live(session: Session, generation_id: int) -> bool:
    """Whether this generation serves, or one that ranks as it does."""
    live, generation = live_generation(session), session.get(Generation, generation_id)
    return live is not None and generation is not None and ranks_as(live, generation)


def _begun(session: Session, purpose: str, wanted: float, said: dict[str, Any]) -> Experiment | None:
    """Made and started with what is left of the layer; None where nothing is left, or an arm cannot serve."""
    free = next(layer.free for layer in list_layers(session) if layer.name == "ranker")
    traffic = min(wanted, free)
    if traffic < LEAST:
        return None
    try:
        with session.begin_nested():
            made = create_experiment(session, ExperimentIn(traffic=traffic, **said), actor=purpose)
            made.purpose = purpose
            return start_experiment(session, made.id, actor=purpose)
    except Conflict as error:
        log.warning("trial_not_begun", purpose=purpose, name=said["name"], error=error.sentence())
        return None


def _free_name(session: Session, wanted: str) -> str:
    """``wanted``, or with a number behind it: a generation may go live more than once."""
    taken = set(session.scalars(select(Experiment.name).where(Experiment.name.startswith(wanted, autoescape=True))))
    return next(name for n in range(1, len(taken) + 2) if (name := wanted if n == 1 else f"{wanted}, {n}") not in taken)
