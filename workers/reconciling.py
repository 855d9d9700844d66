"""The nightly comparison of the shop with the catalogue, as a worker does it."""

import threading
from datetime import UTC, datetime

from backend.blobs import BlobStore
from backend.catalog.importer import Importer, ImportOptions
from backend.catalog.shops.client import Pause, PullStopped
from backend.catalog.shops.opening import Access
from backend.catalog.shops.reconcile import comparison, is_due
from backend.db import session_scope
from backend.errors import AppError
from backend.generations.repository import live_encoder
from backend.logs import get_logger
from backend.queue import INGEST_DUE
from workers.components import Components

log = get_logger(__name__)


def reconcile_is_due(made: Components) -> bool:
    """Whether a shop is named, and its hour has come."""
    if made.settings.shop_url is None:
        return False
    with session_scope(made.sessions) as session:
        return is_due(session, made.settings.reconcile_at, datetime.now(UTC))


def reconcile(made: Components, stopping: threading.Event) -> None:
    """Compare the shop's list with the catalogue and repair what differs. What went wrong is kept with the run."""
    access = Access.of(made.settings, made.settings.shop_url or "", _pause(stopping))
    with session_scope(made.sessions) as session:
        live = live_encoder(session)
    options = ImportOptions(encoder_drawings_only=live is not None and live.drawings_only)
    try:
        with comparison(made.sessions, access, options) as (feed, repairing):
            done = Importer(
                made.sessions,
                BlobStore(made.settings.blob_dir),
                repairing,
                on_batch=lambda _report: made.queue.nudge(INGEST_DUE),
            ).run(feed)
    except AppError as error:
        log.warning("reconcile_stopped", why=error.detail, found=str(error.found))
        return
    log.info("reconciled", run=done.id, problem=done.problem, **done.counts)


def _pause(stopping: threading.Event) -> Pause:
    def pause(seconds: float) -> None:
        if stopping.wait(seconds):
            raise PullStopped("The worker shuts down; the comparison is made again after the next start.")

    return pause
