"""Pictures that a model ranks near the top for a text but not at it, and which of them are no false negatives."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.ml.exact_ranks import Through
from backend.ml.pairs import Examined, Rows, Vectors

POOL = 8192
"""Most pictures that ranks are taken among: a catalogue of 100,000 would else cost more than the training itself."""

_TEXTS = 512
_SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@dataclass(frozen=True)
class HardNegatives:
    """Rows of pictures for rows of texts.

    Args:
        places: (n,) row of ``drawn`` for each row of texts, -1 for none.
        drawn: (k, h) rows of pictures; -1 where no fit one was found.
    """

    places: Rows
    drawn: Rows

    def of(self, rows: Rows) -> Rows:
        """Pictures (b, h) for the texts ``rows`` (b,)."""
        return np.asarray(self.drawn[self.places[rows]])

    @classmethod
    def mined(
        cls,
        examined: Examined,
        *,
        text: Through | None,
        image: Through | None,
        count: int,
        band: tuple[int, int],
        alike: float | None,
        margin: float,
        rng: np.random.Generator,
    ) -> "HardNegatives":
        """Draw ``count`` pictures for each text from those that the heads rank within ``band``.

        Ranks are among the pictures of these pairs, or some of them. Guarded against false negatives: never a picture
        of the same product or of a product with the same text; none as like the right picture as ``alike``, by raw
        vectors; and none to which the raw text is as near as to the right one less ``margin``: what the untouched
        encoder holds for right as well is likely to be right.

        Args:
            examined: the pairs.
            text: head of texts, as it is now.
            image: head of pictures.
            count: h.
            band: first and last rank, from 1.
            alike: cosine; None for no such guard.
            margin: cosine.
            rng: what is drawn from.
        """
        pairs = examined.pairs
        rows = pairs.rows
        pool = np.unique(pairs.image_of[rows])
        if len(pool) > POOL:
            pool = np.sort(rng.choice(pool, POOL, replace=False))
        raw = np.ascontiguousarray(pairs.images[pool], dtype=np.float32)
        through = raw if image is None else image(raw)
        known = _Known(examined, pool)
        places = np.full(len(pairs.texts), -1, np.int64)
        places[rows] = np.arange(len(rows))
        drawn = np.full((len(rows), count), -1, np.int64)
        for start in range(0, len(rows), _TEXTS):
            part = rows[start : start + _TEXTS]
            texts = np.ascontiguousarray(pairs.texts[part], dtype=np.float32)
            scores = (texts if text is None else text(texts)) @ through.T
            scores[known.right(part)] = -np.inf
            some = _banded(scores, band)
            fit = _fit(texts, pairs.images[pairs.image_of[part]], raw[some], alike, margin)
            fit &= np.isfinite(np.take_along_axis(scores, some, axis=1))
            keys = np.where(fit, rng.random(some.shape), np.inf)  # fit ones first, in random order
            first = np.argsort(keys, axis=1)[:, :count]
            taken = np.where(np.take_along_axis(fit, first, axis=1), pool[np.take_along_axis(some, first, axis=1)], -1)
            drawn[start : start + _TEXTS, : taken.shape[1]] = taken
        return cls(places, drawn)


class _Known:
    """Which pictures of a pool are right for a text: of its product, or of a product with the very same text."""

    def __init__(self, examined: Examined, pool: Rows) -> None:
        pairs = examined.pairs
        self._same_text = examined.same_text
        texts = examined.same_text[pairs.rows]
        by_text = np.argsort(texts, kind="stable")
        self._texts, self._products = texts[by_text], pairs.products[by_text]
        self._by_product = np.argsort(pairs.product_of[pool], kind="stable")
        self._shown = pairs.product_of[pool][self._by_product]

    def right(self, rows: Rows) -> NDArray[np.bool_]:
        """(b, p) true where a picture of the pool is right for a text of ``rows`` (b,)."""
        right = np.zeros((len(rows), len(self._shown)), bool)
        numbers = self._same_text[rows]
        firsts, lasts = (np.searchsorted(self._texts, numbers, side=side) for side in _SIDES)
        for place, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
            for product in np.unique(self._products[first:last]):
                begin, end = (np.searchsorted(self._shown, product, side=side) for side in _SIDES)
                right[place, self._by_product[begin:end]] = True
        return right


def _banded(scores: Vectors, band: tuple[int, int]) -> Rows:
    """Columns (b, r) of ranks ``band[0]`` to ``band[1]`` of each row, or as many of them as there are."""
    first, last = band[0] - 1, min(band[1], scores.shape[1])
    nearest = np.argpartition(-scores, last - 1, axis=1)[:, :last]
    order = np.argsort(-np.take_along_axis(scores, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)[:, first:]


def _fit(texts: Vectors, own: Vectors, others: Vectors, alike: float | None, margin: float) -> NDArray[np.bool_]:
    """Which of ``others`` (b, r, d) are no false negatives of ``texts`` (b, d), whose pictures are ``own`` (b, d)."""
    allowed = np.einsum("bd,bd->b", texts, own) - margin
    fit = np.einsum("bd,brd->br", texts, others) < allowed[:, None]
    if alike is not None:
        fit &= np.einsum("bd,brd->br", own, others) < alike
    return np.asarray(fit)
