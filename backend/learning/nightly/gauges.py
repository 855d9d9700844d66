"""Nights as Prometheus sees them: read from their rows whenever the metrics are."""

from prometheus_client import Gauge
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.learning.models import NightlyRun
from backend.learning.nightly.runs import running_night

NIGHTS = Gauge("morelike_nights", "Nights of learning that ended, by what came of them.", ["outcome"])
RUNNING = Gauge("morelike_night_running", "Whether a night of learning is under way.")
ENDED = Gauge("morelike_night_ended_timestamp_seconds", "When the last night ended that was worked through.")
STEPS = Gauge("morelike_night_step_seconds", "How long each step of that night took.", ["step"])


def observe_nights(session: Session) -> None:
    """Set the gauges to what the rows say."""
    came = func.coalesce(NightlyRun.outcome, NightlyRun.state)
    counts = select(came, func.count()).where(NightlyRun.state != "running").group_by(came)
    NIGHTS.clear()  # the last night of an outcome may have come to another since: a trial was won, or rolled back
    for outcome, count in session.execute(counts):
        NIGHTS.labels(outcome).set(count)
    RUNNING.set(running_night(session) is not None)
    told = select(NightlyRun.ended_at, NightlyRun.report["seconds"].label("seconds"))
    last = session.execute(told.where(NightlyRun.state == "done").order_by(NightlyRun.id.desc()).limit(1)).first()
    if last is None or last.ended_at is None:
        return
    ENDED.set(last.ended_at.timestamp())
    STEPS.clear()
    for step, seconds in (last.seconds or {}).items():
        STEPS.labels(step).set(seconds)
