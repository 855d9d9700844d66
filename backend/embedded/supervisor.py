"""Runs programs as children, starts again those that die, and lets none outlive it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from backend.embedded.home import Home, StackError

POLL_S = 0.1
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 15.0
STEADY_S = 60.0
"""A child that has lived this long is trusted again: its next death is followed by a quick start."""

DEATHS_OF_A_START = 3
"""A start is given up when a child has died this often while another was waited for."""


@dataclass(frozen=True)
class Program:
    """One child: how it is started, known to be ready, and stopped.

    Args:
        name: of its log and pid file.
        command: program and arguments.
        is_ready: whether it does its work; called until it says so.
        environment: added to ours.
        user: whom it runs as, where we are root and it refuses to be.
        stop_signal: makes it stop cleanly, on a stop and when the supervisor is killed.
        stop_s: seconds after which it is killed instead.
        ready_s: seconds it may take to be ready.
        before: called before each start.
        advice: what a person may do when it cannot start.
        is_store: whether the others use it, so that it is stopped after them.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 10.0
    ready_s: float = 60.0
    before: Callable[[], None] = lambda: None
    advice: str = ""
    is_store: bool = False


@dataclass
class Child:
    """A program that is running, or waits for its next start."""

    program: Program
    process: subprocess.Popen[bytes]
    began: float
    deaths: int = 0
    again_at: float | None = None


class Supervisor:
    """Children of this process.

    Use it from the main thread only: to Linux the parent of a process is a thread, and its end the end of the parent.

    Args:
        home: where logs and pid files go.
        say: shows a line to the person at the terminal.
    """

    def __init__(self, home: Home, say: Callable[[str], None]) -> None:
        self._home = home
        self._say = say
        self._children: dict[str, Child] = {}

    def start(self, program: Program) -> None:
        """Start ``program`` and wait until it is ready.

        Raises:
            StackError: it ended, or is not ready in time; with the end of its log.
        """
        child = Child(program, self._spawn(program), time.monotonic())
        self._children[program.name] = child
        while not program.is_ready():
            ended = child.process.poll()
            if ended is not None:
                raise self._failure(program, f"ended with {described(ended)}")
            if time.monotonic() > child.began + program.ready_s:
                raise self._failure(program, f"is not ready after {program.ready_s:.0f} s")
            self.tend(but=program.name)
            for other in self._children.values():
                if other.deaths >= DEATHS_OF_A_START:
                    raise self._failure(other.program, f"ended {other.deaths} times")
            time.sleep(POLL_S)

    def tend(self, *, but: str = "") -> None:
        """Look at every child but one: those that died are started again, after a pause that grows with each death."""
        now = time.monotonic()
        for name, child in self._children.items():
            if name == but:
                continue
            if child.again_at is not None:
                if now >= child.again_at:
                    self._start_again(child)
                continue
            ended = child.process.poll()
            if ended is not None:
                child.deaths = child.deaths + 1 if now - child.began < STEADY_S else 1
                pause = min(FIRST_BACKOFF_S * 2 ** (child.deaths - 1), LONGEST_BACKOFF_S)
                child.again_at = now + pause
                self._say(f"{name} ended with {described(ended)}; it is started again in {pause:.1f} s")

    def _start_again(self, child: Child) -> None:
        try:
            child.process = self._spawn(child.program)
        except (OSError, StackError) as error:  # a full disk, a port taken meanwhile: it may pass
            child.deaths += 1
            pause = min(FIRST_BACKOFF_S * 2 ** (child.deaths - 1), LONGEST_BACKOFF_S)
            child.again_at = time.monotonic() + pause
            self._say(f"{child.program.name} cannot be started ({error}); next try in {pause:.1f} s")
            return
        child.began, child.again_at = time.monotonic(), None

    def complete(self, program: Program) -> int:
        """Run ``program`` to its end on this terminal, tending the others meanwhile; its exit code."""
        child = Child(program, self._spawn(program, on_terminal=True), time.monotonic())
        self._children[program.name] = child  # a stop meanwhile stops it, too
        while child.process.poll() is None:
            self.tend(but=program.name)
            time.sleep(POLL_S)
        del self._children[program.name]
        self._home.forget(program.name)
        return child.process.returncode

    def watch(self) -> None:
        """Tend the children until a signal ends this with an exception."""
        while True:
            self.tend()
            time.sleep(POLL_S)

    def pids(self) -> dict[str, int]:
        """Process of each child."""
        return {name: child.process.pid for name, child in self._children.items()}

    def stop(self) -> None:
        """Stop all children, the stores when nobody uses them any more, and leave no process of theirs."""
        for stores in (False, True):
            self._stop([child for child in self._children.values() if child.program.is_store == stores])
        self._children.clear()

    def _stop(self, children: list[Child]) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                child.process.send_signal(child.program.stop_signal)
        asked = time.monotonic()
        for child in children:
            try:
                child.process.wait(max(0.0, asked + child.program.stop_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._say(f"{child.program.name} does not stop; it is killed")
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)  # the child and whatever it left in its group
            child.process.wait()
            self._home.forget(child.program.name)

    def _spawn(self, program: Program, *, on_terminal: bool = False) -> subprocess.Popen[bytes]:
        program.before()
        leash = [sys.executable, "-S", "-I", str(Path(__file__).with_name("leash.py"))]
        wish = [str(int(program.stop_signal)), str(os.getpid()), program.user]
        # a setting that came from a file is handed on as its variable: given both ways it would be refused
        inherited = {k: v for k, v in os.environ.items() if k.removesuffix("_FILE") not in program.environment}
        with self._home.log_of(program.name).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  our own commands
                [*leash, *wish, *program.command],
                stdin=subprocess.DEVNULL,
                stdout=None if on_terminal else log,
                stderr=None if on_terminal else subprocess.STDOUT,
                env={**inherited, **program.environment},
                start_new_session=True,  # Ctrl-C reaches us alone: we stop them in order
            )
        self._home.remember(program.name, process.pid)
        return process

    def _failure(self, program: Program, how: str) -> StackError:
        tail = self._home.tail_of(program.name)
        words = f" Its log, {self._home.logs / program.name}.log, ends with:\n{tail}" if tail else " It wrote no log."
        return StackError(f"{program.name} {how}. {program.advice}{words}".replace("  ", " "))


def described(status: int) -> str:
    """``-9`` -> ``signal SIGKILL``; ``1`` -> ``exit code 1``."""
    return f"exit code {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
