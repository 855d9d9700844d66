"""The Celery application: ``celery -A workers.app worker --pool threads -c 7 -Q embed,train``.

Its schedule is ``workers.beat``.

Messages are nudges. Losing one, or all of them with their broker, costs the time until the next sweep; getting one
twice costs a look at PostgreSQL.
"""

from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutting_down

from backend.logs import configure_logs
from backend.queue import CAPTION_DUE, EMBED_QUEUE, INGEST_DUE, NIGHTLY, PROCESS_DELIVERIES
from backend.settings import Settings
from workers.components import Stores, components
from workers.tasks import stopping

_DAY_S = 86_400


def create_worker(settings: Settings) -> Celery:
    """The application on the broker that ``settings`` name."""
    app = Celery("morelike", broker=settings.redis_url or "redis://", include=["workers.tasks"])
    app.conf.update(
        task_acks_late=True,  # a task whose worker is killed was not done
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        task_default_queue=EMBED_QUEUE,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # a first import may run for hours; sooner than this nobody takes its message for lost
        broker_transport_options={"visibility_timeout": _DAY_S},
        timezone="UTC",
    )
    return app


app = create_worker(Settings())


@worker_init.connect
def prepare(**_: Any) -> None:
    """Check the settings and set up the log, before anything else."""
    settings = Settings()
    configure_logs(settings.log_level, as_json=settings.log_json)
    Stores.of(settings)
    settings.home.mkdir(parents=True, exist_ok=True)


@worker_ready.connect
def take_up(**_: Any) -> None:
    """Begin with what an earlier worker left undone, and have the encoder loaded before the first product comes."""
    components().queue.nudge(INGEST_DUE)
    components().queue.nudge(PROCESS_DELIVERIES)
    components().queue.nudge(CAPTION_DUE)
    components().queue.nudge(NIGHTLY)


@worker_shutting_down.connect
def stop_soon(**_: Any) -> None:
    """Let the running task end behind its batch: what is left is due and is taken up at the next start."""
    stopping.set()
