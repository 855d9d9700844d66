"""What decides between epochs, seeds, scales and arms: lists of queries that nothing was learned from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.adapter_gate import Retention, retention_of
from backend.ml.click_training.examples import Examples
from backend.ml.click_training.gallery import Gallery
from backend.ml.click_training.problem import ItemVectors, Problem
from backend.ml.exact_ranks import ranks_of
from backend.ml.heads import ItemHeads, QueryHeads, QuerySide

_SIDES: tuple[QuerySide, ...] = ("text", "image")
_AT_ONCE = 64
_MOST_CAPTIONS = 1000


@dataclass(frozen=True)
class Merit:
    """What heads come to on lists of validation, each click weighed.

    Args:
        mrr: reciprocal rank of a click, its list ordered anew.
        ndcg: discounted gain of a list ordered anew, over the best there is.
        catalogue_mrr: reciprocal rank of a click in the whole catalogue.
        clicks: that it rests on.
    """

    mrr: float
    ndcg: float
    catalogue_mrr: float
    clicks: int

    @property
    def deciding(self) -> float:
        """What the best is chosen by."""
        return self.ndcg

    def to_json(self) -> dict[str, Any]:
        """As reports keep it."""
        return {
            "mrr": round(self.mrr, 5),
            "ndcg_at_10": round(self.ndcg, 5),
            "catalogue_mrr": round(self.catalogue_mrr, 5),
            "clicks": self.clicks,
        }


def merit(problem: Problem, held: Examples, gallery: Gallery, heads: QueryHeads) -> Merit:
    """What ``heads`` come to on the lists ``held``, over the items of ``gallery``."""
    asked, kinds = problem.log.asked, problem.log.asked.kinds
    totals, weights = np.zeros(3), float(held.weight.sum())
    discounts = 1.0 / np.log2(np.arange(2, max(held.product.shape[1], 10) + 2))
    for side in _SIDES:
        lists = np.flatnonzero(np.array([kinds[query] == side for query in held.query.tolist()], dtype=np.bool_))
        lists = lists[np.argsort(held.query[lists], kind="stable")]
        for begin in range(0, len(lists), _AT_ONCE):
            part = held.only(lists[begin : begin + _AT_ONCE])
            queries, places = np.unique(part.query, return_inverse=True)
            scores = gallery.scores(heads.adapt(side, asked.vectors[queries]), problem.calibration, side)
            totals += _totals(scores, places, part, discounts)
    mrr, gained, whole = (totals / max(weights, 1e-12)).tolist()
    return Merit(mrr, gained, whole, held.clicks)


def _totals(
    scores: NDArray[np.float64], places: NDArray[np.int64], part: Examples, discounts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted sums of the reciprocal rank in the list, of NDCG and of the reciprocal rank in the catalogue."""
    own = np.where(part.product >= 0, scores[places[:, None], np.maximum(part.product, 0)], -np.inf)
    rank = 1 + np.argsort(np.argsort(-own, axis=1, kind="stable"), axis=1, kind="stable")
    row, column = np.nonzero(part.weight > 0)
    weight = part.weight[row, column].astype(np.float64)
    inside = float((weight / rank[row, column]).sum())
    whole = 1 + (scores[places[row]] > own[row, column][:, None]).sum(axis=1)
    gained = np.where(rank <= 10, part.weight * discounts[rank - 1], 0.0).sum(axis=1)
    best = (-np.sort(-part.weight, axis=1)[:, :10] * discounts[: part.weight.shape[1]][:10]).sum(axis=1)
    of_list = part.weight.sum(axis=1, dtype=np.float64)
    return np.array([inside, float((of_list * gained / best).sum()), float((weight / whole).sum())])


def retention(problem: Problem, items: ItemVectors, heads: QueryHeads) -> Retention:
    """How much of what captions of validation find among pictures, as the encoder gave them, they find with heads."""
    held = problem.captions.part("validation")
    known = np.flatnonzero(np.isin(held.products, items.images.products))[:_MOST_CAPTIONS]
    if not len(known):
        return Retention(0, 1.0, 1.0)
    texts, right = held.vectors[known], held.products[known]
    frozen = problem.frozen_items.images
    before = ranks_of(texts, right, frozen.vectors, frozen.products)
    after = ranks_of(heads.adapt("text", texts), right, items.images.vectors, items.images.products)
    return retention_of(before, after)


def through(problem: Problem, heads: ItemHeads | None) -> ItemVectors:
    """The items through heads of their own; without, as the live build has them."""
    return problem.items if heads is None else problem.frozen_items.through(heads)
