"""The schedule: ``celery -A workers.beat beat``. It sends names, so it loads no task, no encoder and no torch."""

from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import after_task_publish, beat_init

from backend.logs import configure_logs
from backend.queue import BEAT_SIGN, EMBED_QUEUE, NIGHTLY, SWEEP, TRAIN_QUEUE
from backend.settings import Settings


def create_beat(settings: Settings) -> Celery:
    """The schedule on the broker that ``settings`` name."""
    app = Celery("morelike", broker=settings.redis_url or "redis://")
    app.conf.update(
        broker_connection_retry_on_startup=True,
        beat_schedule={
            "sweep": {
                "task": SWEEP,
                "schedule": settings.sweep_interval_s,
                # sweeps that waited behind a long run are worth nothing
                "options": {"expires": settings.sweep_interval_s, "queue": EMBED_QUEUE},
            },
            **_night(settings.nightly_at),
        },
        beat_schedule_filename=str(settings.home.absolute() / "beat-schedule"),
        timezone="UTC",
    )
    return app


def _night(at: str) -> dict[str, Any]:
    """The night at its time; a sweep finds one that was missed."""
    if at == "off":
        return {}
    hour, minute = at.split(":")
    when = crontab(hour=int(hour), minute=int(minute))
    return {"nightly": {"task": NIGHTLY, "schedule": when, "options": {"expires": 3600, "queue": TRAIN_QUEUE}}}


app = create_beat(Settings())


@beat_init.connect
def prepare(**_: Any) -> None:
    """Set up the log, and the folder that the schedule's memory lies in."""
    settings = Settings()
    configure_logs(settings.log_level, as_json=settings.log_json)
    settings.home.mkdir(parents=True, exist_ok=True)


@after_task_publish.connect
def leave_sign(**_: Any) -> None:
    """Say when something was sent last, for `morelike health beat`."""
    (Settings().home / BEAT_SIGN).touch()
