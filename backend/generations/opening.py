"""The first step of a build with another encoder: it is opened and recorded, or the build is given up."""

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.errors import AppError
from backend.generations.build_state import at_step, fail
from backend.generations.encoders import OpenEncoders, register_encoder
from backend.generations.models import IndexBuild
from backend.generations.repository import WRITABLE_STATES, lock_generations

MOST_OPENINGS = 4
"""Times that an encoder is opened without the worker living to see it: it is too large for this machine."""


def open_encoder_of(sessions: sessionmaker[Session], encoders: OpenEncoders, build: IndexBuild) -> None:
    """Open the encoder that ``build`` was asked for with; its collections are made next."""
    if not _may_open(sessions, build):
        return
    try:
        encoder = encoders.open(build.source or "")
    except (AppError, ValueError) as error:  # weights that are damaged are a ValueError
        said = f"{error.detail} Found: {error.found}" if isinstance(error, AppError) else str(error)
        fail(sessions, build, said)
        return
    with session_scope(sessions) as session:
        lock_generations(session)
        row = at_step(session, build)
        if row is None:
            return
        register_encoder(session, encoder)
        same = select(IndexBuild.id).where(IndexBuild.encoder_id == encoder.id, IndexBuild.item_heads.is_(None))
        holder = session.scalars(same.where(IndexBuild.state.in_(WRITABLE_STATES))).first()
        if holder is None:
            row.encoder_id, row.step = encoder.id, "create"
            row.report = {}
            return
    fail(sessions, build, f"Index build {holder} holds what this encoder makes: promote a generation of it instead.")


def _may_open(sessions: sessionmaker[Session], build: IndexBuild) -> bool:
    """Count an opening before it is tried: an encoder that is too large takes the worker down with it."""
    with session_scope(sessions) as session:
        row = at_step(session, build)
        if row is None:
            return False
        openings = int(row.report.get("openings", 0)) + 1
        row.report = {"openings": openings}
    if openings > MOST_OPENINGS:
        fail(
            sessions,
            build,
            f"The worker ended {MOST_OPENINGS} times while it opened this encoder: too little memory?",
        )
        return False
    return True
