"""One process works on a night at a time: a lock of a connection of its own, which ends with it however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from backend.errors import Unavailable

NIGHT_LOCK = 0x6D6F726E

_TAKE = text("SELECT pg_try_advisory_lock(:lock)")
_GIVE = text("SELECT pg_advisory_unlock(:lock)")
_HELD = text(
    """
    SELECT EXISTS (SELECT FROM pg_locks
                   WHERE locktype = 'advisory' AND granted AND objsubid = 1
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                     AND classid = 0 AND objid = :lock)
    """
)


class LockLost(Unavailable):
    """PostgreSQL has let go of the connection that a night holds its lock by: another process may be at it by now."""

    title = "The night's lock was lost"


@dataclass(frozen=True)
class Turn:
    """The right to work on nights, as long as its connection lives."""

    connection: Connection

    def check(self) -> None:
        """Make sure that the lock is still ours.

        Raises:
            LockLost: it is not.
        """
        try:
            self.connection.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            raise LockLost("The connection that held the night's lock is gone.", found=str(error)[:200]) from error


@contextmanager
def alone(sessions: sessionmaker[Session]) -> Iterator[Turn | None]:
    """The turn of this process; None where another has it."""
    engine = sessions.kw["bind"]
    if not isinstance(engine, Engine):
        raise TypeError(f"sessions bound to an engine expected, {type(engine).__name__} found")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(_TAKE, {"lock": NIGHT_LOCK}):
            yield None
            return
        try:
            yield Turn(connection)
        finally:
            if not connection.invalidated:
                connection.execute(_GIVE, {"lock": NIGHT_LOCK})


def is_held(session: Session) -> bool:
    """Whether some process works on a night."""
    return bool(session.scalar(_HELD, {"lock": NIGHT_LOCK}))
