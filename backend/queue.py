"""Jobs are sent by name, after commit, and are only nudges: a row says what is due and a sweep finds what was lost."""

import threading
from collections.abc import Callable

from celery import Celery
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy import event
from sqlalchemy.orm import Session

from backend.logs import get_logger

log = get_logger(__name__)

INGEST_DUE = "generations.ingest_due"
"""Task that downloads, embeds and indexes whatever rows say is due."""

SWEEP = "generations.sweep"
"""Task that looks for work whose nudge was lost, and for a calibration that the catalogue has outgrown."""

ADVANCE_BUILDS = "generations.advance_builds"
"""Task that makes the index build asked for, keeps those beside the live one filled, and removes what was dropped."""

CAPTION_DUE = "captioning.caption_due"
"""Task that asks the captioner about whatever pictures rows say are due."""

PROCESS_DELIVERIES = "catalog.process_deliveries"
"""Task that applies deliveries of webhooks to the catalogue."""

RECONCILE = "catalog.reconcile"
"""Task that compares the shop's list with the catalogue, and repairs what webhooks missed."""

NIGHTLY = "learning.nightly"
"""Task that begins the night whose time has come, and goes on with one that nobody works on."""

EMBED_QUEUE, TRAIN_QUEUE = "embed", "train"
"""Queues: of what shoppers wait for, and of what runs at night."""

QUEUE_OF: dict[str, str] = {RECONCILE: TRAIN_QUEUE, NIGHTLY: TRAIN_QUEUE}
"""Queue of each task that is not in ``EMBED_QUEUE``."""

BEAT_SIGN = "beat-sent"
"""File in the home of the schedule, touched whenever that has sent something: how old it is tells whether it works."""

NUDGE_EXPIRY_S = 10
"""A nudge that was lost with its broker blocks further ones no longer than this."""


class Queue:
    """Sender of nudges. Several nudges for one task that has not begun are one message."""

    def __init__(self, redis_url: str) -> None:
        # no retry: a shop that writes a product must not wait for a broker that hangs, since a sweep follows anyway
        once = Retry(NoBackoff(), 0)
        self._redis = Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1, retry=once)
        self._celery = Celery(broker=redis_url)
        self._celery.conf.update(
            broker_connection_retry_on_startup=True,
            broker_transport_options={"socket_timeout": 2, "socket_connect_timeout": 2, "max_retries": 1},
        )

    def nudge(self, task: str) -> None:
        """Send ``task`` unless one is already waiting. A broker that is down is logged, not raised: a sweep follows."""
        try:
            if self._redis.set(f"nudge:{task}", 1, nx=True, ex=NUDGE_EXPIRY_S):
                queue = QUEUE_OF.get(task, EMBED_QUEUE)
                self._celery.send_task(task, queue=queue, retry=False, ignore_result=True)
        except Exception as error:  # noqa: BLE001  any broker failure: the row is committed and the sweep will find it
            log.warning("nudge_lost", task=task, error=str(error))

    def has_worker(self, timeout_s: float = 1.0) -> bool | None:
        """Whether a worker answers within ``timeout_s``; None where the broker does not."""
        try:
            return bool(self._celery.control.ping(timeout=timeout_s, limit=1))
        except Exception as error:  # noqa: BLE001  kombu raises what its transport raises
            log.warning("workers_not_asked", error=str(error))
            return None

    def begun(self, task: str) -> None:
        """Called first by the task itself: what is committed from here on needs a nudge of its own."""
        try:
            self._redis.delete(f"nudge:{task}")
        except RedisError as error:
            log.warning("nudge_not_cleared", task=task, error=str(error))

    def nudge_after_commit(self, session: Session, task: str) -> None:
        """Send ``task`` once ``session`` has committed; nothing is sent when it rolls back."""
        if task in session.info.setdefault("nudges", set()):
            return
        session.info["nudges"].add(task)

        def send(committed: Session) -> None:
            committed.info.get("nudges", set()).discard(task)
            self.nudge(task)

        event.listen(session, "after_commit", send, once=True)


class Bell:
    """Nudges for one task from a thread of its own.

    Whoever rings waits neither for Redis nor for the broker, and rings that come together are one nudge. ``before`` is
    called ahead of each; a failure of it is logged.
    """

    REST_S = 0.2
    """Between two nudges: of a burst of rings the first is sent at once, and the rest together."""

    def __init__(self, queue: Queue, task: str, *, before: Callable[[], None] = lambda: None) -> None:
        self._queue = queue
        self._task = task
        self._before = before
        self._rung = threading.Event()
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"bell {task}", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def ring(self) -> None:
        """Let the task be nudged soon."""
        self._rung.set()
        self._awake.set()

    def stop(self) -> None:
        """Send what was rung for, and end."""
        self._stopping.set()
        self._awake.set()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            self._awake.wait()
            self._awake.clear()
            if self._rung.is_set():
                self._rung.clear()
                try:
                    self._before()
                except Exception as error:  # noqa: BLE001  the nudge is due all the same, and the thread lives on
                    log.warning("bell_not_ready", task=self._task, error=str(error).partition("\n")[0])
                self._queue.nudge(self._task)
            if self._stopping.wait(self.REST_S) and not self._rung.is_set():
                return
