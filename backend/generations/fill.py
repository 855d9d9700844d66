"""Filling a build in bulk: every product that is due for it, in the order of their numbers, from stored features.

:func:`backend.generations.index_writer.write_due` takes the freshest products first, for which it looks through all
that are due each time: right for a change, and quadratic for a catalogue. Here the due products are walked through
once, and the next of them are read while Milvus takes the ones before. The steps and the repair after a crash are the
writer's; what was written is not due, so a filling that was broken off goes on where it stopped. Memory is bounded by
two pages of products, whatever the size of the catalogue.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.due import due_behind
from backend.generations.index_content import Content, read_contents
from backend.generations.index_writer import Written, mark_unwritten, write_contents
from backend.generations.repository import Build, is_written, live_build, lock_index
from backend.vector_index import VectorIndex

PAGE = 1_000
"""Products read and written at a time."""

LITE_PAGE = 256
"""The same on Milvus Lite, which writes some 2,000 rows a second: nobody waits long for the index lock."""

STRETCH_S = 2.0
"""Seconds after which the index lock is given to whoever waits for it."""


@dataclass(frozen=True)
class _Page:
    """Due products behind a number, and the last number looked at; None where there are no more."""

    contents: Sequence[Content]
    last: int | None


def fill_from_features(
    sessions: sessionmaker[Session],
    index: VectorIndex,
    build: Build,
    stop: Callable[[], bool],
    on_progress: Callable[[Written], None] | None = None,
) -> Written:
    """Write every due product of ``build`` whose features are all there; what was written.

    Args:
        sessions: PostgreSQL.
        index: the vector index.
        build: whose collections are filled.
        stop: asked between pages.
        on_progress: told after each stretch what it wrote.
    """
    total, after = Written(), 0
    while not stop():
        written, last = _Stretch(sessions, index, build, stop).write(after)
        total += written
        if on_progress is not None:
            on_progress(written)
        if last is None:
            for name in build.collections if total.rows else ():
                index.flush(name)
            break
        after = last
    return total


class _Stretch:
    """Some pages under one hold of the index lock."""

    def __init__(
        self, sessions: sessionmaker[Session], index: VectorIndex, build: Build, stop: Callable[[], bool]
    ) -> None:
        self._sessions = sessions
        self._index = index
        self._build = build
        self._stop = stop
        self._size = LITE_PAGE if index.is_lite() else PAGE

    def write(self, after: int) -> tuple[Written, int | None]:
        """Write pages behind the number ``after``; what was written, and where the next stretch begins."""
        begun: list[int] = []
        try:
            with session_scope(self._sessions) as session, ThreadPoolExecutor(1, "fill") as reader:
                lock_index(session)
                if not is_written(session, self._build):  # it was dropped, and its collections with it
                    return Written(), None
                return self._pages(session, reader, after, begun)
        except DBAPIError:
            # the lock may have been lost with its connection: whatever was written is due again (see write_due)
            if begun:
                with session_scope(self._sessions) as session:
                    mark_unwritten(session, self._build, begun)
            raise

    def _pages(
        self, session: Session, reader: ThreadPoolExecutor, after: int, begun: list[int]
    ) -> tuple[Written, int | None]:
        until = time.monotonic() + STRETCH_S
        live = live_build(session)
        searched = live is not None and live.id == self._build.id
        total = Written()
        ahead: Future[_Page] = reader.submit(self._read, after)
        while (page := ahead.result()).last is not None:
            goes_on = time.monotonic() < until and not self._stop()
            if goes_on:
                ahead = reader.submit(self._read, page.last)
            begun += [content.number for content in page.contents]
            total += write_contents(self._sessions, session, self._index, self._build, page.contents, bulk=not searched)
            if not goes_on:
                return total, page.last
        return total, None

    def _read(self, after: int) -> _Page:
        with session_scope(self._sessions) as session:
            numbers = due_behind(session, self._build, after, self._size)
            if not numbers:
                return _Page((), None)
            contents = [one for one in read_contents(session, self._build, numbers) if one.complete]
        return _Page(contents, numbers[-1])
