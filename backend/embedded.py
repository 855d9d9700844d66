"""The one-machine stack: PostgreSQL, Redis, Milvus Lite, worker, beat and API as children of one supervisor."""

import json
from pathlib import Path

from backend.errors import Unavailable
from backend.settings import Settings

STORES = ("database_url", "redis_url", "milvus_uri")


class StackNotRunning(Unavailable):
    """No stack runs on this home and the stores are not all named."""


def stack_file(settings: Settings) -> Path:
    """Where a running stack of this home says how its stores are reached (mode 0600)."""
    return settings.home.absolute() / "run" / "stack.json"


def settings_of_running(settings: Settings) -> Settings:
    """``settings`` with the stores filled in from the stack that runs on this home, where they are not named.

    Raises:
        StackNotRunning: a store is not named and no stack runs on this home.
    """
    missing = [name for name in STORES if getattr(settings, name) is None]
    if not missing:
        return settings
    try:
        known = json.loads(stack_file(settings).read_text())
    except FileNotFoundError as error:
        names = ", ".join(name.upper() for name in missing)
        raise StackNotRunning(
            f"No stack runs on {settings.home.absolute()}. Start it with `morelike run`, or set {names}."
        ) from error
    return settings.model_copy(update={name: known[name] for name in missing})


def run_stack(settings: Settings) -> None:
    """Start the stack and stay until Ctrl-C or SIGTERM."""
    raise StackNotRunning(f"The stack of {settings.home} cannot be started yet.")
