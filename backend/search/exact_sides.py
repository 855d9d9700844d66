"""Exact cosines of a few products, from the features PostgreSQL keeps: cheaper than asking the index again.

Collections hold raw features passed through the build's item heads, and so are these.
"""

from collections.abc import Callable

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.serving import Serving
from backend.ml.scoring import Ints, SideHits
from backend.search.query_vectors import QueryVectors, Vector

_ROWS = text(
    """
    SELECT true AS is_image, i.product, f.vector FROM product_images i
    JOIN features f ON f.encoder_id = :encoder_id AND f.kind = 'image' AND f.subject = i.content_hash
    WHERE i.product = ANY(CAST(:images AS bigint[])) AND i.state = 'ready'
    UNION ALL
    SELECT false, c.product, f.vector FROM captions c
    JOIN features f ON f.encoder_id = :encoder_id AND f.kind = 'text' AND f.subject = c.text_hash
    WHERE c.product = ANY(CAST(:captions AS bigint[]))
    """
)


class ExactSides:
    """Scores all rows of products that are named."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions

    def of(
        self, serving: Serving, vectors: QueryVectors, image_products: Ints, caption_products: Ints
    ) -> tuple[SideHits, SideHits]:
        """Every image of ``image_products`` and every caption of ``caption_products``, with its cosine."""
        with session_scope(self._sessions) as session:
            rows = session.execute(
                _ROWS,
                {
                    "encoder_id": serving.encoder_id,
                    "images": image_products.tolist(),
                    "captions": caption_products.tolist(),
                },
            ).all()
        images = [(row.product, row.vector) for row in rows if row.is_image]
        captions = [(row.product, row.vector) for row in rows if not row.is_image]
        heads = serving.item_heads
        return (
            _scored(images, vectors.image, lambda raw: heads.adapt("image", raw)),
            _scored(captions, vectors.caption, lambda raw: heads.adapt("caption", raw)),
        )


def _scored(rows: list[tuple[int, bytes]], query: Vector, adapt: Callable[[Vector], Vector]) -> SideHits:
    products = np.array([product for product, _ in rows], dtype=np.int64)
    if not rows:
        return SideHits(products, np.empty(0))
    stored = np.frombuffer(b"".join(bytes(vector) for _, vector in rows), dtype="<f4").reshape(len(rows), -1)
    return SideHits(products, adapt(stored) @ query[0])
