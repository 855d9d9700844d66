"""Whether catalogue and index agree, row by row: what PostgreSQL says should be there against what Milvus holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from backend.catalog.models import Product
from backend.generations.index_content import Content, read_contents
from backend.generations.models import IndexRow
from backend.generations.repository import Build, lock_index
from backend.vector_index import VectorIndex, VectorRow

_CHUNK = 1000


@dataclass
class AuditReport:
    """What was compared and what disagrees. Products by their number, rows by their key (a key names its collection).

    Args:
        products: products of the catalogue that are not deleted.
        rows: rows that both collections should hold.
        unwritten: products the build has no record of.
        stale: products whose record has another revision.
        wrong_keys: products whose record names other rows than they have.
        unremoved: deleted products, or ones that never were, that are still recorded.
        missing_rows: rows that Milvus lacks.
        extra_rows: rows that Milvus holds and should not.
        wrong_scalars: rows with another product, stock, price or tags.
        wrong_vectors: rows with another vector.
    """

    products: int = 0
    rows: int = 0
    unwritten: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    wrong_keys: list[int] = field(default_factory=list)
    unremoved: list[int] = field(default_factory=list)
    missing_rows: list[int] = field(default_factory=list)
    extra_rows: list[int] = field(default_factory=list)
    wrong_scalars: list[int] = field(default_factory=list)
    wrong_vectors: list[int] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether nothing disagrees."""
        return not any(self.disagreements.values())

    @property
    def disagreements(self) -> dict[str, int]:
        """How many of each kind."""
        lists = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("products", "rows")}
        return {name: len(found) for name, found in lists.items()}


def compare(session: Session, index: VectorIndex, build: Build) -> AuditReport:
    """Compare the catalogue, ``index_rows`` and both collections of ``build``.

    Holds the index lock until ``session`` ends, so that no writer is seen half-way; what is due at the time (a change
    that no worker has taken up) is reported as it is, unwritten or stale.
    """
    lock_index(session)
    report = AuditReport()
    records = {r.product: r for r in session.scalars(_records(build))}
    held = [index.keys(name) for name in build.collections]
    for contents in _contents(session, build):
        for content in contents:
            _compare_record(report, content, records.pop(content.number, None))
        for side, name in enumerate(build.collections):
            rows = {row.key: row for c in contents for row in (c.images, c.captions)[side]}
            report.rows += len(rows)
            _compare_rows(report, rows, index.fetch(name, sorted(held[side] & rows.keys())))
            held[side] -= rows.keys()
    report.unremoved = sorted(records)
    report.extra_rows = sorted(held[0]) + sorted(held[1])
    return report


def compare_some(session: Session, index: VectorIndex, build: Build, numbers: Sequence[int]) -> AuditReport:
    """Compare the products ``numbers`` only, under the index lock; rows of no product are not looked for."""
    lock_index(session)
    report = AuditReport()
    for start in range(0, len(numbers), _CHUNK):
        chunk = numbers[start : start + _CHUNK]
        records = {r.product: r for r in session.scalars(_records(build).where(IndexRow.product.in_(chunk)))}
        contents = [content for content in read_contents(session, build, chunk) if not content.deleted]
        for content in contents:
            _compare_record(report, content, records.pop(content.number, None))
        for side, name in enumerate(build.collections):
            rows = {row.key: row for c in contents for row in (c.images, c.captions)[side]}
            report.rows += len(rows)
            _compare_rows(report, rows, index.fetch(name, sorted(rows)))
    return report


def _records(build: Build) -> Select[IndexRow]:
    return select(IndexRow).where(IndexRow.index_build_id == build.id)


def _contents(session: Session, build: Build) -> Iterator[Sequence[Content]]:
    last = 0
    numbers = select(Product.number).where(Product.deleted_at.is_(None)).order_by(Product.number).limit(_CHUNK)
    while chunk := session.scalars(numbers.where(Product.number > last)).all():
        last = chunk[-1]
        yield [content for content in read_contents(session, build, chunk) if not content.deleted]


def _compare_record(report: AuditReport, content: Content, record: IndexRow | None) -> None:
    report.products += 1
    if record is None:
        report.unwritten.append(content.number)
        return
    if record.revision != content.revision or not content.complete:
        report.stale.append(content.number)
    keys = ({row.key for row in content.images}, {row.key for row in content.captions})
    if (set(record.image_keys), set(record.caption_keys)) != keys:
        report.wrong_keys.append(content.number)


def _compare_rows(report: AuditReport, wanted: dict[int, VectorRow], found: dict[int, VectorRow]) -> None:
    for key, row in wanted.items():
        kept = found.get(key)
        if kept is None:
            report.missing_rows.append(key)
            continue
        if _scalars(kept) != _scalars(row):
            report.wrong_scalars.append(key)
        if not np.allclose(kept.vector, row.vector, atol=1e-6):
            report.wrong_vectors.append(key)


def _scalars(row: VectorRow) -> tuple[int, bool, float | None, frozenset[int]]:
    return row.product, row.in_stock, row.price, frozenset(row.tags)
