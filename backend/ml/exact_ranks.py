"""Exact ranks over a whole catalogue, in memory bounded by a block of it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from backend.ml.pairs import Pairs, PairsUnfit, Rows, Vectors

Through = Callable[[Vectors], Vectors]
"""A head, or whatever else takes unit vectors (n, d) to unit vectors (n, d)."""

TIE = 1e-6
"""Scores this near are equal: the rounding of two ways to add up one dot product."""

_QUERIES = 2048
_PICTURES = 2048


def pair_ranks(pairs: Pairs, *, text: Through | None = None, image: Through | None = None) -> Rows:
    """Rank (k,) of the product of each pair for its text, among the products of all pictures.

    Args:
        pairs: texts and gallery.
        text: head that texts go through; None leaves them as they are.
        image: head that pictures go through.
    """
    return ranks_of(pairs.texts, pairs.products, pairs.images, pairs.product_of, pairs.rows, query=text, item=image)


def ranks_of(
    queries: Vectors,
    right: Rows,
    gallery: Vectors,
    product_of: Rows,
    rows: Rows | None = None,
    *,
    query: Through | None = None,
    item: Through | None = None,
) -> Rows:
    """Rank (k,), from 1, of the right product of each query: 1 + how many others score as high or higher.

    A product scores as its best picture does. Ties are held against the right product: what cannot tell two products
    apart gains nothing. Neither ``queries`` nor ``gallery`` is copied or scored whole.

    Args:
        queries: (n, d) unit vectors.
        right: (k,) the product that each query asks for.
        gallery: (m, d) unit vectors of pictures.
        product_of: (m,) the product that each picture shows.
        rows: (k,) rows of ``queries`` that are asked; None for all, in order.
        query: head that queries go through.
        item: head that pictures go through.

    Raises:
        PairsUnfit: a right product that no picture shows.
    """
    rows = np.arange(len(queries)) if rows is None else rows
    order = np.argsort(product_of, kind="stable")
    products, starts, counts = np.unique(product_of[order], return_index=True, return_counts=True)
    own = np.minimum(np.searchsorted(products, right), len(products) - 1)
    if (missing := products[own] != right).any():
        found = [int(product) for product in right[missing][:5]]
        raise PairsUnfit("A right product has no picture.", found=found, expected="products of the gallery")
    ranks = np.ones(len(rows), np.int64)
    for begin in range(0, len(rows), _QUERIES):
        part = slice(begin, begin + _QUERIES)
        asked = _through(query, queries[rows[part]])
        pictures = _gathered(order, starts[own[part]], counts[own[part]])
        best = _own_scores(asked, gallery[pictures], counts[own[part]], item)
        for first, last in _whole_products(starts, counts):
            block = _through(item, gallery[order[starts[first] : starts[last - 1] + counts[last - 1]]])
            scores = asked @ block.T
            if len(block) > last - first:
                scores = np.maximum.reduceat(scores, starts[first:last] - starts[first], axis=1)
            ahead = ~(scores < (best - TIE)[:, None])  # what is not a number is ahead, too
            inside = np.flatnonzero((own[part] >= first) & (own[part] < last))
            ahead[inside, own[part][inside] - first] = False
            ranks[part] += np.count_nonzero(ahead, axis=1)
    return ranks


def _through(head: Through | None, vectors: Vectors) -> Vectors:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    return vectors if head is None else head(vectors)


def _gathered(order: Rows, starts: Rows, counts: Rows) -> Rows:
    """Pictures of each product in turn: ``order[start : start + count]``, one after the other."""
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(order[np.repeat(starts, counts) + offsets])


def _own_scores(asked: Vectors, pictures: Vectors, counts: Rows, item: Through | None) -> NDArray[np.float32]:
    """Score (b,) of each query's right product, whose ``counts`` (b,) pictures follow one another."""
    scores = np.einsum("nd,nd->n", np.repeat(asked, counts, axis=0), _through(item, pictures))
    return np.asarray(np.maximum.reduceat(scores, np.cumsum(counts) - counts), dtype=np.float32)


def _whole_products(starts: Rows, counts: Rows) -> list[tuple[int, int]]:
    """Ranges of products whose pictures fill about a block."""
    ends, ranges, first = starts + counts, list[tuple[int, int]](), 0
    while first < len(starts):
        last = max(int(np.searchsorted(ends, starts[first] + _PICTURES, side="right")), first + 1)
        ranges.append((first, last))
        first = last
    return ranges
