"""Whether a build that was filled may serve: its counts, a sample of its rows, and its recall against exact search."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.audit import compare_some
from backend.generations.calibrate import sample_products
from backend.generations.index_content import read_contents
from backend.generations.models import IndexRow, Refusal
from backend.generations.repository import Build, lock_index
from backend.ml.heads import ItemSide
from backend.vector_index import VectorIndex

AUDITED = 1000
"""Products compared row by row."""

QUERIES = 200
"""Stored vectors that stand for queries, half of them of captions and half of images."""

DEPTH = 10
"""Hits compared with exact search."""

LEAST_RECALL = 0.95
MOST_REFUSED = 0.01
"""Share of images and captions that an encoder may refuse before it is taken to be unfit for this catalogue."""

_AT_ONCE = 4096
_SAME = 1e-4  # two engines round a cosine differently

Vectors = NDArray[np.float32]


@dataclass
class Side:
    """One collection: rows recorded, rows that Milvus counts, and the share of exact hits that it finds."""

    recorded: int = 0
    counted: int = 0
    recall: float = 1.0


@dataclass
class Verification:
    """What was measured. ``complaints`` say what is wrong; none is fit to serve."""

    images: Side = field(default_factory=Side)
    captions: Side = field(default_factory=Side)
    audited: int = 0
    disagreements: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    complaints: list[str] = field(default_factory=list)
    unfit: bool = False
    wrong: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As a build keeps it."""
        return {key: value for key, value in asdict(self).items() if key not in ("wrong", "unfit")}


def verify(sessions: sessionmaker[Session], index: VectorIndex, build: Build) -> Verification:
    """Measure ``build``. Writers wait while rows are counted and compared, and do not while recall is measured."""
    found = Verification()
    with session_scope(sessions) as session:
        lock_index(session)
        _count(session, index, build, found)
        _compare(session, index, build, found)
    with session_scope(sessions) as session:
        queries = _queries(session, build)
        sides: tuple[tuple[Side, ItemSide], ...] = ((found.images, "image"), (found.captions, "caption"))
        for (side, kind), name in zip(sides, build.collections, strict=True):
            side.recall = _recall(session, index, build, name, kind, queries)
            if side.recall < LEAST_RECALL:
                found.complaints.append(f"recall of {name} is {side.recall:.3f}; expected {LEAST_RECALL} or more")
    return found


def _count(session: Session, index: VectorIndex, build: Build, found: Verification) -> None:
    keys = (IndexRow.image_keys, IndexRow.caption_keys)
    sums = select(*(func.coalesce(func.sum(func.cardinality(one)), 0) for one in keys))
    recorded = session.execute(sums.where(IndexRow.index_build_id == build.id)).one()
    for side, name, count in zip((found.images, found.captions), build.collections, recorded, strict=True):
        side.recorded, side.counted = int(count), index.count(name)
        if side.recorded != side.counted:
            found.complaints.append(f"{name} holds {side.counted} rows; expected {side.recorded}")
    refusals = select(func.count()).select_from(Refusal).where(Refusal.encoder_id == build.encoder_id)
    found.refused = session.scalar(refusals) or 0
    rows = found.images.recorded + found.captions.recorded
    if found.refused > MOST_REFUSED * (rows + found.refused):
        found.unfit = True
        found.complaints.append(f"the encoder refused {found.refused} of {rows + found.refused} images and captions")


def _compare(session: Session, index: VectorIndex, build: Build, found: Verification) -> None:
    report = compare_some(session, index, build, sample_products(session, build, AUDITED))
    found.audited = report.products
    due = ("stale", "unwritten")  # a change that was made a moment ago; it is still to be written
    found.disagreements = {kind: count for kind, count in report.disagreements.items() if count and kind not in due}
    keys = {*report.missing_rows, *report.wrong_scalars, *report.wrong_vectors}
    stale = set(report.stale)
    if keys:
        owners = text(
            "SELECT product FROM index_rows WHERE index_build_id = :build"
            " AND (image_keys && CAST(:keys AS bigint[]) OR caption_keys && CAST(:keys AS bigint[]))"
        )
        found.wrong = sorted(set(session.scalars(owners, {"build": build.id, "keys": sorted(keys)})) - stale)
    if found.wrong or set(report.wrong_keys) - stale:
        found.wrong = sorted({*found.wrong, *report.wrong_keys} - stale)
        found.complaints.append(f"{len(found.wrong)} of {report.products} products differ: {found.disagreements}")


def _queries(session: Session, build: Build) -> Vectors:
    """(n, d) stored vectors: what shoppers type is like captions, what they upload like images."""
    contents = read_contents(session, build, sample_products(session, build, QUERIES))
    vectors = [content.captions[0].vector for content in contents if content.captions][: QUERIES // 2]
    vectors += [content.images[0].vector for content in contents if content.images][: QUERIES - len(vectors)]
    return np.stack(vectors) if vectors else np.empty((0, build.dim), np.float32)


def _recall(session: Session, index: VectorIndex, build: Build, name: str, kind: ItemSide, queries: Vectors) -> float:
    """Share of the hits of exact search that the collection finds; by score, so that equals are equal."""
    best = np.full((len(queries), DEPTH), -np.inf, dtype=np.float32)
    for vectors in _stored(session, build, kind):
        both = np.concatenate([best, queries @ vectors.T], axis=1)
        best = -np.partition(-both, DEPTH - 1, axis=1)[:, :DEPTH]
    expected = np.isfinite(best).sum()
    if not len(queries) or not expected:
        return 1.0
    worst = np.where(np.isfinite(best), best, np.inf).min(axis=1)
    hits = index.search(name, queries, DEPTH, fresh=True)
    found = sum(sum(hit.score >= least - _SAME for hit in row) for row, least in zip(hits, worst, strict=True))
    return float(min(1.0, found / expected))


_STORED = {
    "image": """
        SELECT f.vector FROM product_images c JOIN products p ON p.number = c.product AND p.deleted_at IS NULL
        JOIN features f ON f.encoder_id = :encoder AND f.kind = 'image' AND f.subject = c.content_hash
        WHERE c.state = 'ready'
    """,
    "caption": """
        SELECT f.vector FROM captions c JOIN products p ON p.number = c.product AND p.deleted_at IS NULL
        JOIN features f ON f.encoder_id = :encoder AND f.kind = 'text' AND f.subject = c.text_hash
        WHERE c.error IS NULL
    """,
}


def _stored(session: Session, build: Build, kind: ItemSide) -> Iterator[Vectors]:
    """All vectors of one side as the index should hold them, some thousand at a time."""
    rows = session.execute(text(_STORED[kind]).execution_options(yield_per=_AT_ONCE), {"encoder": build.encoder_id})
    for chunk in rows.scalars().partitions():
        raw = np.frombuffer(b"".join(bytes(vector) for vector in chunk), dtype="<f4").reshape(-1, build.dim)
        yield build.heads.adapt(kind, raw)
