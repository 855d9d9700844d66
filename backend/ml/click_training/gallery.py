"""The one score over a whole catalogue, exactly, and of a few products as a function that has gradients.

score(q, p) = I + λ (m_I + s_I (C - m_C) / s_C), as ``scoring`` states it, is linear in the query once it is known which
picture and which caption of p are nearest: while training those of the ranking in use count, fixed for the night.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.ml.click_training.problem import ItemVectors, Problem
from backend.ml.heads import QueryHeads
from backend.ml.scoring import Calibration, Ints, Kind, Side, combine

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]

_KINDS: tuple[Kind, Kind] = ("text", "image")
_PAIRS = 8192  # pairs whose rows are gathered at a time


class Rowed:
    """Rows of one side, ordered by product: those of product row i are ``start[i]`` to ``start[i] + count[i]``.

    Args:
        side: rows and the numbers of their products.
        products: (p,) numbers of the catalogue's products, ascending; rows of others are left out.
    """

    def __init__(self, side: Side, products: Ints) -> None:
        place = np.searchsorted(products, side.products)
        known = place < len(products)
        known[known] = products[place[known]] == side.products[known]
        self.order = np.flatnonzero(known)[np.argsort(place[known], kind="stable")]
        of = place[self.order]
        in_order = len(self.order) == len(side.vectors) and bool((np.diff(self.order) == 1).all())
        self.vectors = np.asarray(side.vectors if in_order else side.vectors[self.order], dtype=np.float32)
        self.count: Rows = np.bincount(of, minlength=len(products)).astype(np.int64)
        self.start: Rows = np.cumsum(self.count) - self.count

    def best(self, queries: Vectors, query: Rows, product: Rows) -> Rows:
        """(k,) the row of each product that is nearest to its query; -1 where it has none.

        Args:
            queries: (q, d) unit rows.
            query: (k,) row of ``queries``.
            product: (k,) row of the catalogue.
        """
        best = np.where(self.count[product] > 0, self.start[product], -1)
        several = np.flatnonzero(self.count[product] > 1)
        for part, first, rows, cosines in self._each(queries, query, product, several):
            of = np.repeat(np.arange(len(part)), np.diff(np.append(first, len(rows))))
            hit = np.flatnonzero(cosines >= np.maximum.reduceat(cosines, first)[of])[::-1]
            best[part[of[hit]]] = rows[hit]  # of equals the first
        return best

    def nearest(self, queries: Vectors, query: Rows, product: Rows) -> NDArray[np.float64]:
        """(k,) cosine of the nearest row of each product to its query, as ``best`` has them; NaN where it has none."""
        found = np.full(len(product), np.nan)
        some = np.flatnonzero(self.count[product] > 0)
        for part, first, _, cosines in self._each(queries, query, product, some):
            found[part] = np.maximum.reduceat(cosines, first)
        return found

    def _each(
        self, queries: Vectors, query: Rows, product: Rows, chosen: Rows
    ) -> Iterator[tuple[Rows, Rows, Rows, Vectors]]:
        """Some of the pairs ``chosen``, where the rows of each begin, these rows, and their cosines, at a time."""
        for begin in range(0, len(chosen), _PAIRS):
            part = chosen[begin : begin + _PAIRS]
            counts = self.count[product[part]]
            first = np.cumsum(counts) - counts
            rows = np.repeat(self.start[product[part]] - first, counts) + np.arange(counts.sum())
            yield part, first, rows, np.einsum("kd,kd->k", self.vectors[rows], queries[np.repeat(query[part], counts)])

    def padded(self, product: Rows) -> Rows:
        """(k, most) all rows of each product; -1 where there are no more."""
        most = int(self.count[product].max(initial=0))
        places = np.arange(max(most, 1))
        return np.where(places < self.count[product][:, None], self.start[product][:, None] + places, -1)


class Gallery:
    """A catalogue in the order of its products.

    Args:
        items: its rows.
        products: (p,) numbers, ascending.
    """

    def __init__(self, items: ItemVectors, products: Ints) -> None:
        self.products = products
        self.images, self.captions = Rowed(items.images, products), Rowed(items.captions, products)

    def scores(
        self, queries: Vectors, query: Rows, product: Rows, calibration: Calibration, kinds: NDArray[np.str_]
    ) -> NDArray[np.float64]:
        """(k,) the one score of pairs.

        Args:
            queries: (q, d) unit rows, through the heads of their kinds.
            query: (k,) row of ``queries``.
            product: (k,) row of the catalogue.
            calibration: of the score.
            kinds: (q,) text or image.
        """
        image, caption = (side.nearest(queries, query, product) for side in (self.images, self.captions))
        by_picture = kinds[query] == "image"
        as_text, as_image = (combine(image, caption, calibration, kind) for kind in _KINDS)
        return np.where(by_picture, as_image, as_text)


def pair_scores(
    problem: Problem, gallery: Gallery, heads: QueryHeads, query: Rows, product: Rows
) -> NDArray[np.float64]:
    """(k,) the one score of pairs of a row in ``Asked`` and one of the catalogue, each query through its head."""
    queries, places = np.unique(query, return_inverse=True)
    asked = problem.log.asked
    vectors, kinds = np.array(asked.vectors[queries], dtype=np.float32), np.array(asked.kinds, dtype="U10")[queries]
    by_picture = kinds == "image"
    vectors[by_picture] = heads.adapt("image", vectors[by_picture])
    vectors[~by_picture] = heads.adapt("text", vectors[~by_picture])
    return gallery.scores(vectors, places, product, problem.calibration, kinds)


@dataclass(frozen=True)
class Scales:
    """What the one score adds and multiplies, for lists of several kinds of query; (l, 1) each.

    Args:
        image_mean: stands in for a missing picture.
        caption_mean: stands in for a missing caption.
        factor: λ s_I / s_C.
    """

    image_mean: Tensor
    caption_mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, calibration: Calibration, kinds: list[Kind]) -> "Scales":
        """Of a list of each kind."""
        known = [calibration.of(kind) for kind in kinds]
        weight = calibration.caption_weight
        columns = (
            [one.image.mean for one in known],
            [one.caption.mean for one in known],
            [weight * one.image.std / one.caption.std for one in known],
        )
        return cls(*(torch.tensor(column, dtype=torch.float32)[:, None] for column in columns))

    def only(self, rows: Tensor) -> "Scales":
        """Of some of the lists."""
        return Scales(self.image_mean[rows], self.caption_mean[rows], self.factor[rows])

    def score(self, image: Tensor, caption: Tensor, pictured: Tensor, told: Tensor) -> Tensor:
        """(l, k) the one score, less what is the same for all products of a list.

        Args:
            image: (l, k) cosine of the picture.
            caption: (l, k) cosine of the caption.
            pictured: (l, k) whether there is one.
            told: (l, k) likewise.
        """
        first = torch.where(pictured, image, self.image_mean)
        return first + torch.where(told, self.factor * (caption - self.caption_mean), 0.0)
