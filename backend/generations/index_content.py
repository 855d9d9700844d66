"""What the index should hold of a product: read from PostgreSQL, the same for the writer and for the audit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.generations.binary_copy import read_rows
from backend.generations.repository import Build
from backend.ml.heads import ItemSide
from backend.vector_index import VectorRow

BUYABLE = ("in_stock", "preorder", "backorder")
"""Availabilities that a filter on stock lets through: the shop takes an order."""


@dataclass(frozen=True)
class Content:
    """One product as the index should hold it; a deleted one has no rows.

    ``complete`` says whether the encoder has seen every ready image and caption; if not, the rest has rows here.
    """

    number: int
    revision: int
    deleted: bool
    complete: bool = True
    images: tuple[VectorRow, ...] = ()
    captions: tuple[VectorRow, ...] = ()


_PRODUCTS = text("""
    SELECT p.number, p.revision, p.deleted_at IS NOT NULL AS deleted, p.availability, p.price, p.tags
    FROM products p WHERE p.number = ANY(:numbers) ORDER BY p.number
""")

# scalar subqueries for the reason given in due.py
_ROWS = {
    "image": """
        SELECT c.id, c.product, (
            SELECT f.vector FROM features f
            WHERE f.encoder_id = %(encoder)s AND f.kind = 'image' AND f.subject = c.content_hash), (
            SELECT true FROM refusals f
            WHERE f.encoder_id = %(encoder)s AND f.kind = 'image' AND f.subject = c.content_hash)
        FROM product_images c WHERE c.product = ANY(%(numbers)s::bigint[]) AND c.state = 'ready' ORDER BY c.id
    """,
    "caption": """
        SELECT c.id, c.product, (
            SELECT f.vector FROM features f
            WHERE f.encoder_id = %(encoder)s AND f.kind = 'text' AND f.subject = c.text_hash), (
            SELECT true FROM refusals f
            WHERE f.encoder_id = %(encoder)s AND f.kind = 'text' AND f.subject = c.text_hash)
        FROM captions c WHERE c.product = ANY(%(numbers)s::bigint[]) AND c.error IS NULL ORDER BY c.id
    """,
}


def read_contents(session: Session, build: Build, numbers: Sequence[int]) -> list[Content]:
    """Contents of the products ``numbers``, in ascending order.

    Revisions are read first: a change that commits between the two reads leaves a revision that is too small, so the
    product stays due. The other way round it would be taken for written.
    """
    products = session.execute(_PRODUCTS, {"numbers": list(numbers)}).all()
    present = [row.number for row in products if not row.deleted]
    images = _read_vectors(session, build, "image", present)
    captions = _read_vectors(session, build, "caption", present)
    return [_content(row, images.get(row.number, []), captions.get(row.number, [])) for row in products]


Keyed = Sequence[tuple[int, NDArray[np.float32] | None]]
"""Row keys with their vectors; None where the encoder has not looked yet."""


def _content(row: Any, images: Keyed, captions: Keyed) -> Content:
    if row.deleted:
        return Content(row.number, row.revision, deleted=True)
    tags = tuple(row.tags)
    price = None if row.price is None else float(row.price)
    in_stock = row.availability in BUYABLE

    def rows(keyed: Keyed) -> tuple[VectorRow, ...]:
        return tuple(
            VectorRow(key=key, product=row.number, vector=vector, in_stock=in_stock, price=price, tags=tags)
            for key, vector in keyed
            if vector is not None
        )

    return Content(
        row.number,
        row.revision,
        deleted=False,
        complete=all(vector is not None for _, vector in (*images, *captions)),
        images=rows(images),
        captions=rows(captions),
    )


def _read_vectors(
    session: Session, build: Build, side: ItemSide, numbers: Sequence[int]
) -> dict[int, list[tuple[int, NDArray[np.float32] | None]]]:
    """Row key and vector, as the index holds it, of each image or caption; by product."""
    found: list[tuple[int, int, bytes | None]] = []
    for sent_key, sent_product, vector, refused in read_rows(
        session, _ROWS[side], {"encoder": build.encoder_id, "numbers": list(numbers)}
    ):
        # what this encoder refused has no row here, and is not waited for
        if vector is not None or refused is None:
            found.append((_number(sent_key), _number(sent_product), vector))
    raw = np.frombuffer(b"".join(vector for _, _, vector in found if vector is not None), dtype="<f4")
    vectors = iter(build.heads.adapt(side, raw.reshape(-1, build.dim)))
    by_product: dict[int, list[tuple[int, NDArray[np.float32] | None]]] = {}
    for key, product, vector in found:
        by_product.setdefault(product, []).append((key, None if vector is None else next(vectors)))
    return by_product


def _number(sent: bytes | None) -> int:
    """A bigint as PostgreSQL sends it; the columns asked for here are never null."""
    return int.from_bytes(sent or b"", "big", signed=True)
