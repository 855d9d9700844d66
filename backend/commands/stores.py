"""The stores of the stack that a command works on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from backend.queue import Queue
    from backend.settings import Settings


@dataclass(frozen=True)
class Stores:
    """PostgreSQL and the broker of a stack, with its settings."""

    settings: "Settings"
    sessions: "sessionmaker[Session]"
    queue: "Queue"


@contextmanager
def opened() -> Iterator[Stores]:
    """The stores of the stack that runs here, or that the environment names; closed with the block."""
    from backend.db import connect, session_factory
    from backend.embedded import settings_of_running
    from backend.queue import Queue
    from backend.settings import Settings

    settings = settings_of_running(Settings())
    engine = connect(settings.database_url or "")
    try:
        yield Stores(settings, session_factory(engine), Queue(settings.redis_url or ""))
    finally:
        engine.dispose()
