"""The one score: how well a product answers a query, from the cosines of its images and its captions.

    score(query, product) = I + λ · (m_I + s_I · (C - m_C) / s_C)

I is the best cosine over the product's images and C the best over its captions; m and s are the mean and the standard
deviation of each side's cosines over random products, so that captions (whose cosines to a text are larger and spread
differently, the modality gap) count λ times what images count. Serving, training, gates and evaluation use these
functions and no other arithmetic. What words add is a separate, switchable term behind this one: ``word_evidence.py``.

A side can be missing for two reasons, imputed differently:

* The product has no row there (no usable picture, no caption). Its expectation, the side's mean, is imputed: neither
  reward nor punishment.
* The product has rows there, but they are not among the retrieved ones. Then its cosine is known to be at most the
  lowest retrieved one, the *floor*, which is imputed: the tightest bound there is, so no candidate is lost for being
  unknown, and the mean would sink products that rank just below the cut of one search. ``Fused`` says which values are
  such bounds; the query path looks up those that decide a page.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Kind = Literal["text", "image", "both", "product"]

CAPTION_WEIGHT = 0.5
"""λ of an uncalibrated generation."""

LEXICAL_WEIGHT = 4.0
"""Deviations of the image side that words add which one product alone has: more than chance gives any other."""


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of one side's cosines over random (query, product) pairs."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.std) and self.std > 0):
            raise ValueError(f"mean {self.mean}, std {self.std}: expected finite numbers and a std above 0")


@dataclass(frozen=True)
class KindCalibration:
    """Scales of both sides for one kind of query, and the score from which on a product counts as relevant."""

    image: Scale = Scale()
    caption: Scale = Scale()
    cut: float | None = None


@dataclass(frozen=True)
class Calibration:
    """All that the one score needs beside cosines; part of a generation, never changed.

    Args:
        caption_weight: λ, what the caption side counts beside the image side; 0 or more.
        lexical_weight: what words that one product alone has add to the one score, in deviations of the image side of
            a text query; 0 or more.
        text: scales for a query by words.
        image: scales for a query by picture.
        both: scales for words and picture together.
    """

    caption_weight: float = CAPTION_WEIGHT
    text: KindCalibration = KindCalibration()
    image: KindCalibration = KindCalibration()
    both: KindCalibration = KindCalibration()
    lexical_weight: float = LEXICAL_WEIGHT

    def __post_init__(self) -> None:
        for weight in (self.caption_weight, self.lexical_weight):
            if not (np.isfinite(weight) and weight >= 0):
                raise ValueError(f"weight {weight}: expected a finite number of 0 or more")

    @classmethod
    def identity(cls) -> "Calibration":
        """Calibration of a catalogue that was not measured yet: cosines as they are, no relevance cut."""
        return cls()

    def of(self, kind: Kind) -> KindCalibration:
        """Scales for ``kind``. A product is compared image with images and caption with captions."""
        if kind == "product":
            return KindCalibration(image=self.image.image, caption=self.text.caption, cut=self.image.cut)
        found: KindCalibration = getattr(self, kind)
        return found

    def to_json(self) -> dict[str, Any]:
        """JSON object that ``from_json`` turns back into an equal calibration."""
        weights = {"caption_weight": self.caption_weight, "lexical_weight": self.lexical_weight}
        return weights | {
            kind: {
                "image_mean": side.image.mean,
                "image_std": side.image.std,
                "caption_mean": side.caption.mean,
                "caption_std": side.caption.std,
                "cut": side.cut,
            }
            for kind, side in (("text", self.text), ("image", self.image), ("both", self.both))
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Calibration":
        """Inverse of ``to_json``; a kind that is absent is not calibrated."""

        def kind(name: str) -> KindCalibration:
            found = data.get(name)
            if found is None:
                return KindCalibration()
            image = Scale(found["image_mean"], found["image_std"])
            return KindCalibration(image, Scale(found["caption_mean"], found["caption_std"]), found.get("cut"))

        caption, lexical = data.get("caption_weight", CAPTION_WEIGHT), data.get("lexical_weight", LEXICAL_WEIGHT)
        return cls(caption, kind("text"), kind("image"), kind("both"), lexical)


@dataclass(frozen=True)
class SideHits:
    """What one collection answered: a row each, several rows of one product allowed, any order.

    Args:
        products: (n,) product number of each row.
        scores: (n,) cosine of each row.
        complete: whether these are all rows that pass the filter, so that a product not among them has no row.
        looked_up: products all of whose rows are here, whatever the search cut off: one not among them has none.
        floor: bound on what was cut off; None takes the lowest score here.
    """

    products: Ints
    scores: Floats
    complete: bool = False
    looked_up: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    floor: float | None = None

    def with_looked_up(self, products: Ints, found: "SideHits") -> "SideHits":
        """These hits and all rows of ``products``, which were asked for by name; the floor stays."""
        floor = self.floor
        if floor is None and len(self.products):
            floor = float(best_per_product(self.products, self.scores)[1].min())
        return SideHits(
            np.concatenate([self.products, found.products]),
            np.concatenate([self.scores, found.scores]),
            self.complete,
            np.concatenate([self.looked_up, products]),
            floor,
        )


@dataclass(frozen=True)
class Fused:
    """Candidates, best first; ties by product number.

    Args:
        products: (m,) distinct product numbers.
        scores: (m,) the one score.
        image_bound: (m,) whether the image side is only bounded by the floor.
        caption_bound: (m,) whether the caption side is only bounded by the floor.
    """

    products: Ints
    scores: NDArray[np.float64]
    image_bound: NDArray[np.bool_]
    caption_bound: NDArray[np.bool_]

    @classmethod
    def ordered(
        cls,
        products: Ints,
        scores: NDArray[np.float64],
        image_bound: NDArray[np.bool_],
        caption_bound: NDArray[np.bool_],
    ) -> "Fused":
        """Candidates given in any order."""
        order = np.lexsort((products, -scores))
        return cls(products[order], scores[order], image_bound[order], caption_bound[order])


@dataclass(frozen=True)
class Side:
    """All rows of one side: unit vectors (r, d) and the product number of each row (r,)."""

    vectors: NDArray[np.float32]
    products: Ints


def combine(image: Floats, caption: Floats, calibration: Calibration, kind: Kind) -> NDArray[np.float64]:
    """The one score from best cosines per product, elementwise over any shape; NaN is a side without a row."""
    scales = calibration.of(kind)
    image = np.asarray(image, dtype=np.float64)
    caption = np.asarray(caption, dtype=np.float64)
    image = np.where(np.isnan(image), scales.image.mean, image)
    standard = np.where(np.isnan(caption), 0.0, (caption - scales.caption.mean) / scales.caption.std)
    return np.asarray(image + calibration.caption_weight * (scales.image.mean + scales.image.std * standard))


def best_per_product(products: Ints, scores: Floats) -> tuple[Ints, NDArray[np.float64]]:
    """Distinct products, ascending, and the best score of each."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    distinct, first = np.unique(np.asarray(products, dtype=np.int64)[order], return_index=True)
    return distinct, np.asarray(scores, dtype=np.float64)[order][first]


def fuse_candidates(
    image_hits: SideHits, caption_hits: SideHits, calibration: Calibration, kind: Kind, *, others: Ints | None = None
) -> Fused:
    """One candidate a product by the one score, missing sides imputed as the module describes.

    ``others`` are candidates found by other means (words): on each side where they were not retrieved they are bounded.
    """
    found = (image_hits.products, caption_hits.products, np.empty(0, dtype=np.int64) if others is None else others)
    products, places = np.unique(np.concatenate(found).astype(np.int64, copy=False), return_inverse=True)
    behind = len(image_hits.products)
    image, image_bound = _spread(products, places[:behind], image_hits)
    caption, caption_bound = _spread(products, places[behind : behind + len(caption_hits.products)], caption_hits)
    return Fused.ordered(products, combine(image, caption, calibration, kind), image_bound, caption_bound)


def score_matrix(
    image_queries: NDArray[np.float32],
    caption_queries: NDArray[np.float32],
    images: Side,
    captions: Side,
    products: Ints,
    calibration: Calibration,
    kind: Kind,
) -> NDArray[np.float64]:
    """Exact scores (n, p) of ``products`` (p,) for n queries (n, d on each side) over every row of both sides."""
    image = best_cosines(image_queries, images, products)
    caption = best_cosines(caption_queries, captions, products)
    return combine(image, caption, calibration, kind)


def fit_kind(image: Floats, caption: Floats, caption_weight: float, *, cut_deviations: float = 2.0) -> KindCalibration:
    """Scales from best cosines of random (query, product) pairs, any shape; NaN is a side without a row.

    The relevance cut lies ``cut_deviations`` standard deviations above the mean score of those pairs: what a random
    product reaches is no answer. A side with fewer than two values, or no spread, is left as it is.
    """
    scales = KindCalibration(image=_scale(image), caption=_scale(caption))
    scores = combine(image, caption, Calibration(caption_weight=caption_weight, text=scales), "text")
    if scores.size < 2:
        return scales
    return KindCalibration(scales.image, scales.caption, float(scores.mean() + cut_deviations * scores.std()))


def _scale(values: Floats) -> Scale:
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if known.size < 2 or known.std() < 1e-9:
        return Scale()
    return Scale(float(known.mean()), float(known.std()))


def _spread(products: Ints, places: Ints, hits: SideHits) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Best of ``hits`` for each of ``products`` (m,), and which are only bounded; its rows lie at ``places`` of them.

    The floor stands where bounded, NaN where there is no row.
    """
    values = np.full(len(products), -np.inf)
    np.maximum.at(values, places, hits.scores)
    absent = np.isneginf(values)
    if hits.complete or not len(places):
        values[absent] = np.nan
        return values, np.zeros(len(products), dtype=np.bool_)
    bounded = absent
    if len(hits.looked_up):
        bounded = absent & ~np.isin(products, hits.looked_up)
        values[absent] = np.nan
    values[bounded] = values[~absent].min() if hits.floor is None else hits.floor
    return values, bounded


def best_cosines(queries: NDArray[np.float32], side: Side, products: Ints) -> NDArray[np.float64]:
    """(n, p) best cosine of each product's rows, NaN for a product without one."""
    best = np.full((len(queries), len(products)), np.nan)
    order = np.argsort(side.products, kind="stable")
    distinct, starts = np.unique(side.products[order], return_index=True)
    if len(distinct) == 0:
        return best
    cosines = np.maximum.reduceat(queries @ side.vectors[order].T, starts, axis=1)
    _, columns, into = np.intersect1d(distinct, products, assume_unique=True, return_indices=True)
    best[:, into] = cosines[:, columns]
    return best
