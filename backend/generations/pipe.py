"""A bounded queue between two threads that both sides can end."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class PipeBrokenError(Exception):
    """The reader has gone: nothing more is wanted."""


class Pipe(Generic[T]):
    """At most ``size`` things on their way. The writer closes it, the reader may break it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._things: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._broken = False

    def put(self, thing: T) -> None:
        """Hand ``thing`` over; waits while the pipe is full.

        Raises:
            PipeBrokenError: the reader has gone.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._broken or len(self._things) < self._size)
            if self._broken:
                raise PipeBrokenError
            self._things.append(thing)
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will be put; what is in the pipe is still read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def break_off(self) -> None:
        """Nothing more will be read; a waiting writer is released."""
        with self._changed:
            self._broken = True
            self._things.clear()
            self._changed.notify_all()

    def take(self, *, wait: bool = True) -> T | None:
        """The next thing; None where no more will come or, without ``wait``, where none is there now."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._things or self._closed or self._broken)
            if not self._things:
                return None
            thing = self._things.popleft()
            self._changed.notify_all()
            return thing

    def __iter__(self) -> Iterator[T]:
        while (thing := self.take()) is not None:
            yield thing
