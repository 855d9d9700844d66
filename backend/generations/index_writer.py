"""Writing products to the index: under one lock, from what PostgreSQL says then, repaired by writing again.

The steps of :func:`write_due`, and what a crash between them leaves:

1. Take the index lock, then read what is due. Nothing read before the lock is written, so a writer that waited
   writes what is true now.
2. *Intend*: in a transaction of its own, record every row key that the index will or may hold. From here on each key
   that is in a collection stands in ``index_rows``, so none can be left there unnoticed. The revision recorded is -1:
   the product stays due.
3. Upsert into both collections, delete the keys that are gone. Both may be repeated.
4. Record the true revision and keys, and commit: the lock is released with it.

After a crash in 2 or 3 the product is still due and everything is done again.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.due import indexable
from backend.generations.index_content import Content, read_contents
from backend.generations.repository import Build, is_written, lock_index
from backend.vector_index import VectorIndex

UNWRITTEN = -1
"""Revision of a product whose rows were begun and not finished; no product has it, so it stays due."""


@dataclass(frozen=True)
class Written:
    """What one call wrote: products, of which removed, and rows in the collections."""

    products: int = 0
    removed: int = 0
    rows: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(self.products + other.products, self.removed + other.removed, self.rows + other.rows)


@dataclass(frozen=True)
class Held:
    """Row keys that the collections hold, or may hold, of one product."""

    image_keys: frozenset[int] = frozenset()
    caption_keys: frozenset[int] = frozenset()

    def __or__(self, other: "Held") -> "Held":
        return Held(self.image_keys | other.image_keys, self.caption_keys | other.caption_keys)


def write_due(sessions: sessionmaker[Session], index: VectorIndex, build: Build, limit: int) -> Written:
    """Write up to ``limit`` due products of ``build`` whose features are all there; nothing due, nothing written."""
    numbers: list[int] = []
    try:
        with session_scope(sessions) as session:
            lock_index(session)
            if not is_written(session, build):  # it was dropped while we waited, and its collections with it
                return Written()
            numbers = indexable(session, build, limit)
            if not numbers:
                return Written()
            return _write(sessions, session, index, build, numbers)
    except DBAPIError:
        # The lock may have been lost with its connection while rows were on their way, and another writer may have
        # recorded newer ones before these arrived. Whatever was written is due again.
        if numbers:
            with session_scope(sessions) as session:
                mark_unwritten(session, build, numbers)
        raise


def _write(
    sessions: sessionmaker[Session], session: Session, index: VectorIndex, build: Build, numbers: Sequence[int]
) -> Written:
    # a picture that became ready after `indexable` looked waits for the encoder; its product stays due
    contents = [content for content in read_contents(session, build, numbers) if content.complete]
    return write_contents(sessions, session, index, build, contents)


def write_contents(
    sessions: sessionmaker[Session],
    session: Session,
    index: VectorIndex,
    build: Build,
    contents: Sequence[Content],
    *,
    bulk: bool = False,
) -> Written:
    """Steps 2 to 4 for ``contents``, read under the index lock that ``session`` holds; its commit ends the last.

    ``bulk`` says that nobody searches the build yet, as :meth:`VectorIndex.upsert` has it.
    """
    held = _held(session, build, [content.number for content in contents])
    wanted = {content.number: _keys(content) for content in contents}
    with session_scope(sessions) as intent:
        _record(intent, build, [(n, UNWRITTEN, held.get(n, Held()) | wanted[n]) for n in wanted])
    # a connection that broke since then has lost the lock: fail before writing rather than after
    session.execute(text("SELECT 1"))
    rows = _upsert(index, build, contents, held, bulk)
    _delete_gone(index, build, held, wanted)
    _record(session, build, [(c.number, c.revision, wanted[c.number]) for c in contents if not c.deleted])
    removed = [content.number for content in contents if content.deleted]
    _forget(session, build, removed)
    return Written(len(contents), len(removed), rows)


def _keys(content: Content) -> Held:
    return Held(frozenset(row.key for row in content.images), frozenset(row.key for row in content.captions))


def _upsert(index: VectorIndex, build: Build, contents: Sequence[Content], held: dict[int, Held], bulk: bool) -> int:
    # of a product without a record no row is in the collections, so there is none to replace
    known = [content for content in contents if content.number in held]
    new = [content for content in contents if content.number not in held]

    def write(name: str, side: str) -> None:
        if rows := [row for content in known for row in getattr(content, side)]:
            index.upsert(name, rows, bulk=bulk)
        if rows := [row for content in new for row in getattr(content, side)]:
            index.insert(name, rows, bulk=bulk)

    with ThreadPoolExecutor(1, "captions") as beside:
        captions = beside.submit(write, build.caption_collection, "captions")
        write(build.image_collection, "images")
        captions.result()
    return sum(len(content.images) + len(content.captions) for content in contents)


def _delete_gone(index: VectorIndex, build: Build, held: dict[int, Held], wanted: dict[int, Held]) -> None:
    images = [key for n, old in held.items() for key in old.image_keys - wanted[n].image_keys]
    captions = [key for n, old in held.items() for key in old.caption_keys - wanted[n].caption_keys]
    for name, keys in ((build.image_collection, images), (build.caption_collection, captions)):
        if keys:
            index.delete_keys(name, keys)


_HELD = text(
    "SELECT product, image_keys, caption_keys FROM index_rows WHERE index_build_id = :build AND product = ANY(:numbers)"
)

# row keys travel as '1,2,3' because an array of arrays must be rectangular
_RECORD = text("""
    INSERT INTO index_rows (index_build_id, product, revision, image_keys, caption_keys)
    SELECT :build, n, r, string_to_array(i, ',')::bigint[], string_to_array(c, ',')::bigint[]
    FROM unnest(CAST(:numbers AS bigint[]), CAST(:revisions AS bigint[]),
                CAST(:images AS text[]), CAST(:captions AS text[])) AS rows(n, r, i, c)
    ORDER BY n
    ON CONFLICT (index_build_id, product) DO UPDATE
    SET revision = excluded.revision, image_keys = excluded.image_keys, caption_keys = excluded.caption_keys,
        written_at = now()
""")

_FORGET = text("DELETE FROM index_rows WHERE index_build_id = :build AND product = ANY(:numbers)")

_UNWRITE = text("UPDATE index_rows SET revision = :revision WHERE index_build_id = :build AND product = ANY(:numbers)")


def _held(session: Session, build: Build, numbers: Sequence[int]) -> dict[int, Held]:
    rows = session.execute(_HELD, {"build": build.id, "numbers": list(numbers)})
    return {row.product: Held(frozenset(row.image_keys), frozenset(row.caption_keys)) for row in rows}


def _record(session: Session, build: Build, rows: Sequence[tuple[int, int, Held]]) -> None:
    if rows:
        values = {
            "build": build.id,
            "numbers": [number for number, _, _ in rows],
            "revisions": [revision for _, revision, _ in rows],
            "images": [",".join(map(str, sorted(keys.image_keys))) for _, _, keys in rows],
            "captions": [",".join(map(str, sorted(keys.caption_keys))) for _, _, keys in rows],
        }
        session.execute(_RECORD, values)


def _forget(session: Session, build: Build, numbers: Sequence[int]) -> None:
    if numbers:
        session.execute(_FORGET, {"build": build.id, "numbers": list(numbers)})


def mark_unwritten(session: Session, build: Build, numbers: Sequence[int]) -> None:
    """Let ``numbers`` be due again, whatever is recorded of them."""
    session.execute(_UNWRITE, {"build": build.id, "numbers": list(numbers), "revision": UNWRITTEN})
