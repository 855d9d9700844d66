"""Pairs of a text and a picture, as raw encoder vectors: what an adapter learns from and is judged on.

Arrays may be memory-mapped files: nothing here copies them whole, and a part of some pairs is row numbers over the same
arrays. Pictures of one product are all right for its texts, so pairs are parted by product, never by row.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from backend.errors import Unprocessable

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

UNIT = 1e-3
"""How far the length of a vector may be from 1: fp16 keeps it to 5e-4."""

_BLOCK = 2048
_NAMED = 5


class PairsUnfit(Unprocessable):
    """Vectors that nothing can be learned from."""

    title = "Pairs not acceptable"


@dataclass(frozen=True)
class Pairs:
    """Texts and the pictures that they belong to.

    Args:
        texts: (n, d) unit vectors.
        images: (m, d) unit vectors; all of them are searched where pairs are judged.
        image_of: (n,) row of ``images`` that each text is paired with.
        product_of: (m,) number of the product that each picture shows.
        chosen: rows of ``texts`` that these pairs are; None for all.
    """

    texts: Vectors
    images: Vectors
    image_of: Rows
    product_of: Rows
    chosen: Rows | None = None

    def __post_init__(self) -> None:
        shapes = (self.texts.shape, self.images.shape, self.image_of.shape, self.product_of.shape)
        (count, width), pictures = self.texts.shape, len(self.images)
        if shapes != ((count, width), (pictures, width), (count,), (pictures,)):
            raise PairsUnfit("Texts and pictures do not fit.", found=shapes, expected="(n, d), (m, d), (n,), (m,)")
        if not len(self):
            raise PairsUnfit("There are no pairs.", found=0, expected="one at least")
        if self.image_of.min() < 0 or self.image_of.max() >= pictures:
            found = [int(self.image_of.min()), int(self.image_of.max())]
            raise PairsUnfit(
                "A text is paired with a picture that is not there.", found=found, expected=[0, pictures - 1]
            )

    def __len__(self) -> int:
        return len(self.texts) if self.chosen is None else len(self.chosen)

    @property
    def width(self) -> int:
        """d, the length of a vector."""
        return int(self.texts.shape[1])

    @property
    def rows(self) -> Rows:
        """Rows (k,) of ``texts`` that these pairs are."""
        return np.arange(len(self.texts)) if self.chosen is None else self.chosen

    @property
    def products(self) -> Rows:
        """(k,) product of each pair."""
        return np.asarray(self.product_of[self.image_of[self.rows]])

    def only(self, rows: Rows) -> "Pairs":
        """The pairs of ``rows`` of ``texts``, over the same arrays and all pictures."""
        return replace(self, chosen=np.asarray(rows, dtype=np.int64))


@dataclass(frozen=True)
class Examined:
    """Pairs that were found fit.

    Args:
        pairs: as given, each pair once.
        same_text: (n,) a number for each row of ``texts``, equal where vectors are equal to the last bit.
        merged: pairs left out since another has the same text and the same picture.
        fingerprint: of every vector and number.
    """

    pairs: Pairs
    same_text: Rows
    merged: int
    fingerprint: str


def examine(pairs: Pairs) -> Examined:
    """Refuse what nothing can be learned from, merge what is there twice; one pass over the arrays, in blocks.

    Raises:
        PairsUnfit: vectors that are not finite or not of unit length, with their rows.
    """
    digest = blake2b(digest_size=16)
    same_text = _numbered(pairs.texts, "text", digest)
    _numbered(pairs.images, "picture", digest)
    rows = pairs.rows
    for numbers in (pairs.image_of, pairs.product_of, rows):
        digest.update(np.ascontiguousarray(numbers).tobytes())
    keys = np.stack([same_text[rows], pairs.image_of[rows]], axis=1)
    first = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    kept = pairs if len(first) == len(rows) else pairs.only(rows[first])
    return Examined(kept, same_text, len(rows) - len(first), digest.hexdigest())


def split(pairs: Pairs, shares: tuple[float, ...], *, seed: int) -> tuple[Pairs, ...]:
    """Parts with about these shares of the products, no product in two of them.

    Raises:
        PairsUnfit: fewer products than parts.
    """
    products = _shuffled_products(pairs, len(shares), seed)
    ends = np.round(np.cumsum(shares) / sum(shares) * len(products)).astype(int)[:-1]
    # a part of a tiny catalogue still gets one product
    ends = np.clip(ends, np.arange(1, len(shares)), len(products) - np.arange(len(shares) - 1, 0, -1))
    return tuple(_of_products(pairs, part) for part in np.split(products, ends))


def folds(pairs: Pairs, count: int, *, seed: int) -> list[tuple[Pairs, Pairs]]:
    """(learned from, held out) for each of ``count`` folds; each product is held out exactly once.

    Raises:
        PairsUnfit: fewer products than folds.
    """
    products = _shuffled_products(pairs, count, seed)
    parts = [products[number::count] for number in range(count)]
    return [(_of_products(pairs, np.setdiff1d(products, part)), _of_products(pairs, part)) for part in parts]


def _of_products(pairs: Pairs, products: Rows) -> Pairs:
    return pairs.only(pairs.rows[np.isin(pairs.products, products)])


def _shuffled_products(pairs: Pairs, parts: int, seed: int) -> Rows:
    products = np.unique(pairs.products)
    if len(products) < parts:
        raise PairsUnfit("Too few products to part.", found=len(products), expected=f"{parts} or more")
    return np.random.default_rng(seed).permutation(products)


def _numbered(vectors: Vectors, what: str, digest: "blake2b") -> Rows:
    """A number (n,) for each row, equal for equal rows; ``digest`` is told all of them.

    Numbers are 64 bits of a hash: of a million rows two that differ have the same with a chance of 3e-8.
    """
    numbers, unfit = np.empty(len(vectors), np.int64), list[int]()
    for start in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK], dtype=np.float32)
        lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
        unfit += (start + np.flatnonzero(~(np.abs(lengths - 1) <= UNIT))).tolist()  # a length of NaN is unfit, too
        keys = b"".join(blake2b(row.data, digest_size=8).digest() for row in block)
        digest.update(keys)
        numbers[start : start + len(block)] = np.frombuffer(keys, np.int64)
    if unfit:
        some = ", ".join(map(str, unfit[:_NAMED])) + (", …" if len(unfit) > _NAMED else "")
        raise PairsUnfit(
            f"{len(unfit)} of {len(vectors)} {what} vectors are not finite or not of unit length.",
            found=f"rows {some}",
            expected="finite vectors of length 1",
            rows=unfit[:1000],
        )
    return numbers
