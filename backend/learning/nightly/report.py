"""The last step: the night is written down."""

from backend.access.audit import record
from backend.db import session_scope
from backend.learning.nightly.night import Night
from backend.learning.nightly.runs import end_night, end_step, locked_night, steps_of
from backend.learning.nightly.work import Made


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
        details = {"outcome": run.outcome, "generation": run.generation_id and f"g{run.generation_id}"}
        record(session, actor=run.actor, action="night.ended", subject=f"n{run.id}", details=details)
        end_step(session, run.id, "report", {"outcome": run.outcome})
        session.flush()
        end_night(session, run.id, state="done")
    return Made({"outcome": run.outcome})
