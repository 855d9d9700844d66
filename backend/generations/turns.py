"""Whose batch is encoded next: the live encoder's go first, those of builds beside it when it has a moment."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_S = 0.05
"""Between two of its batches an import is away for less than this; between two products of a shop there is more."""


class Turns:
    """One batch at a time in this process: two encoders at once would only take the cores from each other.

    Args:
        patience_s: seconds for which a batch of the second kind lets others go first; so it is never starved.
    """

    def __init__(self, patience_s: float = 5.0) -> None:
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._busy = False
        self._overdue = False
        self._first_seen = -math.inf

    @contextmanager
    def first(self) -> Iterator[None]:
        """Wait for the batch that is being encoded, and for no other but one that has waited too long."""
        with self._changed:
            self._first_seen = time.monotonic()
            self._changed.wait_for(lambda: not self._busy and not self._overdue)
            self._busy = True
        try:
            yield
        finally:
            self._first_seen = time.monotonic()
            self._end()

    @contextmanager
    def second(self) -> Iterator[None]:
        """Wait until nobody of the first kind has come for a moment, or until patience is over."""
        until = time.monotonic() + self._patience_s
        with self._changed:
            while self._busy or (time.monotonic() < min(until, self._first_seen + QUIET_S)):
                self._changed.wait(QUIET_S)
                # who encodes without a pause takes the next turn before we wake
                self._overdue = time.monotonic() >= until
            self._busy, self._overdue = True, False
        try:
            yield
        finally:
            self._end()

    def _end(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
