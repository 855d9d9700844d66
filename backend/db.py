"""PostgreSQL: engine, sessions that commit at the edge, and the base of every table."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import orjson
from sqlalchemy import MetaData, create_engine, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


PROBE_AFTER_S = 1.0


class Base(DeclarativeBase):
    """Declarative base; tables live in the ``models.py`` of their room."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {dict[str, Any]: JSONB, list[Any]: JSONB}


def connect(database_url: str, *, pool_size: int = 5, single_statements: bool = False) -> Engine:
    """Engine on ``database_url``; a connection that died with its server is replaced before use.

    With ``single_statements`` each statement is a transaction of its own, without the round trips of BEGIN and COMMIT,
    and a connection that was used within the last second is not probed.
    """
    url = make_url(database_url)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg2")
    if not single_statements:
        return create_engine(url, pool_size=pool_size, max_overflow=4, pool_pre_ping=True, pool_recycle=1800)
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=4,
        pool_recycle=1800,
        isolation_level="AUTOCOMMIT",
        pool_use_lifo=True,  # the connection used last has its plans and its pages at hand: half of PostgreSQL's time
        json_deserializer=orjson.loads,
    )
    _ping_when_idle(engine)
    return engine


def _ping_when_idle(engine: Engine) -> None:
    """Probe a connection on its way out of the pool unless it worked a moment ago."""

    @event.listens_for(engine, "checkin")
    def remember(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def probe(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used_at", -math.inf) < PROBE_AFTER_S:
            return
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool replaces it


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
