"""What ranks products for queries: heads, the vectors of a build, and a calibration, by the one score."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import Asked
from backend.ml.heads import QueryHeads
from backend.ml.scoring import Calibration, Floats, Kind, Side, combine, score_matrix

Ints = NDArray[np.int64]

_PAIRS = 20_000
"""Pairs whose rows are read at a time."""

_SCORES = 6_400_000
"""Scores computed at a time: some 200 MB with what is computed on the way."""


@dataclass(frozen=True)
class Ranker:
    """A generation, as far as it ranks.

    Args:
        heads: that queries go through.
        images: pictures as its collection holds them.
        captions: captions, likewise.
        calibration: of its scores.
    """

    heads: QueryHeads
    images: Side
    captions: Side
    calibration: Calibration

    def queries(self, vectors: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
        """Raw rows (n, d) of queries of one kind as both sides are asked; products ask with what the build holds."""
        if kind in ("text", "image"):
            return self.heads.adapt("text" if kind == "text" else "image", vectors)
        return vectors

    def first(self, asked: Asked, rows: Ints, products: Ints, depth: int) -> Ints:
        """(n, depth) places in ``products`` of the best for each of the queries ``rows`` (n,), best first.

        Ties by product number, as ``products`` (p,) ascend. Fewer products than ``depth`` give as many columns.
        """
        depth = min(depth, len(products))
        found = np.empty((len(rows), depth), np.int64)
        for places, scores in self._blocks(asked, rows, products):
            found[places] = best_places(scores, depth)
        return found

    def scores(self, asked: Asked, query: Ints, place: Ints, products: Ints) -> NDArray[np.float64]:
        """(n,) the one score of each pair of a row of ``asked`` (n,) and a place in ``products`` (n,)."""
        found = np.empty(len(query))
        kinds = np.array(asked.kinds, dtype=object)[query]
        for kind in set(kinds):
            of_kind = np.flatnonzero(kinds == kind)
            rows, number = np.unique(query[of_kind], return_inverse=True)
            vectors = self.queries(np.asarray(asked.vectors[rows]), kind)
            sides = [
                _pair_cosines(vectors, number, place[of_kind], one, products) for one in (self.images, self.captions)
            ]
            found[of_kind] = combine(sides[0], sides[1], self.calibration, _kind(kind))
        return found

    def _blocks(self, asked: Asked, rows: Ints, products: Ints) -> Iterator[tuple[Ints, NDArray[np.float64]]]:
        """Places in ``rows`` and their scores (b, p), a kind and some queries at a time."""
        kinds = np.array(asked.kinds)[rows]
        size = max(16, _SCORES // max(len(products), 1))
        for kind in np.unique(kinds):
            of_kind = np.flatnonzero(kinds == kind)
            for begin in range(0, len(of_kind), size):
                places = of_kind[begin : begin + size]
                vectors = self.queries(np.asarray(asked.vectors[rows[places]]), str(kind))
                yield (
                    places,
                    score_matrix(
                        vectors, vectors, self.images, self.captions, products, self.calibration, _kind(str(kind))
                    ),
                )


def _pair_cosines(
    vectors: NDArray[np.float32], query: Ints, place: Ints, side: Side, products: Ints
) -> NDArray[np.float64]:
    """(n,) best cosine of each pair over the rows of its product; NaN for a product without one.

    Only rows of products that are asked for are read, some at a time: a catalogue has many more pairs than a log.
    """
    order = np.argsort(side.products, kind="stable")
    ascending = side.products[order]
    first = np.searchsorted(ascending, products)
    count = (np.searchsorted(ascending, products, side="right") - first)[place]
    best = np.full(len(query), np.nan)
    known = np.flatnonzero(count > 0)
    for begin in range(0, len(known), _PAIRS):
        pairs = known[begin : begin + _PAIRS]
        ends = np.cumsum(count[pairs])
        within = np.arange(ends[-1]) - np.repeat(ends - count[pairs], count[pairs])
        rows = order[np.repeat(first[place[pairs]], count[pairs]) + within]
        cosines = np.einsum("nd,nd->n", side.vectors[rows], vectors[np.repeat(query[pairs], count[pairs])])
        best[pairs] = np.maximum.reduceat(cosines, ends - count[pairs])
    return best


def best_places(scores: Floats, depth: int) -> Ints:
    """(n, depth) columns of the greatest of ``scores`` (n, p), greatest first, ties by column."""
    if depth < scores.shape[1]:
        # everything equal to the last one that gets in competes by its column
        least = -np.partition(-scores, depth - 1, axis=1)[:, depth - 1 : depth]
        scores = np.where(scores >= least, scores, -np.inf)
    return np.asarray(np.argsort(-scores, axis=1, kind="stable")[:, :depth], dtype=np.int64)


def _kind(name: str) -> Kind:
    known: dict[str, Kind] = {"text": "text", "image": "image", "both": "both", "product": "product"}
    return known[name]
