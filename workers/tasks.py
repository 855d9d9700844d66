"""The tasks: thin, safe to run twice, and told nothing but their name."""

import threading
import time
from datetime import UTC, datetime
from typing import Any

from celery import Task, shared_task
from structlog.contextvars import bound_contextvars

from backend.catalog.captioning.repository import anything_to_caption
from backend.catalog.webhooks.repository import any_due, forget_old
from backend.db import session_scope
from backend.events.attribution import attribute_pending
from backend.events.behaviour import forget_old_marks, mark_programs
from backend.events.judging import OLDEST
from backend.events.partitions import keep_partitions
from backend.events.recording import forget_old_ids
from backend.events.refusals import forget_old_refusals
from backend.events.unit_keys import renew_unit_keys
from backend.experiments.forgetting import forget_units_of
from backend.experiments.pins import pin_holdout
from backend.generations.calibrate import recalibrate_when_outgrown
from backend.generations.due import images_due, products_due
from backend.generations.repository import live_build, writable_builds
from backend.generations.retire import follow_live, work_on_builds
from backend.learning.watching import watch
from backend.logs import get_logger
from backend.privacy.retention import forget_erased_units, forget_pictures
from backend.queue import ADVANCE_BUILDS, CAPTION_DUE, INGEST_DUE, NIGHTLY, PROCESS_DELIVERIES, RECONCILE, SWEEP
from workers.components import Components, components
from workers.exclusive import Exclusive, Seldom
from workers.nights import nights_due, work_on_nights
from workers.reconciling import reconcile as reconcile_with_shop
from workers.reconciling import reconcile_is_due

log = get_logger(__name__)

stopping = threading.Event()
"""Set while the worker shuts down."""

_advancing = Exclusive()
_ingesting = Exclusive()  # the encoder is used by one thread at a time
_captioning = Exclusive()
_applying = Exclusive()
_reconciling = Exclusive()
_learning = Exclusive()
_judging = Seldom(300)
_dropping = Seldom(600)  # what an update left in the default partitions is read for it
_forgetting = Seldom(24 * 3600)


@shared_task(name=INGEST_DUE, bind=True)
def ingest_due(self: "Task[Any, Any]") -> None:
    """Fetch, embed and index whatever is due."""
    made = components()

    def ingest() -> None:
        made.queue.begun(INGEST_DUE)
        began = time.monotonic()
        report = made.ingest().run_due(stopping.is_set)
        if report.progressed:
            log.info("ingested", seconds=round(time.monotonic() - began, 2), **vars(report))
            made.queue.nudge(ADVANCE_BUILDS)

    with bound_contextvars(task=INGEST_DUE, task_id=self.request.id):
        _ingesting.run(ingest)


@shared_task(name=CAPTION_DUE, bind=True)
def caption_due(self: "Task[Any, Any]") -> None:
    """Ask the captioner about whatever pictures are due."""
    made = components()

    def caption() -> None:
        made.queue.begun(CAPTION_DUE)
        began = time.monotonic()
        if (captioning := made.captioning) is None:
            return
        report = captioning.run_due(stopping.is_set)
        if report.progressed:
            log.info("captioned", seconds=round(time.monotonic() - began, 2), **vars(report))

    with bound_contextvars(task=CAPTION_DUE, task_id=self.request.id):
        _captioning.run(caption)


@shared_task(name=PROCESS_DELIVERIES, bind=True)
def process_deliveries(self: "Task[Any, Any]") -> None:
    """Apply the deliveries of webhooks that are due."""
    made = components()

    def apply() -> None:
        made.queue.begun(PROCESS_DELIVERIES)
        if counts := made.applier.run_due(stopping.is_set):
            log.info("deliveries_applied", **counts)

    with bound_contextvars(task=PROCESS_DELIVERIES, task_id=self.request.id):
        _applying.run(apply)


@shared_task(name=ADVANCE_BUILDS, bind=True)
def advance_builds(self: "Task[Any, Any]") -> None:
    """Make the index build that was asked for, fill those beside the live one, remove what was dropped."""
    made = components()

    def advance() -> None:
        made.queue.begun(ADVANCE_BUILDS)
        made.builder.advance(stopping.is_set)
        made.let_go()

    with bound_contextvars(task=ADVANCE_BUILDS, task_id=self.request.id):
        _advancing.run(advance)


@shared_task(name=RECONCILE, bind=True)
def reconcile(self: "Task[Any, Any]") -> None:
    """Compare the shop's list with the catalogue, where its hour has come."""
    made = components()

    def compare() -> None:
        made.queue.begun(RECONCILE)
        if reconcile_is_due(made):
            reconcile_with_shop(made, stopping)

    with bound_contextvars(task=RECONCILE, task_id=self.request.id):
        _reconciling.run(compare)


@shared_task(name=NIGHTLY, bind=True)
def nightly(self: "Task[Any, Any]") -> None:
    """Learn from what shoppers did, where the hour has come, somebody asks for it, or a night was left half-way."""
    made = components()

    def learn() -> None:
        made.queue.begun(NIGHTLY)
        if nights_due(made):
            work_on_nights(made, stopping)

    with bound_contextvars(task=NIGHTLY, task_id=self.request.id):
        _learning.run(learn)


def _look_after_events(made: Components) -> None:
    """Join those that waited for their lists; make the days to come, and drop those that are over with their keys."""
    days = made.settings.event_retention_days
    with session_scope(made.sessions) as session:
        if counts := attribute_pending(session.connection()):
            log.info("events_attributed", **counts)
        forget_units_of(session, renew_unit_keys(session, days))
    keep_partitions(made.sessions, days if _dropping.is_due() else None)


def _look_after_shoppers(made: Components) -> None:
    """Mark programs among them, and forget what outlived the days of its rows."""
    days = made.settings.event_retention_days
    if _judging.is_due():
        with session_scope(made.sessions) as session:
            mark_programs(session, datetime.now(UTC))
            forget_old_marks(session, days)
    if _forgetting.is_due():
        with session_scope(made.sessions) as session:
            forget_erased_units(session, days)
            forget_pictures(session, days)
            forget_old_refusals(session)


@shared_task(name=SWEEP, bind=True)
def sweep(self: "Task[Any, Any]") -> None:
    """Nudge for forgotten work; with none left, keep the calibration up with the catalogue."""
    made = components()
    with bound_contextvars(task=SWEEP, task_id=self.request.id):
        with session_scope(made.sessions) as session:
            pin_holdout(session, made.settings.holdout_share)
            forget_old(session, made.settings.webhook_retention_days)
            forget_old_ids(session, OLDEST.days + 1)  # older events are refused, whether they came before or not
            if any_due(session):
                made.queue.nudge(PROCESS_DELIVERIES)
        if reconcile_is_due(made):
            made.queue.nudge(RECONCILE)
        if nights_due(made):
            made.queue.nudge(NIGHTLY)
        _look_after_events(made)
        made.restore_index()
        follow_live(made.sessions, made.index)
        with session_scope(made.sessions) as session:
            live = live_build(session)
            builds = writable_builds(session)
            due = {build.encoder_id for build in builds if products_due(session, build)}
            if images_due(session) or (live is not None and live.encoder_id in due):
                log.info("work_found")
                made.queue.nudge(INGEST_DUE)
            else:
                recalibrate_when_outgrown(session, actor=SWEEP)
            if due - {live.encoder_id if live else None} or work_on_builds(session, made.builder.window):
                made.queue.nudge(ADVANCE_BUILDS)
        _look_after_shoppers(made)
        watch(made.sessions, made.settings)
        captioning = made.captioning
        with session_scope(made.sessions) as session:
            if captioning is not None and anything_to_caption(session, captioning.plan):
                made.queue.nudge(CAPTION_DUE)
