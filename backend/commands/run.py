"""``morelike run``: the one-machine stack."""

import signal
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from backend.embedded.supervisor import Program
    from backend.settings import Settings

MEMORY_BYTES = 2**30
"""Free memory that a start asks for: the demo's processes take some 1.5 GiB together, shared pages counted once."""


def register(app: typer.Typer) -> None:
    """Add ``run`` to ``app``."""
    app.command("run")(run)


def run() -> None:
    """Start PostgreSQL, Redis, Milvus, the worker and the API on this machine, until Ctrl-C."""
    from backend.embedded.stack import run_stack
    from backend.settings import Settings

    check_machine()
    run_stack(Settings(), prepare=prepare)


def check_machine() -> None:
    """See that this Python and this machine's memory will do.

    Raises:
        StackError: they will not.
    """
    import psutil

    from backend.embedded.home import StackError

    if sys.version_info[:2] not in {(3, 11), (3, 12)}:
        found = ".".join(map(str, sys.version_info[:3]))
        raise StackError("Morelike runs on Python 3.11 and 3.12.", found=found, expected="3.11 or 3.12")
    free = psutil.virtual_memory().available
    if free < MEMORY_BYTES:
        raise StackError(
            "There is too little free memory: end other programs first.",
            found=f"{free / 2**20:.0f} MiB free",
            expected=f"{MEMORY_BYTES / 2**20:.0f} MiB",
        )


def prepare(settings: "Settings") -> "Program | None":
    """What a start does when the stack is ready: the demo shop moves into an empty catalogue."""
    if settings.encoder != "demo":
        return None
    from backend.embedded.processes import environment
    from backend.embedded.supervisor import Program

    return Program(
        name="demo",
        command=(sys.executable, "-m", "backend.cli", "demo", "--if-empty"),
        environment=environment(settings),
        is_ready=lambda: True,
        stop_signal=signal.SIGINT,
        stop_s=3,
        advice="`morelike demo` tries again.",
    )
