"""A sample of a catalogue on which feedback can be rehearsed: queries with known targets, and the one score of all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.ml.feedback.geometry import Floats, Wide, known, unit
from backend.ml.feedback.inputs import Items, Matrix
from backend.ml.scoring import Calibration, Ints, Side, combine

MOST_QUERIES = 200
"""Queries rehearsed: the fit stays within a second or two."""

_BROADER = 2
"""Products that a query means beside its target."""

LEAST_PRODUCTS = 40
"""Products with a picture and a caption below which nothing is rehearsed."""


@dataclass(frozen=True)
class Rehearsal:
    """p products and n queries, whose targets are among them.

    Stored captions stand for queries. A shopper's words say less than a caption does: a query is the sum of its
    target's caption and those of the nearest products, which are meant, too.

    Args:
        images: (p, d) one picture of each product; NaN where it has none.
        captions: (p, d) one caption of each; NaN where it has none.
        queries: (n, d) unit rows.
        targets: (n,) rows of the products meant.
        likeness: (n, p) how alike each product is to the target, over both sides, larger is more alike.
        calibration: of the one score.
    """

    images: Matrix
    captions: Matrix
    queries: Matrix
    targets: Ints
    likeness: Wide
    calibration: Calibration

    @classmethod
    def of(
        cls, images: Side, captions: Side, calibration: Calibration, *, seed: int, asked: Side | None = None
    ) -> "Rehearsal | None":
        """A rehearsal on the rows of a catalogue's products; None where too few have a caption and a picture.

        ``asked`` are ``captions`` as queries in the same words lie, where that is elsewhere.
        """
        products = np.union1d(images.products, captions.products)
        pictures, words = _first_rows(images, products), _first_rows(captions, products)
        whole = np.flatnonzero(known(pictures) & known(words))
        if len(whole) < LEAST_PRODUCTS:
            return None
        targets = np.sort(np.random.default_rng(seed).permutation(whole)[:MOST_QUERIES])
        likeness = _likeness(pictures, targets) + _likeness(words, targets)
        others = np.where(np.isin(np.arange(len(products)), whole)[None, :], likeness, -np.inf)
        nearest = np.argsort(-others, axis=1, kind="stable")[:, : _BROADER + 1]  # the target itself is the first
        said = words if asked is None else _first_rows(asked, products)
        queries = unit(said[nearest].sum(axis=1)).astype(np.float32)
        return cls(pictures, words, queries, targets, likeness, calibration)

    def scores(self, image_queries: Floats, caption_queries: Floats) -> Wide:
        """(n, p) the one score of all products for queries (n, d) on either side."""
        return combine(image_queries @ self.images.T, caption_queries @ self.captions.T, self.calibration, "text")

    def items(self, rows: Ints, grades: NDArray[np.float64] | None = None) -> Items:
        """Products at ``rows`` (k,), with ``grades`` (k,) where something is said of them."""
        said = np.full(len(rows), np.nan) if grades is None else grades
        return Items(self.images[rows], self.captions[rows], said)


def _likeness(vectors: Matrix, targets: Ints) -> Wide:
    """(n, p) standardised cosines to the targets without what all vectors share; 0 where a product has none."""
    directions = unit(vectors - np.nanmean(vectors, axis=0))
    cosines = np.nan_to_num(directions[targets] @ directions.T)
    return np.asarray(cosines / max(float(cosines.std()), 1e-9))


def _first_rows(side: Side, products: Ints) -> Matrix:
    """(p, d) the first row of each product; NaN where it has none."""
    rows = np.full((len(products), side.vectors.shape[1]), np.nan, dtype=np.float32)
    distinct, first = np.unique(side.products, return_index=True)
    rows[np.searchsorted(products, distinct)] = side.vectors[first]
    return rows
