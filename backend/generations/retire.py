"""What is left behind by a flip: builds whose time is over are dropped, dropped ones emptied, aliases moved."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.access.audit import record
from backend.db import session_scope
from backend.generations.builds import uses
from backend.generations.models import IndexBuild
from backend.generations.repository import live_build, lock_generations, lock_index
from backend.logs import get_logger
from backend.vector_index import VectorIndex

log = get_logger(__name__)

ALIASES = ("morelike_images", "morelike_captions")
"""Names under which other programs find the collections of the live build."""

_FORGET = text("""
    DELETE FROM index_rows WHERE index_build_id = :build AND product IN (
        SELECT product FROM index_rows WHERE index_build_id = :build LIMIT 10000)
    RETURNING 1
""")


def expire_builds(session: Session, window: timedelta) -> list[int]:
    """Drop the builds that no generation uses any more; their numbers."""
    lock_generations(session)
    kept = uses(session, window)
    # one that was switched to and waits for its flip has a generation; so has every other build that was ever ready
    ready = session.scalars(select(IndexBuild).where(IndexBuild.state == "ready")).all()
    over = [build for build in ready if build.id not in kept]
    for build in over:
        build.state = "dropped"
        record(session, actor="rollback window", action="build.dropped", subject=f"b{build.id}")
        log.info("build_dropped", build=build.id)
    return [build.id for build in over]


def empty_dropped(sessions: sessionmaker[Session], index: VectorIndex) -> None:
    """Remove the collections and the records of dropped and failed builds; features stay, keyed by their encoder."""
    with session_scope(sessions) as session:
        gone = select(IndexBuild).where(IndexBuild.state.in_(("dropped", "failed")), IndexBuild.emptied_at.is_(None))
        left = session.scalars(gone.order_by(IndexBuild.id)).all()
    for build in left:
        with session_scope(sessions) as session:
            lock_index(session)  # whoever writes looks behind this lock whether the build is still written
            for name in (build.image_collection, build.caption_collection):
                index.drop_collection(name)
        while _forgotten(sessions, build.id):
            pass
        with session_scope(sessions) as session:
            session.get_one(IndexBuild, build.id).emptied_at = datetime.now(UTC)
        log.info("build_emptied", build=build.id)


def _forgotten(sessions: sessionmaker[Session], build_id: int) -> bool:
    """Whether some records were removed: a few thousand at a time, so that nobody waits long for this."""
    with session_scope(sessions) as session:
        return bool(session.execute(_FORGET, {"build": build_id}).all())


def follow_live(sessions: sessionmaker[Session], index: VectorIndex) -> None:
    """Point the aliases at the live build's collections. Milvus Lite forgets them when it restarts."""
    with session_scope(sessions) as session:
        live = live_build(session)
        if live is None or all(
            index.alias_target(alias) == name for alias, name in zip(ALIASES, live.collections, strict=True)
        ):
            return
        lock_generations(session)
        live = live_build(session) or live  # it may have changed while we waited
        for alias, name in zip(ALIASES, live.collections, strict=True):
            index.point_alias(alias, name)
    log.info("aliases_moved", build=live.id)


def work_on_builds(session: Session, window: timedelta) -> bool:
    """Whether a build is being made, or one is to be dropped or emptied."""
    wanted = IndexBuild.state == "building"
    wanted |= (IndexBuild.state == "ready") & IndexBuild.promote
    wanted |= IndexBuild.state.in_(("dropped", "failed")) & IndexBuild.emptied_at.is_(None)
    if session.scalar(select(IndexBuild.id).where(wanted).limit(1)) is not None:
        return True
    ready = session.scalars(select(IndexBuild.id).where(IndexBuild.state == "ready")).all()
    return bool(set(ready) - uses(session, window).keys())
