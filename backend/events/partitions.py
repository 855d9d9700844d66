"""Partitions of a day: made before their day comes, dropped whole when retention is over.

A default partition takes rows of days that have none, so that nothing is refused when nobody made one in time; its
rows move when the partition of their day is made.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.logs import get_logger

DAYS_AHEAD = 3
"""A partition of each day up to this many from today."""

MOST_DELETED = 20_000
"""Rows of the default partition that one call deletes."""

_LOCK = 0x6D6F7061
"""Advisory lock under which one process makes or drops partitions while others wait."""

# whoever must wait for a table keeps everybody behind it waiting, too: rather try again at the next sweep
_PATIENCE = "SET LOCAL lock_timeout = '300ms'"

log = get_logger(__name__)


@dataclass(frozen=True)
class Partitioned:
    """A table that is partitioned by the days of ``day``; ``at`` is the moment that retention counts from."""

    name: str
    day: str
    at: str


TABLES = (
    Partitioned("served_lists", "served_on", "served_at"),
    Partitioned("served_pages", "served_on", "served_at"),
    Partitioned("events", "received_on", "received_at"),
)

_OF_TABLE = text(
    """
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST(:table AS regclass) AND c.relname ~ '_y[0-9]{8}$' ORDER BY c.relname
    """
)


def keep_partitions(sessions: sessionmaker[Session], retention_days: int | None = None) -> None:
    """Make what is missing from today to ``DAYS_AHEAD``; with ``retention_days`` drop days that are over.

    Each partition is a transaction of its own. One whose table somebody reads for long waits until the next call.
    """
    today = datetime.now(UTC).date()
    for table in TABLES:
        with session_scope(sessions) as session:
            found = set(partition_days(session.connection(), table))
        for day in [today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]:
            if day not in found:
                _patiently(sessions, "partition_made", table, day)
        if retention_days is not None:
            first = today - timedelta(days=retention_days)
            for day in sorted(day for day in found if day < first):
                _patiently(sessions, "partition_dropped", table, day)
            with session_scope(sessions) as session:
                delete_from_default(session.connection(), table, first)


def partition_days(connection: Connection, table: Partitioned) -> list[date]:
    """Days that have a partition, in their order."""
    names = connection.scalars(_OF_TABLE, {"table": table.name})
    return [datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).date() for name in names]


def make_partition(connection: Connection, table: Partitioned, day: date) -> int:
    """Make the partition of ``day`` unless it is there; how many rows the default partition had of it.

    Nothing is written to the table until the transaction ends, so that nobody has chosen the default partition for a
    row of that day when the day gets its own; other partitions are read meanwhile.
    """
    _take_turn(connection)
    if day in partition_days(connection, table):
        return 0
    name, rest, values = f"{table.name}_y{day:%Y%m%d}", f"{table.name}_default", {"day": day}
    for statement in (
        f"LOCK TABLE ONLY {table.name} IN SHARE ROW EXCLUSIVE MODE",
        f"LOCK TABLE {rest} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {name} (LIKE {table.name} INCLUDING DEFAULTS)",
    ):
        connection.execute(text(statement))
    moved = connection.execute(
        text(
            f"WITH moved AS (DELETE FROM {rest} WHERE {table.day} = :day RETURNING *)"  # noqa: S608  names from TABLES
            f" INSERT INTO {name} SELECT * FROM moved"
        ),
        values,
    ).rowcount
    attach = f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{day + timedelta(1)}')"
    connection.execute(text(attach))
    return moved


def drop_partition(connection: Connection, table: Partitioned, day: date) -> None:
    """Drop ``day`` with all its rows, where it is there."""
    _take_turn(connection)
    connection.execute(text(f"DROP TABLE IF EXISTS {table.name}_y{day:%Y%m%d}"))


def delete_from_default(connection: Connection, table: Partitioned, first: date, most: int = MOST_DELETED) -> int:
    """Delete up to ``most`` rows of the default partition from before ``first``; how many there were.

    Rows from before days were named lie there under ``LEGACY``: what counts is when they were written.
    """
    rest = f"{table.name}_default"
    statement = (
        f"DELETE FROM {rest} WHERE ctid = ANY(ARRAY("  # noqa: S608  names from TABLES
        f" SELECT ctid FROM {rest} WHERE {table.at} < CAST(:first AS timestamp) AT TIME ZONE 'utc' LIMIT :most))"
    )
    return connection.execute(text(statement), {"first": first, "most": most}).rowcount


def _take_turn(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    connection.execute(text(_PATIENCE))


def _patiently(sessions: sessionmaker[Session], what: str, table: Partitioned, day: date) -> None:
    try:
        with session_scope(sessions) as session:
            if what == "partition_made":
                make_partition(session.connection(), table, day)
            else:
                drop_partition(session.connection(), table, day)
    except OperationalError as error:
        log.warning("partition_busy", table=table.name, day=str(day), error=str(error.orig).strip())
    else:
        log.info(what, table=table.name, day=str(day))
