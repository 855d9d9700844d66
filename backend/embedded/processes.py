"""Worker, beat and API as programs of the supervisor."""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

from pydantic import AliasChoices, SecretStr

from backend.embedded.home import Home
from backend.embedded.supervisor import Program
from backend.queue import EMBED_QUEUE, TRAIN_QUEUE
from backend.settings import Settings

CELERY = (sys.executable, "-m", "celery", "-A")
WORKER_THREADS = "7"
"""As many as there are kinds of tasks: a long ingest holds up no webhook."""
READY_S = 600.0
"""A first start may download the weights of an encoder."""


def environment(settings: Settings) -> dict[str, str]:
    """The variables in which a child reads ``settings`` back."""
    given = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if value is None:
            continue
        aliases = field.validation_alias
        variable = aliases.choices[0] if isinstance(aliases, AliasChoices) else f"MORELIKE_{name.upper()}"
        given[str(variable)] = _written(value)
    return given


def _written(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, frozenset | tuple):
        return json.dumps(sorted(value) if isinstance(value, frozenset) else value)
    return str(value.resolve()) if isinstance(value, Path) else str(value)


def worker(settings: Settings) -> Program:
    """Downloads, embeds and indexes, and all other tasks: each of them once at a time (``workers/exclusive.py``)."""
    queues = f"{EMBED_QUEUE},{TRAIN_QUEUE}"
    run = ("worker", "--pool", "threads", "--concurrency", WORKER_THREADS, "--queues", queues)
    return Program(
        name="worker",
        command=(
            *CELERY,
            "workers.app",
            *run,
            "--loglevel",
            settings.log_level,
            "--without-gossip",
            "--without-mingle",
        ),
        environment=environment(settings),
        is_ready=lambda: True,  # the API waits for what it makes
        stop_s=8,  # what it had in hand is due again at the next start
    )


def beat(settings: Settings, home: Home) -> Program:
    """Sends the sweeps that find forgotten work."""
    schedule = home.run / "beat-schedule"

    def forget() -> None:  # sweeps need no memory, and a file that was cut short would only be in the way
        for file in home.run.glob(f"{schedule.name}*"):
            file.unlink()

    run = ("beat", "--schedule", str(schedule), "--pidfile", "", "--loglevel", settings.log_level)
    return Program(
        name="beat",
        command=(*CELERY, "workers.beat", *run),
        environment=environment(settings),
        is_ready=lambda: True,
        before=forget,
        stop_s=3,
    )


def api(settings: Settings) -> Program:
    """Answers HTTP; ready when a search would work."""
    serve = ("-m", "uvicorn", "--factory", "backend.main:create_app", "--host", settings.host)
    run = ("--port", str(settings.port), "--no-access-log", "--log-level", settings.log_level)
    return Program(
        name="api",
        command=(sys.executable, *serve, *run, "--timeout-graceful-shutdown", "5"),
        environment=environment(settings),
        is_ready=lambda: responds(f"{url_of(settings)}/readyz"),
        ready_s=READY_S,
        stop_s=8,
    )


def url_of(settings: Settings) -> str:
    """Address of the API for this machine."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  read here, not listened on
    host = anywhere.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def responds(url: str) -> bool:
    """Whether ``url`` answers 200."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
