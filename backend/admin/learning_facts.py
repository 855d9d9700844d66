"""What the nights have come to."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.admin.learning_schemas import GateWait, LearningState, NightState
from backend.learning.models import NightlyRun
from backend.settings import Settings


def learning_state(session: Session, settings: Settings) -> LearningState:
    """The last night, the one under way, and what the gates of the last that was judged wait for."""
    newest = select(NightlyRun.id).order_by(NightlyRun.id.desc()).limit(1)
    running = session.scalar(newest.where(NightlyRun.state == "running"))
    waits = select(NightlyRun.report["night"]["waits"]).where(NightlyRun.report["night"]["waits"].is_not(None))
    judged = session.scalar(waits.order_by(NightlyRun.id.desc()).limit(1))
    return LearningState(
        at=settings.nightly_at,
        running=f"n{running}" if running else None,
        last=_last(session),
        waits=[GateWait.model_validate(one) for one in judged or () if one["found"] < one["needed"]],
    )


def _last(session: Session) -> NightState | None:
    fields = (NightlyRun.id, NightlyRun.state, NightlyRun.outcome, NightlyRun.reason, NightlyRun.error)
    ended = select(*fields, NightlyRun.ended_at).where(NightlyRun.state != "running", ~NightlyRun.dry_run)
    row = session.execute(ended.order_by(NightlyRun.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    sentence = row.error if row.state == "failed" and row.error else row.reason
    return NightState(id=f"n{row.id}", state=row.state, outcome=row.outcome, sentence=sentence, ended_at=row.ended_at)
