"""The tasks: thin, safe to run twice, and told nothing but their name."""

import threading
import time
from typing import Any

from celery import Task, shared_task
from structlog.contextvars import bound_contextvars

from backend.db import session_scope
from backend.generations.calibrate import recalibrate_when_outgrown
from backend.generations.due import anything_due
from backend.logs import get_logger
from backend.queue import INGEST_DUE, SWEEP
from workers.components import components
from workers.exclusive import Exclusive

log = get_logger(__name__)

stopping = threading.Event()
"""Set while the worker shuts down."""

_ingesting = Exclusive()  # the encoder is used by one thread at a time


@shared_task(name=INGEST_DUE, bind=True)
def ingest_due(self: "Task[Any, Any]") -> None:
    """Fetch, embed and index whatever is due."""
    made = components()

    def ingest() -> None:
        made.queue.begun(INGEST_DUE)
        began = time.monotonic()
        report = made.ingest.run_due(stopping.is_set)
        if report.progressed:
            log.info("ingested", seconds=round(time.monotonic() - began, 2), **vars(report))

    with bound_contextvars(task=INGEST_DUE, task_id=self.request.id):
        _ingesting.run(ingest)


@shared_task(name=SWEEP, bind=True)
def sweep(self: "Task[Any, Any]") -> None:
    """Nudge for forgotten work; with none left, keep the calibration up with the catalogue."""
    made = components()
    with bound_contextvars(task=SWEEP, task_id=self.request.id):
        made.restore_index()
        with session_scope(made.sessions) as session:
            if anything_due(session):
                log.info("work_found")
                made.queue.nudge(INGEST_DUE)
            else:
                recalibrate_when_outgrown(session, actor=SWEEP)
