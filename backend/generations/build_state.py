"""The state of an index build that is being made: read, and moved on by whoever finds it where it was."""

from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from backend.access.audit import record
from backend.db import session_scope
from backend.generations.models import Generation, IndexBuild
from backend.generations.repository import lock_generations
from backend.logs import get_logger

log = get_logger(__name__)

_MOST = 2000  # letters of a problem that are kept


def at_step(session: Session, build: IndexBuild) -> IndexBuild | None:
    """The row of ``build``, locked until the transaction ends, if it is still at the step that was read with it."""
    row = session.get(IndexBuild, build.id, populate_existing=True, with_for_update=True)
    return row if row is not None and (row.state, row.step) == (build.state, build.step) else None


def is_at_step(sessions: sessionmaker[Session], build: IndexBuild) -> bool:
    """Whether ``build`` is still where it was read."""
    with session_scope(sessions) as session:
        return at_step(session, build) is not None


def move(sessions: sessionmaker[Session], build: IndexBuild, step: str) -> None:
    """Let ``step`` be the next, if the build is still where it was read."""
    with session_scope(sessions) as session:
        row = at_step(session, build)
        if row is not None:
            row.step, row.error = step, None


def note(sessions: sessionmaker[Session], build: IndexBuild, problem: str) -> None:
    """Keep why the step did not end; it is tried again."""
    with session_scope(sessions) as session:
        row = at_step(session, build)
        if row is not None:
            row.error = problem[:_MOST]


def fail(sessions: sessionmaker[Session], build: IndexBuild, problem: str) -> None:
    """Give the build up, and the generations that wait for it; what it holds is removed."""
    with session_scope(sessions) as session:
        lock_generations(session)
        row = session.get_one(IndexBuild, build.id, populate_existing=True)
        if row.state == "building":
            row.state, row.error, row.promote = "failed", problem[:_MOST], False
            waiting = (Generation.index_build_id == build.id) & (Generation.state == "trained")
            session.execute(update(Generation).where(waiting).values(state="failed"))
            record(session, actor=row.actor, action="build.failed", subject=f"b{build.id}")
    log.warning("build_failed", build=build.id, problem=problem)
