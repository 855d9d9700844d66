"""What people do with experiments: make, start, ramp, stop, conclude. Each is one transaction and one audit entry."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from backend.access.audit import record
from backend.errors import Conflict, NotFound, Unprocessable
from backend.experiments.bucketing import BUCKETS
from backend.experiments.models import Experiment, ExperimentOverride, Layer, StickyArm
from backend.experiments.pins import check_servable, pin
from backend.experiments.registry import make_layers, new_salt
from backend.experiments.schemas import ConcludeIn, ExperimentIn, RampIn
from backend.experiments.slices import allot, width
from backend.generations.repository import lock_generations
from backend.ml.feedback.policy import BUILT_IN

_POLICY = text("SELECT 1 FROM refine_policies WHERE name = :name")  # their room is above this one


class ExperimentUnknown(NotFound):
    """No experiment has this id."""

    title = "No such experiment"


class WrongStatus(Conflict):
    """What an experiment is does not permit this."""

    title = "Experiment is not in this state"


class LayerFull(Conflict):
    """Other experiments of the layer have too many of its buckets."""

    title = "Layer is full"


def create_experiment(session: Session, asked: ExperimentIn, *, actor: str) -> Experiment:
    """Make a draft.

    Raises:
        Conflict: the name is taken, or a generation cannot serve.
        Unprocessable: a refine policy does not exist.
    """
    lock_generations(session)
    make_layers(session)
    if session.scalar(select(Experiment.id).where(Experiment.name == asked.name)) is not None:
        raise Conflict("an experiment keeps its name for good, and another one has this", found=asked.name)
    arms = [arm.kept() for arm in asked.arms]
    _check_arms(session, arms)
    made = Experiment(
        name=asked.name,
        layer=asked.layer,
        method=asked.method,
        metric=asked.metric,
        status="draft",
        entry_salt=new_salt(),
        arm_salt=new_salt(),
        traffic=asked.traffic,
        coverage=asked.coverage,
        targeting=asked.targeting.model_dump(exclude_none=True),
        arms=arms,
        actor=actor[:120],
    )
    session.add(made)
    session.flush()
    _note(session, made, "created", actor, {"layer": made.layer, "arms": [arm["name"] for arm in arms]})
    session.refresh(made)
    return made


def find_experiment(session: Session, experiment_id: int) -> Experiment:
    """The experiment of this number.

    Raises:
        ExperimentUnknown: there is none.
    """
    found = session.get(Experiment, experiment_id, populate_existing=True)
    if found is None:
        raise ExperimentUnknown("there is no such experiment", found=f"e{experiment_id}")
    return found


def list_experiments(session: Session, limit: int) -> Sequence[Experiment]:
    """The newest experiments, newest first."""
    return session.scalars(select(Experiment).order_by(Experiment.id.desc()).limit(limit)).all()


def start_experiment(session: Session, experiment_id: int, *, actor: str) -> Experiment:
    """Let a draft assign units.

    Where its layer is empty the layer gets a new salt: whoever was together in an arm of an experiment before is spread
    over all arms of this one, and what that one did to them falls on all alike.

    Raises:
        WrongStatus: it is no draft.
        LayerFull: others have too many of the layer's buckets.
        Conflict: a generation cannot serve any more.
    """
    found = _locked(session, experiment_id, ("draft",))
    _check_arms(session, found.arms)
    taken = _taken(session, found.layer)
    if not taken and found.layer != "explore":  # sessions that explore keep doing so
        layer = session.get_one(Layer, found.layer)
        layer.salt, layer.salt_version = new_salt(), layer.salt_version + 1
    found.slices = _allotted(taken, found.traffic, 0)
    found.status, found.started_at = "running", datetime.now(UTC)
    _pin(session, found)
    _note(session, found, "started", actor, {"slices": found.slices, "coverage": found.coverage})
    return found


def ramp_experiment(session: Session, experiment_id: int, asked: RampIn, *, actor: str) -> Experiment:
    """Let more units in. Nobody who is in leaves or changes arms.

    Raises:
        WrongStatus: it does not run.
        Unprocessable: it is asked for nothing, or for less than it has.
        LayerFull: others have too many of the layer's buckets.
    """
    found = _locked(session, experiment_id, ("running",))
    if asked.traffic is None and asked.coverage is None:
        raise Unprocessable("nothing is ramped", expected="traffic or coverage")
    for name in ("traffic", "coverage"):
        wanted, has = getattr(asked, name), getattr(found, name)
        if wanted is not None and wanted < has:
            raise Unprocessable(
                f"{name} only grows while an experiment runs: who is in would leave",
                found=wanted,
                expected=f"≥ {has:g}",
            )
    if asked.traffic is not None:
        added = _allotted(_taken(session, found.layer), asked.traffic, width(found.slices))
        found.slices, found.traffic = [*found.slices, *added], asked.traffic
    found.coverage = asked.coverage or found.coverage
    _note(session, found, "ramped", actor, {"slices": found.slices, "coverage": found.coverage})
    return found


def stop_experiment(session: Session, experiment_id: int, *, actor: str) -> Experiment:
    """Send everybody back to what is live. A draft is put away.

    Raises:
        WrongStatus: it has ended.
    """
    found = _locked(session, experiment_id, ("draft", "running"))
    _end(session, found, "stopped")
    _note(session, found, "stopped", actor, {})
    return found


def conclude_experiment(session: Session, experiment_id: int, asked: ConcludeIn, *, actor: str) -> Experiment:
    """Note what was decided, and end it if it runs. What won goes live by itself: ``generation promote``.

    Raises:
        WrongStatus: it never ran, or is concluded.
        Unprocessable: the winner is none of its arms.
    """
    found = _locked(session, experiment_id, ("running", "stopped"))
    names = [arm["name"] for arm in found.arms]
    if asked.winner is not None and asked.winner not in names:
        raise Unprocessable("the winner is no arm of this experiment", found=asked.winner, expected=names)
    found.decision = {"winner": asked.winner, "note": asked.note, "by": actor, "at": datetime.now(UTC).isoformat()}
    _end(session, found, "concluded")
    _note(session, found, "concluded", actor, {"winner": asked.winner})
    return found


def override(session: Session, experiment_id: int, units: Sequence[str], arm: str | None, *, actor: str) -> Experiment:
    """Put a tester into an arm, before or after the start; None takes them out again.

    Args:
        session: the transaction.
        experiment_id: which.
        units: hashes of the tester's id, the one in use first.
        arm: name of the arm.
        actor: who asks, for the audit.

    Raises:
        WrongStatus: it has ended.
        Unprocessable: it has no such arm.
    """
    found = _locked(session, experiment_id, ("draft", "running"))
    names = [each["name"] for each in found.arms]
    if arm is not None and arm not in names:
        raise Unprocessable("this experiment has no such arm", found=arm, expected=names)
    theirs = (ExperimentOverride.experiment_id == found.id) & ExperimentOverride.unit.in_(units)
    session.execute(delete(ExperimentOverride).where(theirs))
    if arm is not None:
        session.add(ExperimentOverride(experiment_id=found.id, unit=units[0], arm=arm))
    session.flush()
    _pin(session, found)
    _note(session, found, "overridden", actor, {"arm": arm})
    return found


def _locked(session: Session, experiment_id: int, expected: Sequence[str]) -> Experiment:
    lock_generations(session)  # whoever drops a build waits, and so does whoever wants the same buckets
    found = find_experiment(session, experiment_id)
    if found.status not in expected:
        raise WrongStatus(f"e{found.id} is {found.status}", found=found.status, expected=list(expected))
    return found


def _check_arms(session: Session, arms: Sequence[dict[str, Any]]) -> None:
    for arm in arms:
        if arm["generation_id"] is not None:
            check_servable(session, arm["generation_id"])
        policy = arm["refine_policy"]
        if policy is not None and policy not in BUILT_IN and session.scalar(_POLICY, {"name": policy}) is None:
            raise Unprocessable("no refine policy has this name: `morelike policy list` shows them", found=policy)


def _taken(session: Session, layer: str) -> list[list[int]]:
    rows = session.scalars(select(Experiment.slices).where(Experiment.layer == layer, Experiment.status == "running"))
    return [each for slices in rows for each in slices]


def _allotted(taken: list[list[int]], traffic: float, has: int) -> list[list[int]]:
    wanted = round(traffic * BUCKETS) - has
    found = allot(taken, wanted)
    if found is None:
        left = (BUCKETS - width(taken)) / BUCKETS
        raise LayerFull(
            "other experiments of this layer have the rest of its traffic",
            found=wanted / BUCKETS,
            expected=f"at most {left:g}",
        )
    return [[start, end] for start, end in found]


def _pin(session: Session, experiment: Experiment) -> None:
    """Keep the arms' generations while units, or testers, may be assigned to them."""
    tested = select(ExperimentOverride.unit).where(ExperimentOverride.experiment_id == experiment.id).limit(1)
    assigns = experiment.status == "running" or (experiment.status == "draft" and session.scalar(tested) is not None)
    arms = {arm["generation_id"] for arm in experiment.arms} - {None} if assigns else set()
    pin(session, f"e{experiment.id}", arms)


def _end(session: Session, experiment: Experiment, status: str) -> None:
    experiment.status = status
    experiment.ended_at = experiment.ended_at or datetime.now(UTC)
    for kept in (StickyArm, ExperimentOverride):  # of no use any more, and about people
        session.execute(delete(kept).where(kept.experiment_id == experiment.id))
    _pin(session, experiment)


def _note(session: Session, experiment: Experiment, done: str, actor: str, details: dict[str, Any]) -> None:
    if done != "created":
        experiment.revision += 1
    session.flush()
    record(session, actor=actor, action=f"experiment.{done}", subject=f"e{experiment.id}", details=details)
