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
from backend.search.refinement.tokens import Subjects

# a product that was deleted or sold out since still says what was liked or disliked
_VECTORS = prepared(
    """
    SELECT p.id, p.number,
      ARRAY(SELECT f.vector FROM product_images i JOIN features f ON f.subject = i.content_hash
            WHERE i.product = p.number AND i.state = 'ready' AND f.kind = 'image' AND f.encoder_id = :encoder_id
            ORDER BY i.position, i.id) AS images,
      ARRAY(SELECT f.subject FROM product_images i JOIN features f ON f.subject = i.content_hash
            WHERE i.product = p.number AND i.state = 'ready' AND f.kind = 'image' AND f.encoder_id = :encoder_id
            ORDER BY i.position, i.id) AS pictures,
      ARRAY(SELECT f.vector FROM captions c JOIN features f ON f.subject = c.text_hash
            WHERE c.product = p.number AND f.kind = 'text' AND f.encoder_id = :encoder_id
            ORDER BY c.id) AS captions,
      ARRAY(SELECT f.subject FROM captions c JOIN features f ON f.subject = c.text_hash
            WHERE c.product = p.number AND f.kind = 'text' AND f.encoder_id = :encoder_id
            ORDER BY c.id) AS sentences
    FROM products p WHERE p.id = ANY(CAST(:product_ids AS text[]))
    """
)


@dataclass(frozen=True)
class ProductVectors:
    """What is known of a product.

    Args:
        number: its name in the index.
        images: (n, d) unit vectors of its pictures.
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
        wanted = {"encoder_id": serving.encoder_id, "product_ids": list(product_ids)}
        with self._engine.connect() as connection:
            rows = _VECTORS.rows(connection, wanted)
        return {
            row.id: ProductVectors(
                row.number,
                _stacked(row.images, serving.dim),
                _stacked(row.captions, serving.dim),
                row.pictures,
                row.sentences,
            )
            for row in rows
        }


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


def _rows(vectors: list[Vector], dim: int) -> Matrix:
    return np.stack(vectors) if vectors else np.empty((0, dim), dtype=np.float32)


def _stacked(stored: Sequence[bytes], dim: int) -> Matrix:
    return np.frombuffer(b"".join(bytes(vector) for vector in stored), dtype="<f4").reshape(-1, dim)
