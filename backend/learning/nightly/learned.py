"""The first three steps of a night: what shoppers did, what they looked at, and what is learned from it."""

from typing import Any

from sqlalchemy import select

from backend.db import session_scope
from backend.learning.click_logs.collect import collect
from backend.learning.models import NightlyRun
from backend.learning.nightly.arms import arms_tonight
from backend.learning.nightly.learning_from import PROPENSITIES, log_of, problem_of, production_of
from backend.learning.nightly.night import LOG, Night
from backend.learning.nightly.work import Made
from backend.ml.click_training.arm_files import described, load_arm, save_arm
from backend.ml.click_training.plan import ClickEpoch, TrainedArm
from backend.ml.click_training.train import train_arm
from backend.ml.clicks.context_propensities import ContextPropensities
from backend.ml.clicks.contexts import ContextOptions, estimate_contexts

FOLDER = "arms"
ARM_LIST = "arms.json"

REMEMBERED = 7
"""Nights before whose propensities this one's are compared with."""


def sessions(night: Night) -> Made:
    """Lists, events and labels of the window as columns."""
    production, row = production_of(night), night.row
    encode = night.works.encoder(production.encoder)
    window = (row.window_from, row.window_to)
    log = collect(night.works.sessions, production.encoder, encode, night.folder / LOG, window, night.told)
    if not len(log.lists.start):
        return Made({"lists": 0}, {"labels": dict(log.notes)}, nothing="No update tonight: nobody has searched yet.")
    shown = {name: log.notes[name] for name in ("lists", "viewed", "clicked", "satisfied", "units")}
    return Made(shown, {"labels": dict(log.notes)})


def propensities(night: Night) -> Made:
    """How likely each place of each layout is looked at."""
    night.told("Propensities", 0, 1)
    options = ContextOptions(seed=night.row.seed)
    found = estimate_contexts(log_of(night), options, past_of(night))
    kept = found.to_json()
    night.write_json(PROPENSITIES, kept)
    result = {"contexts": len(found.contexts), "clicks": round(found.clicks), "trusted": found.trusted}
    return Made(result, {"propensities": kept})


def training(night: Night) -> Made:
    """Every arm of tonight, on the same log."""
    names = arms_tonight(night.row)
    arms = [_trained(night, name) for name in names]
    night.write_json(ARM_LIST, names)
    return Made({arm.name: arm.gamma for arm in arms}, {"arms": {arm.name: described(arm) for arm in arms}})


def past_of(night: Night) -> list[ContextPropensities]:
    """Propensities of the nights before, the oldest first."""
    with session_scope(night.works.sessions) as session:
        before = select(NightlyRun.report["propensities"]).where(
            NightlyRun.id < night.number, NightlyRun.state == "done", NightlyRun.report.has_key("propensities")
        )
        kept = session.scalars(before.order_by(NightlyRun.id.desc()).limit(REMEMBERED)).all()
    return [found for one in reversed(kept) if (found := _as_of_now(one)) is not None]


def _as_of_now(kept: dict[str, Any]) -> ContextPropensities | None:
    """What a night kept; None where another version of this program kept other things."""
    try:
        return ContextPropensities.from_json(kept)
    except (KeyError, TypeError):
        return None


def _trained(night: Night, name: str) -> TrainedArm:
    """The arm, from its files where it was trained before this process was."""
    folder, encoder = night.folder / FOLDER, production_of(night).encoder.id
    kept = load_arm(folder, name, encoder)
    if kept is not None:
        return kept
    passes = ""
    folder.mkdir(parents=True, exist_ok=True)

    def on_epoch(seed: int, epoch: ClickEpoch) -> None:
        nonlocal passes
        passes = f", seed {seed}, pass {epoch.number}"

    arm = train_arm(
        problem_of(night),
        name,
        night.works.plan,
        seed=night.row.seed,
        checkpoint=folder / name,
        on_epoch=on_epoch,
        on_step=lambda done, total: night.told(f"{name}{passes}", done, total),
    )
    save_arm(arm, folder, encoder)
    for left in folder.glob(f"{name}.*.pt"):
        left.unlink()
    return arm
