"""When a task runs: once at a time in its process, and what is heavy not with every sweep."""

import threading
import time
from collections.abc import Callable


class Exclusive:
    """Runs a body that looks for everything due, in one thread at a time.

    A second call while the body runs returns at once, and the first runs the body again: so a nudge is never lost, and
    no thread of the worker waits for another.
    """

    def __init__(self) -> None:
        self._running = threading.Lock()
        self._asked = threading.Event()

    def run(self, body: Callable[[], None]) -> None:
        """Run ``body``, unless it runs already and will be run again."""
        self._asked.set()
        while self._asked.is_set() and self._running.acquire(blocking=False):
            try:
                self._asked.clear()
                body()
            finally:
                self._running.release()


class Seldom:
    """Lets something through once in ``period_s`` seconds, in this process; the first time at once."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._last = float("-inf")
        self._asking = threading.Lock()

    def is_due(self) -> bool:
        """Whether that time is over; asked again at once, it is not."""
        with self._asking:
            now = time.monotonic()
            due = now - self._last >= self._period_s
            self._last = now if due else self._last
            return due
