"""``morelike health``: what container health checks call. Quick: it loads no torch and opens no store but Redis."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backend.settings import Settings


class Part(StrEnum):
    """A process of a deployment."""

    API = "api"
    WORKER = "worker"
    BEAT = "beat"


def register(app: typer.Typer) -> None:
    """Add ``health`` to ``app``."""
    app.command("health")(health)


def health(part: Annotated[Part, typer.Argument(help="Which process of this machine or container.")]) -> None:
    """Exit code 0 when that process here does its work, 1 when not: for health checks of containers."""
    from backend.settings import Settings

    lack = _CHECKS[part](Settings())
    if lack:
        typer.echo(lack, err=True)
        raise typer.Exit(1)
    typer.echo("ok")


def _api(settings: "Settings") -> str:
    """What is wrong with the API on this machine: a search would not work."""
    from backend.embedded.processes import responds, url_of

    url = f"{url_of(settings)}/readyz"
    return "" if responds(url) else f"{url} does not answer 200"


def _worker(settings: "Settings") -> str:
    """What is wrong with the workers on this host: none answers through the broker."""
    import socket

    from celery import Celery

    host = socket.gethostname()
    broker = Celery(broker=settings.redis_url)
    try:
        with broker.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
            found = broker.control.ping(timeout=5, limit=1, pattern=f"*@{host}", matcher="glob", connection=connection)
    except OSError as error:
        return f"the broker does not answer: {error}"
    return "" if found else f"no worker on {host} answers"


def _beat(settings: "Settings") -> str:
    """What is wrong with the schedule on this machine: it has sent nothing for too long."""
    import time

    from backend.queue import BEAT_SIGN

    patience = max(60.0, 3 * settings.sweep_interval_s)
    try:
        age = time.time() - (settings.home / BEAT_SIGN).stat().st_mtime
    except FileNotFoundError:
        return f"the schedule has sent nothing yet from {settings.home.absolute()}"
    return (
        "" if age < patience else f"the schedule sent something last {age:.0f} s ago; expected {patience:.0f} at most"
    )


_CHECKS: dict[Part, Callable[["Settings"], str]] = {Part.API: _api, Part.WORKER: _worker, Part.BEAT: _beat}
