"""Vectors of the products that a turn is about, from the features PostgreSQL keeps.

Collections hold raw features passed through the build's item heads, and so are these: what is shown and judged is
compared, mixed and explained where the index compares it.

What was read once is remembered. PostgreSQL is asked every time which pictures and captions a product has, by their
hashes, and for the vectors of those products only that are not remembered with the very same ones: of what a refinement
reads, vectors are by far the most.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine

from backend.generations.serving import Serving
from backend.ml.feedback.inputs import Items, Matrix, Query, Vector
from backend.ml.scoring import Ints
from backend.prepared import Prepared, prepared
from backend.search.refinement.tokens import Subjects

REMEMBERED = 4096
"""Products whose vectors stay in the process: 25 MB at three vectors of 512 numbers each."""

_HELD = """
    SELECT p.id, p.number,
           ARRAY(SELECT i.content_hash FROM product_images i WHERE i.product = p.number AND i.state = 'ready'
                 ORDER BY i.position, i.id) AS pictures,
           ARRAY(SELECT c.text_hash FROM captions c WHERE c.product = p.number ORDER BY c.id) AS sentences
    FROM products p WHERE"""
"""What products have, deleted and sold-out ones too: what was liked or disliked still says something."""

_BY_ID = prepared(f"{_HELD} p.id = ANY(CAST(:product_ids AS text[]))")
_BY_NUMBER = prepared(f"{_HELD} p.number = ANY(CAST(:numbers AS bigint[]))")

_VECTORS = prepared("""
    SELECT p.number, image.vectors AS images, image.subjects AS pictures,
           caption.vectors AS captions, caption.subjects AS sentences
    FROM products p
    CROSS JOIN LATERAL (
      SELECT coalesce(string_agg(f.vector, '' ORDER BY i.position, i.id), '') AS vectors,
             coalesce(array_agg(f.subject ORDER BY i.position, i.id), '{}') AS subjects
      FROM product_images i
      JOIN features f ON f.encoder_id = :encoder_id AND f.kind = 'image' AND f.subject = i.content_hash
      WHERE i.product = p.number AND i.state = 'ready') AS image
    CROSS JOIN LATERAL (
      SELECT coalesce(string_agg(f.vector, '' ORDER BY c.id), '') AS vectors,
             coalesce(array_agg(f.subject ORDER BY c.id), '{}') AS subjects
      FROM captions c
      JOIN features f ON f.encoder_id = :encoder_id AND f.kind = 'text' AND f.subject = c.text_hash
      WHERE c.product = p.number) AS caption
    WHERE p.number = ANY(CAST(:numbers AS bigint[]))
""")


@dataclass(frozen=True)
class ProductVectors:
    """What is known of a product.

    Args:
        number: its name in the index.
        images: (n, d) unit vectors of its pictures, as the index holds them.
        captions: (m, d) likewise of its captions.
        pictures: content hash of each picture.
        sentences: hash of each caption.
    """

    number: int
    images: Matrix
    captions: Matrix
    pictures: Sequence[str]
    sentences: Sequence[str]


@dataclass(frozen=True)
class Standing:
    """What stands for a product in a turn: the vectors (d,) of a picture and of a caption, NaN where it has none."""

    image: Vector
    caption: Vector
    subjects: Subjects


class ItemVectors:
    """Looks products' vectors up. Safe to share between threads.

    Args:
        engine: PostgreSQL, for statements that are a transaction each.
        remembered: of how many products.
    """

    def __init__(self, engine: Engine, remembered: int = REMEMBERED) -> None:
        self._engine = engine
        self._remembered = remembered
        self._lock = threading.Lock()
        self._near: OrderedDict[tuple[int, int], ProductVectors] = OrderedDict()

    def of(self, serving: Serving, product_ids: Sequence[str]) -> dict[str, ProductVectors]:
        """Those of ``product_ids`` that the catalogue knows or knew, by id."""
        return self._found(serving, _BY_ID, {"product_ids": list(product_ids)}) if product_ids else {}

    def numbered(self, serving: Serving, numbers: Ints) -> dict[str, ProductVectors]:
        """The products of ``numbers`` that the catalogue knows or knew, by id."""
        return self._found(serving, _BY_NUMBER, {"numbers": numbers.tolist()}) if len(numbers) else {}

    def by_number(self, serving: Serving, numbers: Ints) -> dict[int, ProductVectors]:
        """The same products by number."""
        return {found.number: found for found in self.numbered(serving, numbers).values()}

    def _found(self, serving: Serving, held: Prepared, wanted: dict[str, Any]) -> dict[str, ProductVectors]:
        with self._engine.connect() as connection:
            rows = held.rows(connection, wanted)
            with self._lock:
                near = {row.number: self._near.get((serving.build_id, row.number)) for row in rows}
            known = {
                row.number: one
                for row in rows
                if (one := near[row.number]) and (one.pictures, one.sentences) == (row.pictures, row.sentences)
            }
            missing = [number for number in near if number not in known]
            known |= self._read(connection, serving, missing) if missing else {}
        self._remember(serving, known)
        return {row.id: known[row.number] for row in rows if row.number in known}

    def _read(self, connection: Connection, serving: Serving, numbers: list[int]) -> dict[int, ProductVectors]:
        rows = _VECTORS.rows(connection, {"encoder_id": serving.encoder_id, "numbers": numbers})
        heads = serving.item_heads
        images = heads.adapt_each("image", [_stored(row.images, serving.dim) for row in rows])
        captions = heads.adapt_each("caption", [_stored(row.captions, serving.dim) for row in rows])
        return {
            # copied: a view would keep what it was cut from
            row.number: ProductVectors(row.number, pictured.copy(), said.copy(), row.pictures, row.sentences)
            for row, pictured, said in zip(rows, images, captions, strict=True)
        }

    def _remember(self, serving: Serving, known: Mapping[int, ProductVectors]) -> None:
        with self._lock:
            for number, one in known.items():
                self._near[serving.build_id, number] = one
                self._near.move_to_end((serving.build_id, number))
            while len(self._near) > self._remembered:
                self._near.popitem(last=False)


def standing(product: ProductVectors, query: Query, picture: str | None = None) -> Standing:
    """The picture and the caption of ``product`` that answer ``query`` best; ``picture`` where it is one of them."""
    seen = product.pictures.index(picture) if picture in product.pictures else _nearest(product.images, query.image)
    read = _nearest(product.captions, query.caption)
    nothing = np.full(len(query.image), np.nan, dtype=np.float32)
    return Standing(
        nothing if seen is None else product.images[seen],
        nothing if read is None else product.captions[read],
        Subjects(
            None if seen is None else product.pictures[seen],
            None if read is None else product.sentences[read],
        ),
    )


def items(standings: Sequence[Standing], grades: Sequence[float], dim: int) -> Items:
    """Products as feedback sees them."""
    return Items(
        images=_rows([one.image for one in standings], dim),
        captions=_rows([one.caption for one in standings], dim),
        grades=np.asarray(grades, dtype=np.float64),
    )


def _nearest(side: Matrix, query: Vector) -> int | None:
    """Row of ``side`` (n, d) nearest to ``query``; None where there is none."""
    return int(np.argmax(side @ query)) if len(side) else None


def _stored(data: bytes, dim: int) -> Matrix:
    """Raw vectors (n, d), one behind the other in ``data``."""
    return np.frombuffer(data, dtype="<f4").reshape(-1, dim)


def _rows(vectors: list[Vector], dim: int) -> Matrix:
    return np.stack(vectors) if vectors else np.empty((0, dim), dtype=np.float32)
