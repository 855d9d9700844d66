"""The folder of one stack: its lock, logs, pid files, and what tells other commands where its stores are."""

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from backend.errors import AppError

FREE_BYTES = 2**30
"""Free space that a start asks for: databases and indexes break when the disk fills."""
LOG_BYTES = 10 * 2**20
"""A log longer than this is put aside when its program starts; the four before it are kept."""
LOGS_KEPT = 4


class StackError(AppError):
    """The stack cannot start or go on; the sentence says what to do."""

    title = "The stack cannot run"


class Home:
    """Everything one stack keeps on disk. ``MORELIKE_HOME`` names it."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.run = self.root / "run"
        self.logs = self.root / "logs"

    @property
    def stack_file(self) -> Path:
        """Where a running stack says how its stores are reached (mode 0600: it holds a password)."""
        return self.run / "stack.json"

    def prepare(self) -> None:
        """Make the folders and see that they can be written and that there is room.

        Raises:
            StackError: they cannot, or there is not.
        """
        try:
            for folder in (self.root, self.run, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            self.run.chmod(0o700)
            probe = self.run / "probe"
            probe.write_text("x" * 4096)
            probe.unlink()
        except OSError as error:
            raise StackError(
                f"The data directory {self.root} cannot be written ({error.strerror}): make it a folder that this user "
                "may write, or name another one in MORELIKE_HOME."
            ) from error
        free = shutil.disk_usage(self.root).free
        if free < FREE_BYTES:
            raise StackError(
                f"The disk of {self.root} is nearly full: free some space, or name a folder on another disk in "
                "MORELIKE_HOME.",
                found=f"{free / 2**20:.0f} MiB free",
                expected=f"{FREE_BYTES / 2**20:.0f} MiB",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold this home; the lock goes with the process, however that ends.

        Raises:
            StackError: another stack holds it.
        """
        with (self.run / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                known = self.known()
                where = f" as process {known['pid']}, at {known['url']}" if known else ""
                raise StackError(
                    f"A stack runs on {self.root} already{where}. Stop it with Ctrl-C, or start this one on another "
                    "folder and port: MORELIKE_HOME=.morelike-2 MORELIKE_PORT=8001."
                ) from error
            yield

    def is_running(self) -> bool:
        """Whether a stack holds this home."""
        try:
            with (self.run / "lock").open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def known(self) -> dict[str, Any]:
        """What the stack wrote into ``stack_file``; empty when it wrote nothing."""
        try:
            found = json.loads(self.stack_file.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def tell(self, known: dict[str, Any]) -> None:
        """Write ``stack_file``, whole or not at all."""
        write_private(self.stack_file, json.dumps(known, indent=1))

    def log_of(self, name: str) -> Path:
        """The log of ``name``, put aside first when it has grown long."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES:
            for number in range(LOGS_KEPT, 1, -1):
                older = path.with_suffix(f".log.{number - 1}")
                if older.exists():
                    older.replace(path.with_suffix(f".log.{number}"))
            path.replace(path.with_suffix(".log.1"))
        return path

    def tail_of(self, name: str, lines: int = 12) -> str:
        """The last lines of the log of ``name``."""
        try:
            text = (self.logs / f"{name}.log").read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def remember(self, name: str, pid: int) -> None:
        """Note that ``pid`` is our ``name``; its start time tells it from a later process of that number."""
        with suppress(psutil.NoSuchProcess):
            began = psutil.Process(pid).create_time()
            write_private(self.run / f"{name}.pid", json.dumps({"pid": pid, "began": began}))

    def forget(self, name: str) -> None:
        """``name`` has ended."""
        (self.run / f"{name}.pid").unlink(missing_ok=True)

    def stop_leftovers(self) -> list[str]:
        """Stop what a killed stack of this home left running, and name it. Call it with the lock held."""
        found = {file: _leftover(file) for file in sorted(self.run.glob("*.pid"))}
        left = [process for process in found.values() if process is not None]
        end(left)
        for process in left:  # each led a group of its own
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        for file in found:
            file.unlink(missing_ok=True)
        return [file.stem for file, process in found.items() if process is not None]


def end(processes: list[psutil.Process], *, patience_s: float = 10.0) -> None:
    """Stop ``processes``: interrupt, which all our programs take as a clean stop, then kill."""
    left = processes
    for sent in (signal.SIGINT, signal.SIGKILL):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(sent)
        _, left = psutil.wait_procs(left, timeout=patience_s)


def write_private(path: Path, text: str) -> None:
    """Write ``text`` for this user's eyes only; a reader sees the old file or the new one, never a part."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _leftover(file: Path) -> psutil.Process | None:
    try:
        noted = json.loads(file.read_text())
        process = psutil.Process(int(noted["pid"]))
        is_ours = abs(process.create_time() - float(noted["began"])) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process if is_ours else None
