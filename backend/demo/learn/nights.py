"""The nights behind a play: begun as any other, read from their rows, and their arms from their folder."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.generations.models import Generation
from backend.generations.promote import go_live
from backend.generations.repository import live_generation
from backend.learning.models import NightlyRun, NightlyStep
from backend.learning.nightly.begin import NightAsked, begin_night
from backend.learning.nightly.runs import STEPS
from backend.ml.head_files import load_query_heads
from backend.ml.heads import QueryHeads
from backend.queue import NIGHTLY, Queue
from backend.settings import Settings

ACTOR = "demo"

ENDED = ("done", "failed", "cancelled")
"""States of a night that nobody works on any more."""


def begin(session: Session, settings: Settings, queue: Queue, since: datetime) -> int:
    """Begin a night that learns from what was done since ``since``; its number. It is worked on once this is committed.

    Raises:
        NightRunning: one is under way.
    """
    days = (datetime.now(UTC) - since) / timedelta(days=1)
    run = begin_night(session, settings, NightAsked(actor=ACTOR, item_heads=False, window_days=days))
    queue.nudge_after_commit(session, NIGHTLY)
    return run.id


def serve_again(session: Session, generation_id: int) -> None:
    """Make a generation live, if it is not: a play begins where its first night does."""
    live = live_generation(session)
    if live is not None and live.id != generation_id:
        go_live(session, generation_id, actor=ACTOR)


def running(session: Session) -> int | None:
    """Number of the night that is under way, whoever began it."""
    return session.scalar(select(NightlyRun.id).where(NightlyRun.state == "running"))


def look(session: Session, run_id: int) -> dict[str, Any] | None:
    """How far a night has come, as the page shows it; None where there is no such night."""
    run = session.get(NightlyRun, run_id)
    if run is None:
        return None
    rows = session.scalars(select(NightlyStep).where(NightlyStep.run_id == run_id).order_by(NightlyStep.place)).all()
    return {
        "id": run.id,
        "state": run.state,
        "outcome": run.outcome,
        "sentence": run.reason or run.error or "",
        "generation_id": run.generation_id,
        "steps": [_told(row) for row in rows],
        "verdict": run.report.get("night"),
        "propensities": run.report.get("propensities"),
        "learned": run.report.get("log"),
    }


def waiting_steps() -> list[dict[str, Any]]:
    """The steps of a night that nobody has begun."""
    return [{"name": name, "state": "pending"} for name in STEPS]


def live_id(session: Session) -> int | None:
    """Number of the generation that is live."""
    live = live_generation(session)
    return live.id if live is not None else None


def known(session: Session, generation_ids: set[int]) -> set[int]:
    """Those of some generations that there are: a database may be younger than a diary."""
    return set(session.scalars(select(Generation.id).where(Generation.id.in_(generation_ids))))


def arms(home: Path, run_id: int, encoder_id: str) -> dict[str, QueryHeads]:
    """Query heads of each arm of a night, by name, as they would have served; none where its folder is elsewhere."""
    folder = home.absolute() / "nights" / str(run_id) / "arms"
    return {
        path.stem: load_query_heads(path.read_bytes(), encoder_id)
        for path in sorted(folder.glob("*.safetensors"))
        if "." not in path.stem
    }


def _told(row: NightlyStep) -> dict[str, Any]:
    ended = row.ended_at or datetime.now(UTC)
    seconds = (ended - row.started_at).total_seconds() if row.started_at else None
    return {"name": row.name, "state": row.state, "progress": row.progress, "result": row.result, "seconds": seconds}
