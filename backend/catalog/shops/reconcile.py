"""The nightly comparison of a shop's list with the catalogue: what webhooks missed is created, updated, deleted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.feeds.detect import Feed
from backend.catalog.importer import ImportOptions
from backend.catalog.models import ImportRun
from backend.catalog.schemas import short
from backend.catalog.shops.opening import Access, open_shop
from backend.catalog.shops.pull import Pull
from backend.db import session_scope
from backend.errors import AppError, Conflict

RECONCILE_LOCK = 0x6D6F7273
RETRY_AFTER = timedelta(hours=1)
"""Pause between two tries of a night, and how late a first night may begin."""


class AlreadyReconciling(Conflict):
    """Another process compares the shop with the catalogue right now."""

    title = "Already reconciling"


@contextmanager
def comparison(
    sessions: sessionmaker[Session], access: Access, options: ImportOptions
) -> Iterator[tuple[Feed, ImportOptions]]:
    """The shop's list as a feed, and the options with which the importer repairs by it what differs.

    One process at a time compares. That the shop could not be opened is kept as a run.

    Raises:
        AlreadyReconciling: another process is at it.
        AppError: the shop cannot be opened.
    """
    with _alone(sessions):
        began = datetime.now(UTC)
        try:
            shop = open_shop(access)
            feed = Pull(sessions, shop).feed()
        except AppError as error:
            _keep_failure(sessions, access.url, error, began)
            raise
        yield feed, replace(options, mode="reconcile", currency=shop.currency())


@contextmanager
def _alone(sessions: sessionmaker[Session]) -> Iterator[None]:
    engine = sessions.kw["bind"]
    if not isinstance(engine, Engine):
        raise TypeError(f"sessions bound to an engine expected, {type(engine).__name__} found")
    # the lock is the connection's, and ends with the process however that ends
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": RECONCILE_LOCK}):
            raise AlreadyReconciling(
                "The shop is being compared with the catalogue already.", expected="its end: `morelike shop status`"
            )
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": RECONCILE_LOCK})


def _keep_failure(sessions: sessionmaker[Session], source: str, error: AppError, began: datetime) -> None:
    stopped = {"line": None, "id": None, "kind": "stopped", "field": "", "found": short(error.found)}
    with session_scope(sessions) as session:
        session.add(
            ImportRun(
                source=source,
                format="",
                mode="reconcile",
                counts={},
                rejected=[stopped | {"expected": short(error.detail, 1000)}],
                started_at=began,
                finished_at=datetime.now(UTC),
            )
        )


def stopped_by(run: ImportRun) -> str | None:
    """Why ``run`` did not get to its end; nothing where it did, or still runs."""
    return next((str(entry["expected"]) for entry in run.rejected if entry["kind"] == "stopped"), None)


def runs_of_shops(session: Session, limit: int) -> list[ImportRun]:
    """The last readings of shops, the newest first."""
    shops = ImportRun.source.startswith("http")
    return list(session.scalars(select(ImportRun).where(shops).order_by(ImportRun.id.desc()).limit(limit)))


def is_due(session: Session, at: str, now: datetime) -> bool:
    """Whether the comparison of ``at`` (``03:30``, UTC; or ``off``) is to be made ``now``.

    A night that was missed or failed is made up for, one try an hour. The first one waits for its hour.
    """
    if at == "off":
        return False
    night = _night(at, now)
    last = session.scalars(
        select(ImportRun).where(ImportRun.mode == "reconcile").order_by(ImportRun.id.desc()).limit(1)
    ).first()
    if last is None:
        return now - night < RETRY_AFTER
    done = last.started_at >= night and last.finished_at is not None and stopped_by(last) is None
    return not done and now - last.started_at >= RETRY_AFTER


def _night(at: str, now: datetime) -> datetime:
    """The last time at which a clock in UTC showed ``at``."""
    today = datetime.combine(now.astimezone(UTC), time.fromisoformat(at), UTC)
    return today if today <= now else today - timedelta(days=1)
