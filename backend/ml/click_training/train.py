"""An arm of the night, from its lists to the heads that may be judged: three seeds, the middle one, scaled."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from backend.errors import Conflict
from backend.ml.adapter_gate import GAMMAS
from backend.ml.click_training.batches import Night
from backend.ml.click_training.gallery import Gallery
from backend.ml.click_training.plan import ARMS, ClickEpoch, ClickPlan, TrainedArm
from backend.ml.click_training.problem import Problem
from backend.ml.click_training.steps import OnStep, Run
from backend.ml.click_training.validation import merit, through
from backend.ml.heads import ItemHeads, QueryHeads
from backend.ml.training_steps import DivergedError

OnEpoch = Callable[[int, ClickEpoch], None]
"""Told which of the seeds, and what its epoch came to."""

_SLOWER = 0.3
"""Of the rate: what diverged is tried again so."""


def train_arm(
    problem: Problem,
    arm: str,
    plan: ClickPlan | None = None,
    *,
    seed: int = 1,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep | None = None,
) -> TrainedArm:
    """Train one arm.

    Args:
        problem: what is learned from.
        arm: a name of :data:`ARMS`, or "none": what is live.
        plan: how; None: as :class:`ClickPlan` stands.
        seed: the first of the plan's seeds.
        checkpoint: written after each epoch, a file for each seed beside it, and gone on from where it is there and of
            this log, plan and version.
        on_epoch: told what each epoch came to.
        on_step: told how many of how many steps of the epoch are done.

    Raises:
        KeyError: no such arm.
    """
    plan = plan or ClickPlan()
    if arm == "none":
        return _untouched(problem, arm, {})
    night = Night(problem, ARMS[arm], plan)
    report: dict[str, Any] = {"plan": asdict(plan), "learned": night.examples.to_json()}
    report |= {"validation_lists": len(night.held)}
    if not len(night.examples) or not len(night.held):
        return _untouched(problem, arm, report | {"why": "No clicks to learn from, or none to decide by."})
    runs = [
        run
        for number in range(plan.seeds)
        if (run := _trained(night, seed + number, checkpoint, on_epoch, on_step)) is not None
    ]
    if not runs:
        return _untouched(problem, arm, report | {"why": "Every training diverged."})
    ordered = sorted(runs, key=lambda run: run.merit)
    chosen = ordered[(len(ordered) - 1) // 2]
    report |= {"seed": chosen.seed, "seeds": {run.seed: run.merit for run in runs}}
    return _scaled(night, arm, chosen, report)


def _trained(
    night: Night, seed: int, checkpoint: Path | None, on_epoch: OnEpoch | None, on_step: OnStep | None
) -> Run | None:
    """A finished training; None where it diverged, more slowly too."""
    for rate in (night.plan.rate, night.plan.rate * _SLOWER):
        run = Run(night, seed, rate)
        path = None if checkpoint is None else checkpoint.with_suffix(f".{seed}.{rate:g}.pt")
        try:
            _finish(run, path, on_epoch, on_step)
        except DivergedError:
            continue
        return run
    return None


def _finish(run: Run, path: Path | None, on_epoch: OnEpoch | None, on_step: OnStep | None) -> None:
    if path is None or not _went_on(run, path):
        run.judge(None)
    while not run.ended():
        run.judge(run.learn(on_step))
        if path is not None:
            run.save(path)
        if on_epoch is not None:
            on_epoch(run.seed, run.history[-1])


def _went_on(run: Run, path: Path) -> bool:
    """Whether there was something to go on from; what another version left behind is nothing."""
    try:
        run.load(path)
    except (FileNotFoundError, Conflict):
        return False
    return True


def _scaled(night: Night, arm: str, run: Run, report: dict[str, Any]) -> TrainedArm:
    """The heads at the scale that does best of those that forget nothing, and better than what is live."""
    problem, plan = night.problem, night.plan
    run.network.load_state_dict(run.best)
    heads, items = run.network.eval().frozen()
    live = merit(problem, night.held, night.live, problem.production)
    tried = []
    best, found = None, live.ndcg
    for gamma in sorted({*GAMMAS}):
        of_items = None if items is None else _items_at(items, gamma)
        scaled = _at(heads, gamma, pictures=night.pictures)
        vectors = through(problem, of_items)
        gallery = night.live if of_items is None else Gallery(vectors, night.live.products)
        reached, kept = merit(problem, night.held, gallery, scaled), night.memory.kept(vectors, scaled)
        tried.append({"gamma": gamma, "validation": reached.to_json(), "retention": asdict(kept)})
        if gamma and kept.least >= plan.least_retention and reached.ndcg > found:
            best, found = (gamma, scaled, of_items), reached.ndcg
    report |= {"live": live.to_json(), "scales": tried[::-1], "merit": found, "scale": run.network.scale.item()}
    if best is None:
        why = "No scale of what was learned is better than what is live and forgets nothing."
        return replace(_untouched(problem, arm, report | {"why": why}), history=tuple(run.history))
    gamma, scaled, of_items = best
    return TrainedArm(arm, scaled, of_items, gamma, tuple(run.history), report)


def _at(heads: QueryHeads, gamma: float, *, pictures: bool) -> QueryHeads:
    """Scaled; the head of pictures only where it was trained: what is merely carried along stays as it is."""
    text, image = (None if head is None else head.scaled(gamma) for head in (heads.text, heads.image))
    return QueryHeads(text, image if pictures else heads.image)


def _items_at(heads: ItemHeads, gamma: float) -> ItemHeads:
    return ItemHeads(*(None if head is None else head.scaled(gamma) for head in (heads.image, heads.caption)))


def _untouched(problem: Problem, arm: str, report: dict[str, Any]) -> TrainedArm:
    """What is live already."""
    return TrainedArm(arm, problem.production, None, 0.0, (), report)
