"""The products that are learned about: those on sale that the encoder has seen or read."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

MOST_CATEGORIES = 200
"""Categories that are told apart, the largest ones; the rest are one."""

OTHER = "other"


@dataclass(frozen=True)
class Shelf:
    """p products.

    Args:
        products: (p,) numbers, ascending.
        category: (p,) place of each one's category, the first of its path, in ``categories``.
        categories: their names; the first stands for all that have none or a rare one.
    """

    products: NDArray[np.int64]
    category: NDArray[np.int16]
    categories: tuple[str, ...]

    def places(self, numbers: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """(n,) place of each of ``numbers`` in ``products``; -1 where it is none of them."""
        if not len(self.products):
            return np.full(len(numbers), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.products, numbers), len(self.products) - 1)
        return np.where(self.products[at] == numbers, at, -1)


def read_shelf(session: Session, encoder_id: str) -> Shelf:
    """The products of which ``encoder_id`` has made something."""
    rows = session.execute(_PRODUCTS, {"encoder": encoder_id}).all()
    names = [row.category or OTHER for row in rows]
    largest = sorted(Counter(names).items(), key=lambda one: (-one[1], one[0]))
    categories = (OTHER, *[name for name, _ in largest if name != OTHER][:MOST_CATEGORIES])
    place = {name: at for at, name in enumerate(categories)}
    return Shelf(
        np.array([row.number for row in rows], dtype=np.int64),
        np.array([place.get(name, 0) for name in names], dtype=np.int16),
        categories,
    )


_PRODUCTS = text(
    """
    SELECT p.number, p.category[1] AS category FROM products p
    WHERE p.deleted_at IS NULL AND (
      EXISTS (SELECT FROM product_images i JOIN features f ON f.subject = i.content_hash
              WHERE i.product = p.number AND i.state = 'ready' AND f.kind = 'image' AND f.encoder_id = :encoder)
      OR EXISTS (SELECT FROM captions c JOIN features f ON f.subject = c.text_hash
                 WHERE c.product = p.number AND c.error IS NULL AND f.kind = 'text' AND f.encoder_id = :encoder))
    ORDER BY p.number
    """
)
