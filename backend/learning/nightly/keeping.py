"""What becomes of a verdict: a generation, with an index build where it needs one, and the flip. Two steps."""

import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.db import session_scope
from backend.errors import Conflict
from backend.events.models import Erasure
from backend.generations.adapters import keep_adapter
from backend.generations.builds import progress
from backend.generations.catching_up import a_few
from backend.generations.due import count_behind
from backend.generations.models import Generation, IndexBuild
from backend.generations.promote import go_live
from backend.generations.repository import (
    get_build,
    live_build,
    live_generation,
    lock_generations,
    lock_index,
    ranks_as,
)
from backend.learning.models import NightlyRun
from backend.learning.nightly.night import Night
from backend.learning.nightly.runs import end_step, find_night, locked_night
from backend.learning.nightly.work import Made
from backend.learning.trials import begin_guard, begin_screen
from backend.queue import ADVANCE_BUILDS
from backend.settings import Settings

LOOK_S = 0.5
"""Seconds between two looks at an index build that is being made."""

PATIENT_LOOKS = 20
"""Looks for which a flip waits until the new build holds the very last write of the live one."""


def build(night: Night) -> Made:
    """Keep the chosen arm as a generation, and wait until it could go live."""
    verdict, run = verdict_of(night), night.row
    if verdict["chosen"] in (None, "none"):
        return Made(nothing=verdict["sentence"])
    if run.dry_run:
        return Made(nothing=f"A dry run: nothing was kept. {verdict['sentence']}")
    with session_scope(night.works.sessions) as session:
        row = locked_night(session, night.number)
        if row.generation_id is None:
            row.generation_id = _keep(session, night, row, verdict)
        number = row.generation_id
        night.works.queue.nudge_after_commit(session, ADVANCE_BUILDS)
    state = _waited_for(night, number)
    if state == "rejected" and (verdict["passed"] or verdict["route"] == "screen"):
        return Made({"generation": f"g{number}"}, nothing=f"The index build of g{number} was given up.")
    if state == "rejected":
        return Made({"generation": f"g{number}"}, nothing=verdict["sentence"])
    if state == "failed":
        return Made({"generation": f"g{number}"}, nothing=f"The index build of g{number} failed.")
    return Made({"generation": f"g{number}", "state": state})


def flip(night: Night) -> Made:
    """Let the generation go live, or into a trial; noted as done in the transaction that does it."""
    verdict, looks = verdict_of(night), 0
    while True:
        with session_scope(night.works.sessions) as session:
            lock_generations(session)
            lock_index(session)
            run = locked_night(session, night.number)
            if run.state != "running" or run.outcome is not None:
                return Made()
            _check_waits(session, run)
            behind = _behind(session, run)
            if behind <= (0 if looks < PATIENT_LOOKS else a_few(session)):
                made = _flipped(session, run, verdict, night.works.settings)
                end_step(session, night.number, "flip", made.result)
                night.works.queue.nudge_after_commit(session, ADVANCE_BUILDS)
                return made
        looks += 1
        night.told("Catching up", 0, behind)
        night.works.queue.nudge(ADVANCE_BUILDS)
        time.sleep(LOOK_S)


def verdict_of(night: Night) -> dict[str, Any]:
    """What the gates said; from the row where the artifacts are gone.

    Raises:
        Conflict: they have said nothing.
    """
    if night.has("gates.json"):
        return dict(night.read_json("gates.json"))
    with session_scope(night.works.sessions) as session:
        kept = find_night(session, night.number).report.get("night")
    if kept is None:
        raise Conflict("No update tonight: nothing was judged.")
    return dict(kept)


def _keep(session: Session, night: Night, run: NightlyRun, verdict: dict[str, Any]) -> int:
    """Number of the generation with the heads of the chosen arm."""
    heads = night.folder / "arms"
    production = session.get_one(Generation, run.production_id)
    # the items that it was judged on, whatever is live by now
    unchanged = get_build(session, production.index_build_id).item_heads
    items = heads / f"{verdict['chosen']}.items.safetensors"
    number = keep_adapter(
        session,
        gate="night",
        query_heads=(heads / f"{verdict['chosen']}.safetensors").read_bytes(),
        item_heads=items.read_bytes() if items.exists() else unchanged,
        gate_report=verdict,
        data_range=_learned_from(run, production),
        promote=False,
        actor=f"night n{run.id}",
    )
    # an erasure while this night learned could not name the generation that comes of it
    for erasure in session.scalars(select(Erasure).where(Erasure.at >= run.started_at)):
        erasure.generations = [*erasure.generations, number]
    return number


def _learned_from(run: NightlyRun, production: Generation) -> dict[str, Any]:
    """The times whose rows are in the heads: those of the window, and, carried on, those of what was live."""
    since, until = run.window_from.astimezone(UTC), run.window_to.astimezone(UTC)
    before = production.data_range.get("events", {}).get("from")
    if before is not None and not run.options.get("identity"):
        since = min(since, datetime.fromisoformat(before))
    events = {"from": since.isoformat(), "to": until.isoformat()}
    return {"events": events, "night": f"n{run.id}", "seed": run.seed, "production": f"g{production.id}"}


def _waited_for(night: Night, number: int) -> str:
    """State of the generation once its index build is ready, or will never be."""
    while True:
        with session_scope(night.works.sessions) as session:
            generation = session.get_one(Generation, number)
            if generation.state != "trained":
                return generation.state
            made = session.get_one(IndexBuild, generation.index_build_id)
            done = progress(session, made) if made.encoder_id else None
        night.told(f"Index build: {made.step}", done.products if done else 0, (done.total if done else 0) + 1)
        night.works.queue.nudge(ADVANCE_BUILDS)
        time.sleep(LOOK_S)


def _check_waits(session: Session, run: NightlyRun) -> None:
    """Refuse a generation that somebody has decided about by now: its build dropped, or live and rolled back."""
    found = session.get_one(Generation, run.generation_id, populate_existing=True).state
    if found not in ("ready", "live"):
        said = f"g{run.generation_id} did not go live: somebody has decided about it meanwhile."
        raise Conflict(said, found=found, expected="ready")


def _behind(session: Session, run: NightlyRun) -> int:
    """Products that the generation's build does not hold as the live one does."""
    live, mine = live_build(session), session.get_one(Generation, run.generation_id)
    return 0 if live is None or live.id == mine.index_build_id else count_behind(session, mine.index_build_id, live.id)


def _flipped(session: Session, run: NightlyRun, verdict: dict[str, Any], settings: Settings) -> Made:
    production = session.get_one(Generation, run.production_id)
    live = live_generation(session)
    name = f"g{run.generation_id}"
    if live is None or not ranks_as(live, production):
        now = live and f"g{live.id}"
        run.outcome = "ready"
        run.reason = f"{name} passed and did not go live: it was judged against g{production.id}, and {now} is live."
    elif verdict["route"] == "live":
        go_live(session, int(run.generation_id or 0), actor=f"night n{run.id}")
        run.outcome, run.reason = "promoted", verdict["sentence"]
        begin_guard(session, int(run.generation_id or 0), live.id, share=settings.guard_share)
    elif verdict["route"] == "screen" and begin_screen(
        session, run, int(run.generation_id or 0), share=settings.screen_share
    ):
        run.outcome, run.reason = "screening", verdict["sentence"]
    else:
        run.outcome, run.reason = "ready", verdict["sentence"]
    return Made({"outcome": run.outcome, "generation": name})
