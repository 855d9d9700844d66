"""Vectors of the products that a turn is about, from the features PostgreSQL keeps, in one round trip.

Collections hold raw features passed through the build's item heads, which are the identity in every build so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine

from backend.generations.serving import Serving
from backend.ml.feedback.inputs import Items, Matrix, Query, Vector
from backend.prepared import prepared

# a product that was deleted or sold out since still says what was liked or disliked
_VECTORS = prepared(
    """
    SELECT p.id, p.number,
      ARRAY(SELECT f.vector FROM product_images i JOIN features f ON f.subject = i.content_hash
            WHERE i.product = p.number AND i.state = 'ready' AND f.kind = 'image' AND f.encoder_id = :encoder_id
            ORDER BY i.position) AS images,
      ARRAY(SELECT f.vector FROM captions c JOIN features f ON f.subject = c.text_hash
            WHERE c.product = p.number AND f.kind = 'text' AND f.encoder_id = :encoder_id
            ORDER BY c.id) AS captions
    FROM products p WHERE p.id = ANY(CAST(:product_ids AS text[]))
    """
)


@dataclass(frozen=True)
class ProductVectors:
    """A product's number, and unit vectors of its pictures (n, d) and captions (m, d)."""

    number: int
    images: Matrix
    captions: Matrix


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
        wanted = {"encoder_id": serving.encoder_id, "product_ids": list(product_ids)}
        with self._engine.connect() as connection:
            rows = _VECTORS.rows(connection, wanted)
        return {
            row.id: ProductVectors(row.number, _stacked(row.images, serving.dim), _stacked(row.captions, serving.dim))
            for row in rows
        }


def items(products: Sequence[ProductVectors], grades: Sequence[float], query: Query, dim: int) -> Items:
    """``products`` as feedback sees them: of each the picture and the caption that answer ``query`` best."""
    return Items(
        images=_rows([_best(product.images, query.image) for product in products], dim),
        captions=_rows([_best(product.captions, query.caption) for product in products], dim),
        grades=np.asarray(grades, dtype=np.float64),
    )


def _best(side: Matrix, query: Vector) -> Vector:
    """The row of ``side`` (n, d) nearest to ``query``; NaN where there is none."""
    if not len(side):
        return np.full(len(query), np.nan, dtype=np.float32)
    return np.asarray(side[int(np.argmax(side @ query))], dtype=np.float32)


def _rows(vectors: list[Vector], dim: int) -> Matrix:
    return np.stack(vectors) if vectors else np.empty((0, dim), dtype=np.float32)


def _stacked(stored: Sequence[bytes], dim: int) -> Matrix:
    return np.frombuffer(b"".join(bytes(vector) for vector in stored), dtype="<f4").reshape(-1, dim)
