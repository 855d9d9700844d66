"""Rows, hits and filters of the vector index, and how a row and a filter are written in Milvus's terms.

Tags stand for words (brand, category, attribute values) as signed 64-bit hashes: text never enters an expression.
Milvus Lite evaluates array expressions row by row in Python (168 ms at 10,000 rows) and LIKE on text in Arrow (2 ms),
so Lite holds tags as text between bars, and a server as an array.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import Unprocessable

Vectors = NDArray[np.float32]

MAX_TAGS = 1_024
"""Most tags of one row."""
LARGEST_TAG = 2**63 - 1
"""Tags lie between this and its negative: the expressions of Milvus 2.3 cannot say -2**63."""
NO_PRICE = -1.0
"""Milvus 2.3 has no nulls: the price of a product without one."""


class VectorRejected(Unprocessable):
    """A vector, price or tag list that would spoil the index."""

    title = "Vector not acceptable"


@dataclass(frozen=True)
class VectorRow:
    """One image or caption as the index holds it."""

    key: int
    product: int
    vector: Vectors
    in_stock: bool
    price: float | None
    tags: tuple[int, ...]


@dataclass(frozen=True)
class VectorHit:
    """One row found, with its similarity to the query."""

    key: int
    product: int
    score: float


@dataclass(frozen=True)
class Found:
    """All rows found for one query, best first, as columns.

    Args:
        keys: (n,) of the rows.
        products: (n,) product number of each.
        scores: (n,) similarity of each to the query.
    """

    keys: NDArray[np.int64]
    products: NDArray[np.int64]
    scores: NDArray[np.float64]

    @classmethod
    def nothing(cls) -> "Found":
        """No row."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))

    def hits(self) -> list[VectorHit]:
        """The same row by row."""
        columns = self.keys.tolist(), self.products.tolist(), self.scores.tolist()
        return [VectorHit(*row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class VectorFilter:
    """What a hit must satisfy. Numbers only: text never enters an expression.

    ``any_tags`` is an AND of ORs: of each inner tuple at least one tag must be there.
    """

    in_stock: bool | None = None
    price_gte: float | None = None
    price_gt: float | None = None
    price_lte: float | None = None
    price_lt: float | None = None
    any_tags: tuple[tuple[int, ...], ...] = ()
    products: tuple[int, ...] | None = None
    without_products: tuple[int, ...] = ()

    @property
    def excludes_all(self) -> bool:
        """Whether nothing can satisfy this filter."""
        return self.products == () or () in self.any_tags

    def expression(self, *, lite: bool) -> str:
        """This filter in Milvus's language, in the dialect of Lite or of a server."""
        clauses = [] if self.in_stock is None else [f"in_stock == {str(self.in_stock).lower()}"]
        clauses += self._price_clauses()
        for tags in self.any_tags:
            if lite:
                clauses.append("(" + " or ".join(f'tags like "%|{_lite_tag(tag)}|%"' for tag in tags) + ")")
            else:
                clauses.append(f"array_contains_any(tags, [{_numbers(tags)}])")
        if self.products is not None:
            clauses.append(f"product in [{_numbers(self.products)}]")
        if self.without_products:
            clauses.append(f"product not in [{_numbers(self.without_products)}]")
        return " and ".join(clauses)

    def _price_clauses(self) -> list[str]:
        bounds = {">=": self.price_gte, ">": self.price_gt, "<=": self.price_lte, "<": self.price_lt}
        given = {operator: float(bound) for operator, bound in bounds.items() if bound is not None}
        for bound in given.values():
            if not math.isfinite(bound):
                raise VectorRejected("A price bound must be a number.", found=str(bound), expected="a finite number")
        if not given:
            return []
        # a product without a price satisfies no bound on it
        return [f"price > {NO_PRICE}", *(f"price {operator} {bound!r}" for operator, bound in given.items())]


def stored(row: VectorRow, dim: int, *, lite: bool) -> dict[str, Any]:
    """``row`` as Milvus is given it.

    Raises:
        VectorRejected: the vector is not finite or not ``dim`` long, the price no price, or the tags too many or large.
    """
    # Milvus Lite takes a vector with NaN without a word, and it then spoils the order of every search
    if row.vector.shape != (dim,) or not np.isfinite(row.vector).all():
        expected = f"({dim},), finite"
        raise VectorRejected(
            f"The vector of row {row.key} does not fit.", found=str(row.vector.shape), expected=expected
        )
    if row.price is not None and not 0 <= row.price < math.inf:
        raise VectorRejected(f"The price of row {row.key} is not a price.", found=str(row.price), expected="0 or more")
    if len(row.tags) > MAX_TAGS:
        raise VectorRejected(f"Row {row.key} has too many tags.", found=len(row.tags), expected=f"at most {MAX_TAGS}")
    if any(abs(tag) > LARGEST_TAG for tag in row.tags):
        raise VectorRejected(f"A tag of row {row.key} is too large.", found=str(row.tags), expected="|tag| < 2**63")
    return {
        "key": int(row.key),
        "product": int(row.product),
        "vector": np.ascontiguousarray(row.vector, dtype=np.float32),
        "in_stock": bool(row.in_stock),
        "price": NO_PRICE if row.price is None else float(row.price),
        "tags": "|" + "".join(f"{_lite_tag(tag)}|" for tag in row.tags) if lite else [int(tag) for tag in row.tags],
    }


def row_of(entity: Mapping[str, Any]) -> VectorRow:
    """The row that Milvus gives back as ``entity``."""
    tags = entity["tags"]
    numbers = [_signed(int(tag, 16)) for tag in tags.split("|") if tag] if isinstance(tags, str) else tags
    return VectorRow(
        key=int(entity["key"]),
        product=int(entity["product"]),
        vector=np.asarray(entity["vector"], dtype=np.float32),
        in_stock=bool(entity["in_stock"]),
        price=None if entity["price"] == NO_PRICE else float(entity["price"]),
        tags=tuple(int(tag) for tag in numbers),
    )


def _lite_tag(tag: int) -> str:
    return f"{tag & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _numbers(values: tuple[int, ...]) -> str:
    return ", ".join(str(int(value)) for value in values)
