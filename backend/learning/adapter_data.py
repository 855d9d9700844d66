"""What an adapter learns from a live catalogue: texts and pictures as raw vectors in files, parted by product.

Rows come from PostgreSQL through a server-side cursor and go to files as they come; memory holds a few numbers a row.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.models import EncoderRecord
from backend.learning.pairs_file import LeftOut, PairsFile, Said, products_named
from backend.learning.summarizer_data import LEAST_PRODUCTS, TooLittleToLearn
from backend.ml.pairs import Pairs, Rows, Vectors

Told = Callable[[str, int, int], None]
"""Told what is under way, and how much of how much is done."""

Encode = Callable[[Sequence[str]], Vectors]
"""Texts -> (n, d) unit vectors."""

AT_ONCE = 1000


@dataclass
class VectorFile:
    """Vectors of one width that are written one after the other, and numbers that go with each.

    Args:
        path: where.
        width: d.
    """

    path: Path
    width: int
    products: "array[int]" = field(default_factory=lambda: array("q"))
    marks: "array[int]" = field(default_factory=lambda: array("q"))

    def append(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Add (product, mark, little-endian float32) rows."""
        with self.path.open("ab") as out:
            for product, mark, vector in rows:
                self.products.append(product)
                self.marks.append(mark)
                out.write(vector)

    @property
    def vectors(self) -> Vectors:
        """(n, d), mapped from the file."""
        if not len(self.products):
            return np.empty((0, self.width), np.float32)
        return np.memmap(self.path, dtype="<f4", mode="r", shape=(len(self.products), self.width))

    @property
    def product_of(self) -> Rows:
        """(n,) product of each row."""
        return np.array(self.products, np.int64)

    @property
    def mark_of(self) -> Rows:
        """(n,) mark of each row."""
        return np.array(self.marks, np.int64)


@dataclass(frozen=True)
class Gallery:
    """Everything that is searched, and what the catalogue says of it.

    Args:
        pictures: every picture; marks mean nothing.
        texts: captions of products with a picture, each told of one product only; a mark is a place in ``sources``.
        sources: where captions come from: ``title``, ``description``, ``given``, or a captioner's name.
        shared: captions left out since several products have the same.
        bare: captions left out since their product has no picture.
    """

    pictures: VectorFile
    texts: VectorFile
    sources: tuple[str, ...]
    shared: int
    bare: int

    def pairs(self, texts: VectorFile) -> Pairs:
        """``texts`` paired with the first picture of their products."""
        product_of = self.pictures.product_of  # ascending
        image_of = np.searchsorted(product_of, texts.product_of)
        return Pairs(texts.vectors, self.pictures.vectors, image_of, product_of)


@dataclass(frozen=True)
class LoggedPairs:
    """What a file of pairs came to.

    Args:
        texts: of products of the gallery; a mark is a line of the file.
        left_out: lines that nothing is learned from, in their order.
    """

    texts: VectorFile
    left_out: tuple[LeftOut, ...]


def read_gallery(
    sessions: sessionmaker[Session], encoder: EncoderRecord, directory: Path, most: int, told: Told
) -> Gallery:
    """Copy the raw vectors of up to ``most`` products from the store to files in ``directory``.

    Raises:
        TooLittleToLearn: fewer than 100 products have a picture.
    """
    values = {"encoder": encoder.id, "most": most}
    pictures = VectorFile(directory / "pictures.f32", encoder.dim)
    texts, sources = VectorFile(directory / "texts.f32", encoder.dim), dict[str, int]()
    with session_scope(sessions) as session:
        total = session.scalars(_COUNT, {"most": most}).one()
        for part in _streamed(session, _PICTURES, values):
            pictures.append([(row.product, 0, row.vector) for row in part])
            told("Pictures", len(pictures.products), max(total, len(pictures.products)))
    pictured = np.unique(pictures.product_of)
    if len(pictured) < LEAST_PRODUCTS:
        expected = f"at least {LEAST_PRODUCTS} products with an embedded picture"
        raise TooLittleToLearn("The catalogue is too small to learn from.", found=len(pictured), expected=expected)
    shared = bare = 0
    with session_scope(sessions) as session:
        for part in _streamed(session, _TEXTS, values):
            known = np.isin([row.product for row in part], pictured)
            shared += sum(row.shared for row in part)
            bare += sum(not (row.shared or one) for row, one in zip(part, known, strict=True))
            kept = [row for row, one in zip(part, known, strict=True) if one and not row.shared]
            texts.append([(row.product, sources.setdefault(row.source, len(sources)), row.vector) for row in kept])
            told("Captions", len(texts.products), max(total, len(texts.products)))
    return Gallery(pictures, texts, tuple(sources), shared, bare)


def read_pairs(
    sessions: sessionmaker[Session], gallery: Gallery, file: PairsFile, encode: Encode, directory: Path, told: Told
) -> LoggedPairs:
    """Encode the texts of a file of pairs; lines that name no product with a picture are left out, and listed."""
    texts = VectorFile(directory / "pairs.f32", gallery.pictures.width)
    left_out, pictured = list[LeftOut](), set(gallery.pictures.products)
    for rows in _batches(iter(file)):
        said = [row for row in rows if isinstance(row, Said)]
        left_out += [row for row in rows if isinstance(row, LeftOut)]
        with session_scope(sessions) as session:
            named = products_named(session, list({row.product for row in said}))
        meant = list[tuple[Said, int]]()
        for row in said:
            found = _meant(row, named.get(row.product, set()), pictured)
            if isinstance(found, LeftOut):
                left_out.append(found)
            else:
                meant.append((row, found))
        vectors = [one.astype("<f4").tobytes() for one in encode([row.text for row, _ in meant])] if meant else []
        texts.append([(number, row.line, one) for (row, number), one in zip(meant, vectors, strict=True)])
        told("Pairs", *file.progress)
    return LoggedPairs(texts, tuple(sorted(left_out, key=lambda one: one.line)))


def _meant(row: Said, numbers: set[int], pictured: set[int]) -> int | LeftOut:
    """The product that a row means, if it is one that can be learned from."""
    if not numbers:
        return LeftOut(row.line, f"no product has the id or SKU {row.product[:80]!r}")
    if len(numbers) > 1:
        return LeftOut(row.line, f"{len(numbers)} products have the SKU {row.product[:80]!r}")
    (number,) = numbers
    return number if number in pictured else LeftOut(row.line, f"{row.product[:80]!r} has no embedded picture here")


def _batches(rows: Iterator[Said | LeftOut]) -> Iterator[list[Said | LeftOut]]:
    batch = list[Said | LeftOut]()
    for row in rows:
        batch.append(row)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _streamed(session: Session, query: Any, values: dict[str, Any]) -> Iterator[Sequence[Any]]:
    """Rows of ``query``, so many at a time, through a cursor of the server."""
    result = session.execute(query, values, execution_options={"stream_results": True, "max_row_buffer": AT_ONCE})
    yield from result.partitions(AT_ONCE)


_COUNT = text("SELECT least(count(*), :most) FROM products WHERE deleted_at IS NULL")

# the sample is the same each time: by a hash of the number
_PICTURES = text("""
    SELECT i.product, f.vector FROM product_images i
    JOIN features f ON f.encoder_id = :encoder AND f.kind = 'image' AND f.subject = i.content_hash
    WHERE i.state = 'ready' AND i.product IN (
        SELECT number FROM products WHERE deleted_at IS NULL ORDER BY md5(concat('adapter/', number)) LIMIT :most)
    ORDER BY i.product, i.position, i.id
""")

_TEXTS = text("""
    SELECT c.product, c.source, c.shared, f.vector FROM (
        SELECT id, product, source, text_hash,
            min(product) OVER (PARTITION BY text_hash) <> max(product) OVER (PARTITION BY text_hash) AS shared
        FROM captions WHERE error IS NULL AND product IN (
            SELECT number FROM products WHERE deleted_at IS NULL ORDER BY md5(concat('adapter/', number)) LIMIT :most)
    ) AS c
    JOIN features f ON f.encoder_id = :encoder AND f.kind = 'text' AND f.subject = c.text_hash
    ORDER BY c.product, c.id
""")
