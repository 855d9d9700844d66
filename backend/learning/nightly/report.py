"""The last step: the night is written down, here and where a tracking store is named."""

from collections.abc import Iterator
from typing import Any

from backend.access.audit import record
from backend.db import session_scope
from backend.learning.models import NightlyRun
from backend.learning.nightly.night import Night
from backend.learning.nightly.runs import end_night, end_step, locked_night, steps_of
from backend.learning.nightly.work import Made
from backend.logs import get_logger
from backend.tracking import Tracker, TrackingUnavailable

log = get_logger(__name__)

EXPERIMENT = "morelike-nightly"
"""Experiment of the tracking store in which nights are runs."""


def report(night: Night) -> Made:
    """End the night; its row is its report."""
    with session_scope(night.works.sessions) as session:
        run = locked_night(session, night.number)
        run.outcome = run.outcome or "unchanged"
        seconds = {
            row.name: round((row.ended_at - row.started_at).total_seconds(), 2)
            for row in steps_of(session, run.id)
            if row.started_at and row.ended_at
        }
        run.report = run.report | {"seconds": seconds}
    _track(night, run)
    with session_scope(night.works.sessions) as session:
        details = {"outcome": run.outcome, "generation": run.generation_id and f"g{run.generation_id}"}
        record(session, actor=run.actor, action="night.ended", subject=f"n{run.id}", details=details)
        end_step(session, run.id, "report", {"outcome": run.outcome})
        session.flush()
        end_night(session, run.id, state="done")
    return Made({"outcome": run.outcome})


def _track(night: Night, run: NightlyRun) -> None:
    """Log the night to MLflow, a sink: one that does not answer holds nothing up."""
    uri = night.works.settings.mlflow_uri
    if uri is None:
        return
    parameters = {
        "outcome": run.outcome,
        "reason": run.reason,
        "production": f"g{run.production_id}",
        "generation": run.generation_id and f"g{run.generation_id}",
        "window_from": run.window_from.isoformat(),
        "window_to": run.window_to.isoformat(),
        "seed": run.seed,
        "item_heads": run.item_heads,
        "dry_run": run.dry_run,
    }
    try:
        Tracker(uri, EXPERIMENT).log(f"n{run.id}", parameters, dict(_numbers(run.report)))
    except TrackingUnavailable as error:
        log.warning("night_not_tracked", night=run.id, why=error.sentence())


def _numbers(report: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """What was measured, by name: seconds of each step, each check of each gate, each arm where arms are chosen."""
    verdict = report.get("night", {})
    for name, seconds in report.get("seconds", {}).items():
        yield f"seconds/{name}", seconds
    for gate in verdict.get("gates", []):
        for check in gate["checks"]:
            if check["found"] is not None:
                yield f"{gate['id']}/{check['name']}", float(check["found"])
    for arm in verdict.get("arms", []):
        measured = arm["validation"] | {"gamma": arm["gamma"], "retention": arm["retention"]}
        for name, value in measured.items():
            if value is not None:
                yield f"{arm['name']}/{name}", float(value)
