"""Lists to learn from: what was in view, and how much each click in it counts."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.click_training.gallery import Gallery, pair_scores
from backend.ml.click_training.plan import ClickPlan, Labels
from backend.ml.click_training.problem import Problem
from backend.ml.click_training.weights import Clicks, effective, share_of_heaviest, weights_of
from backend.ml.clicks.click_log import ClickLog, Part

Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEARNED = ("text", "image")
"""Kinds of query that go through one head; others are mixtures, and products are asked as the index holds them."""


@dataclass(frozen=True)
class Examples:
    """l lists of up to k products that were in view.

    Args:
        query: (l,) row in ``Asked``.
        product: (l, k) row in the gallery, in the order shown, or in that of the ranking in use where no list was;
            -1 where a list is shorter.
        weight: (l, k) what each counts; 0 where nothing speaks for it.
        clicked: (l, k) what somebody chose.
        units: shoppers that they come from.
        heaviest: greatest share of all weight of one query, and of one shopper.
    """

    query: Rows
    product: NDArray[np.int32]
    weight: NDArray[np.float32]
    clicked: Bools
    units: int
    heaviest: tuple[float, float]

    def __len__(self) -> int:
        return len(self.query)

    @property
    def clicks(self) -> int:
        """How many were chosen."""
        return int(self.clicked.sum())

    @property
    def effective(self) -> float:
        """Effective number of clicks."""
        return effective(self.weight[self.clicked])

    def only(self, rows: Rows) -> "Examples":
        """Some of the lists."""
        return replace(self, query=self.query[rows], product=self.product[rows], weight=self.weight[rows],
                       clicked=self.clicked[rows])  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """What reports say of them."""
        return {
            "lists": len(self),
            "clicks": self.clicks,
            "effective_clicks": round(self.effective, 1),
            "queries": len(np.unique(self.query)),
            "units": self.units,
            "heaviest_query": round(self.heaviest[0], 5),
            "heaviest_unit": round(self.heaviest[1], 5),
        }


def examples(problem: Problem, part: Part, plan: ClickPlan, labels: Labels) -> Examples:
    """Lists of one part with a click that counts, the newest where there are too many, and what was judged beside."""
    log, of = problem.log, problem.log.list_of_rows()
    useful, asked = useful_rows(log), queries_of(log, part, plan)
    positive = useful & (log.rows.label > 0)
    lists = newest(log, positive, of, asked, plan.most_lists)
    place = np.full(len(log.lists.start), -1)
    place[lists] = np.arange(len(lists))
    rows, shown = np.flatnonzero(positive & (place[of] >= 0)), np.flatnonzero(useful & (place[of] >= 0))
    judged = _judged(problem, asked)
    clicks = Clicks.of(log, problem.theta, rows, of[rows]).and_judgements(log, judged)
    weights = weights_of(clicks, plan, labels)
    of_rows = np.zeros(len(of), dtype=np.float32)
    of_rows[rows] = weights[: len(rows)]
    found = padded(
        np.concatenate([place[of[shown]], len(lists) + _numbered(log.judgements.query[judged])]),
        np.concatenate([log.rows.product[shown], log.judgements.product[judged]]),
        np.concatenate([of_rows[shown], weights[len(rows) :].astype(np.float32)]),
    )
    queries = np.concatenate([log.lists.query[lists], np.unique(log.judgements.query[judged])]).astype(np.int64)
    heaviest = (share_of_heaviest(weights, clicks.query), share_of_heaviest(weights, clicks.unit))
    heard = len(np.unique(clicks.unit[weights > 0]))
    return Examples(queries, *found, found[1] > 0, heard, heaviest if len(weights) else (0.0, 0.0))


def _judged(problem: Problem, asked: Bools) -> Rows:
    """Rows of what was judged for queries (q,) that are ``asked``, what the ranking in use has first at the front.

    They were not shown as a list; what may be lifted or lowered is told by the place that they would have.
    """
    told = problem.log.judgements
    rows = np.flatnonzero(asked[told.query])
    if not len(rows):
        return rows
    live = Gallery(problem.items, problem.log.products)
    query, product = (one[rows].astype(np.int64) for one in (told.query, told.product))
    return rows[np.argsort(-pair_scores(problem, live, problem.production, query, product), kind="stable")]


def useful_rows(log: ClickLog) -> Bools:
    """(n,) rows that say something: known to have been in view, shown with known odds."""
    rows = log.rows
    return np.asarray((rows.viewed | rows.clicked) & ~np.isnan(rows.p_show))


def queries_of(log: ClickLog, part: Part, plan: ClickPlan) -> Bools:
    """(q,) queries of this part whose kind a head is trained for."""
    kinds = np.array(log.asked.kinds, dtype="U10")
    learned = np.isin(kinds, LEARNED)
    satisfied = log.rows.satisfied & (kinds == "image")[log.lists.query[log.list_of_rows()]]
    if int(satisfied.sum()) < plan.least_clicks:
        learned &= kinds != "image"
    return np.asarray(learned & (log.asked.parts() == part))


def newest(log: ClickLog, rows: Bools, of: Rows, asked: Bools, most: int) -> Rows:
    """(l,) up to ``most`` lists of these queries that have one of ``rows`` (n,), the newest, in their order."""
    chosen = np.zeros(len(log.lists.start), dtype=np.bool_)
    chosen[of[rows]] = True
    chosen &= asked[log.lists.query]
    lists = np.flatnonzero(chosen)
    return np.sort(lists[np.argsort(-log.lists.served[lists], kind="stable")[:most]])


def _numbered(values: NDArray[np.int32]) -> Rows:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def padded(
    of: Rows, product: NDArray[np.int32], weight: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(l, k) of rows (n,) of the lists ``of`` (n,), numbered from 0 on, none of which is empty; -1 fills up."""
    order = np.argsort(of, kind="stable")
    of, product, weight = of[order], product[order], weight[order]
    lists = int(of.max(initial=-1)) + 1
    column = np.arange(len(of)) - np.searchsorted(of, np.arange(lists))[of]
    products = np.full((lists, int(column.max(initial=0)) + 1), -1, dtype=np.int32)
    weights = np.zeros(products.shape, dtype=np.float32)
    products[of, column], weights[of, column] = product, weight
    return products, weights
