"""PostgreSQL: engine, sessions that commit at the edge, and the base of every table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Declarative base; tables live in the ``models.py`` of their room."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {dict[str, Any]: JSONB, list[Any]: JSONB}


def connect(database_url: str, *, pool_size: int = 5, single_statements: bool = False) -> Engine:
    """Engine on ``database_url``; a connection that died with its server is replaced before use.

    With ``single_statements`` each statement is a transaction of its own, without the round trips of BEGIN and COMMIT.
    """
    url = make_url(database_url)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg2")
    isolation = {"isolation_level": "AUTOCOMMIT"} if single_statements else {}
    return create_engine(url, pool_size=pool_size, max_overflow=4, pool_pre_ping=True, pool_recycle=1800, **isolation)


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Factory of sessions that keep objects readable after commit."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def session_scope(factory: sessionmaker[Session]) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    with factory() as session, session.begin():
        yield session


def commit_asynchronously(session: Session) -> None:
    """Let this transaction's commit return before its log reaches the disk (a crash may lose the last 0.6 s of it)."""
    session.execute(text("SET LOCAL synchronous_commit = off"))
