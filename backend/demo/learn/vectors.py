"""What an index build holds, read whole from the stored features: the demo's products are few enough."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.ml.heads import ItemHeads
from backend.ml.scoring import Side

# each caption and each ready picture of a product that is sold, as the index has them
_ROWS = {
    "image": text("""
        SELECT i.product, f.vector FROM product_images i
        JOIN features f ON f.encoder_id = :encoder AND f.kind = 'image' AND f.subject = i.content_hash
        JOIN products p ON p.number = i.product AND p.deleted_at IS NULL
        WHERE i.state = 'ready' ORDER BY i.id
    """),
    "caption": text("""
        SELECT c.product, f.vector FROM captions c
        JOIN features f ON f.encoder_id = :encoder AND f.kind = 'text' AND f.subject = c.text_hash
        JOIN products p ON p.number = c.product AND p.deleted_at IS NULL
        WHERE c.error IS NULL ORDER BY c.id
    """),
}
_PRODUCTS = text("SELECT number, id FROM products WHERE deleted_at IS NULL ORDER BY number")


@dataclass(frozen=True)
class Gallery:
    """Everything that is sold, before any head.

    Args:
        numbers: (p,) numbers of the products, ascending.
        ids: (p,) their ids.
        images: raw rows of pictures.
        captions: raw rows of captions.
    """

    numbers: NDArray[np.int64]
    ids: tuple[str, ...]
    images: Side
    captions: Side

    def through(self, heads: ItemHeads) -> "Gallery":
        """As a build with these heads holds it."""
        if heads.image is None and heads.caption is None:
            return self
        return Gallery(
            self.numbers,
            self.ids,
            Side(heads.adapt("image", self.images.vectors), self.images.products),
            Side(heads.adapt("caption", self.captions.vectors), self.captions.products),
        )


def read_gallery(session: Session, encoder_id: str, dim: int) -> Gallery:
    """The gallery of one encoder, whose vectors have ``dim`` numbers."""
    sold = session.execute(_PRODUCTS).all()
    sides = {}
    for kind, query in _ROWS.items():
        rows = session.execute(query, {"encoder": encoder_id}).all()
        vectors = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f4").reshape(len(rows), dim)
        sides[kind] = Side(vectors.astype(np.float32), np.array([row.product for row in rows], dtype=np.int64))
    numbers = np.array([row.number for row in sold], dtype=np.int64)
    return Gallery(numbers, tuple(row.id for row in sold), sides["image"], sides["caption"])
