"""What decides between epochs, seeds, scales and arms: lists of queries that nothing was learned from.

Their products are ordered anew, and only those that were in view: in the whole catalogue every product that was never
shown would count as bad, and the ranking that chose what was shown would always win.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.adapter_gate import Retention, retention_of
from backend.ml.click_training.examples import Examples
from backend.ml.click_training.gallery import Gallery, pair_scores
from backend.ml.click_training.problem import ItemVectors, Problem
from backend.ml.exact_ranks import ranks_of
from backend.ml.heads import ItemHeads, QueryHeads

Rows = NDArray[np.int64]

_MOST_CAPTIONS = 1000


@dataclass(frozen=True)
class Merit:
    """What heads come to on lists of validation, each click weighed.

    Args:
        ndcg: discounted gain of the first ten of a list ordered anew, over the best there is.
        mrr: reciprocal rank of a click in it.
        clicks: that it rests on.
    """

    ndcg: float
    mrr: float
    clicks: int

    def to_json(self) -> dict[str, Any]:
        """As reports keep it."""
        return {"ndcg_at_10": round(self.ndcg, 5), "mrr": round(self.mrr, 5), "clicks": self.clicks}


def merit(problem: Problem, held: Examples, gallery: Gallery, heads: QueryHeads) -> Merit:
    """What ``heads`` come to on the lists ``held``, over the items of ``gallery``."""
    row, column = np.nonzero(held.product >= 0)
    product = held.product[row, column].astype(np.int64)
    scores = np.full(held.product.shape, -np.inf)
    scores[row, column] = pair_scores(problem, gallery, heads, held.query[row], product)
    rank = 1 + np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
    weight = held.weight.astype(np.float64)
    best = _discounted(-np.sort(-weight, axis=1), np.arange(1, weight.shape[1] + 1)[None, :])
    shares = _discounted(weight, rank) / np.maximum(best, 1e-300)
    total = max(float(weight.sum()), 1e-12)
    return Merit(float((weight.sum(axis=1) * shares).sum()) / total, float((weight / rank).sum()) / total, held.clicks)


def _discounted(gains: NDArray[np.float64], rank: Rows) -> NDArray[np.float64]:
    """(l,) sums of gains over log2(1 + rank), of the first ten."""
    return np.asarray(np.where(rank <= 10, gains / np.log2(rank + 1.0), 0.0).sum(axis=1))


class Memory:
    """What captions of validation find among pictures: a thousand of them at most.

    Args:
        problem: whose captions.
    """

    def __init__(self, problem: Problem) -> None:
        held = problem.captions.part("validation")
        known = np.flatnonzero(np.isin(held.products, problem.items.images.products))[:_MOST_CAPTIONS]
        self._texts, self._right = held.vectors[known], held.products[known]
        self._frozen = problem.frozen_items.images

    def kept(self, items: ItemVectors, heads: QueryHeads) -> Retention:
        """How much of what they find as the encoder has it they find with heads."""
        if not len(self._texts):
            return Retention(0, 1.0, 1.0)
        texts = heads.adapt("text", self._texts)
        return retention_of(self._before, ranks_of(texts, self._right, items.images.vectors, items.images.products))

    @cached_property
    def _before(self) -> Rows:
        return ranks_of(self._texts, self._right, self._frozen.vectors, self._frozen.products)


def through(problem: Problem, heads: ItemHeads | None) -> ItemVectors:
    """The items through heads of their own; without, as the live build has them."""
    return problem.items if heads is None else problem.frozen_items.through(heads)
