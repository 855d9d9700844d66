"""A task runs once at a time in its process; what is asked for meanwhile is done behind it, once."""

import threading
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
