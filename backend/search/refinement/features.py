"""Vectors of the products that a turn is about, from the features PostgreSQL keeps, in one round trip.

Collections hold raw features passed through the build's item heads, and so are these: what is shown and judged is
compared, mixed and explained where the index compares it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Engine, Row

from backend.generations.serving import Serving
from backend.ml.feedback.inputs import Items, Matrix, Query, Vector
from backend.ml.scoring import Ints
from backend.prepared import Prepared, prepared
from backend.search.refinement.tokens import Subjects

_SELECT = """
    SELECT p.id, p.number, image.vectors AS images, image.subjects AS pictures,
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
    WHERE"""
"""Features of products, deleted and sold-out ones too: what was liked or disliked still says something."""

_BY_ID = prepared(f"{_SELECT} p.id = ANY(CAST(:product_ids AS text[]))")
_BY_NUMBER = prepared(f"{_SELECT} p.number = ANY(CAST(:numbers AS bigint[]))")


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
    """Looks products' vectors up.

    Args:
        engine: PostgreSQL, for statements that are a transaction each.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, serving: Serving, product_ids: Sequence[str]) -> dict[str, ProductVectors]:
        """Those of ``product_ids`` that the catalogue knows or knew, by id."""
        if not product_ids:
            return {}
        return {row.id: found for row, found in self._rows(_BY_ID, serving, {"product_ids": list(product_ids)})}

    def numbered(self, serving: Serving, numbers: Ints) -> dict[str, ProductVectors]:
        """The products of ``numbers`` that the catalogue knows or knew, by id."""
        return {row.id: found for row, found in self._rows(_BY_NUMBER, serving, {"numbers": numbers.tolist()})}

    def by_number(self, serving: Serving, numbers: Ints) -> dict[int, ProductVectors]:
        """The same products by number."""
        return {found.number: found for found in self.numbered(serving, numbers).values()}

    def _rows(
        self, statement: Prepared, serving: Serving, wanted: dict[str, Any]
    ) -> Iterator[tuple[Row[Any], ProductVectors]]:
        with self._engine.connect() as connection:
            rows = statement.rows(connection, {"encoder_id": serving.encoder_id, **wanted})
        heads = serving.item_heads
        images = heads.adapt_each("image", [_stored(row.images, serving.dim) for row in rows])
        captions = heads.adapt_each("caption", [_stored(row.captions, serving.dim) for row in rows])
        for row, pictured, said in zip(rows, images, captions, strict=True):
            yield row, ProductVectors(row.number, pictured, said, row.pictures, row.sentences)


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
