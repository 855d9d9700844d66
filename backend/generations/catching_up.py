"""How far a build is behind the live one."""

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.due import count_behind, products_due
from backend.generations.models import IndexBuild
from backend.generations.repository import get_build, live_build

NEARLY = 0.001
"""Share of products that counts as a few."""

_LIVE_ROWS = text(
    "SELECT count(*) FROM index_rows r JOIN generations g ON g.state = 'live' AND r.index_build_id = g.index_build_id"
)


def caught_up(sessions: sessionmaker[Session], build: IndexBuild) -> bool:
    """Whether the build holds nearly everything that the live one does, as it is."""
    with session_scope(sessions) as session:
        live = live_build(session)
        if live is None:
            return not products_due(session, get_build(session, build.id))
        return count_behind(session, build.id, live.id) <= a_few(session)


def a_few(session: Session) -> float:
    """Products that are few beside those that the live build holds."""
    return NEARLY * (session.scalar(_LIVE_ROWS) or 0)
