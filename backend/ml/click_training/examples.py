"""Lists to learn from: what was in view, and how much each click in it counts."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.click_training.plan import ClickPlan, Labels
from backend.ml.click_training.problem import Problem
from backend.ml.click_training.weights import Weights, click_weights, share_of_heaviest
from backend.ml.clicks.click_log import ClickLog, Part

Rows = NDArray[np.int64]

LEARNED = ("text", "image")
"""Kinds of query that go through one head; others are mixtures, and products are asked as the index holds them."""


@dataclass(frozen=True)
class Examples:
    """l lists of up to k products that were in view.

    Args:
        query: (l,) row in ``Asked``.
        product: (l, k) row in the gallery; -1 where a list is shorter.
        weight: (l, k) what each click counts; 0 where none was.
        units: shoppers that they come from.
        heaviest: greatest share of all weight of one query, and of one shopper.
    """

    query: Rows
    product: NDArray[np.int32]
    weight: NDArray[np.float32]
    units: int
    heaviest: tuple[float, float]

    def __len__(self) -> int:
        return len(self.query)

    @property
    def clicks(self) -> int:
        """Rows with a weight."""
        return int((self.weight > 0).sum())

    def only(self, rows: Rows) -> "Examples":
        """Some of the lists."""
        return replace(self, query=self.query[rows], product=self.product[rows], weight=self.weight[rows])

    def to_json(self) -> dict[str, Any]:
        """What reports say of them."""
        return {
            "lists": len(self),
            "clicks": self.clicks,
            "queries": len(np.unique(self.query)),
            "units": self.units,
            "heaviest_query": round(self.heaviest[0], 5),
            "heaviest_unit": round(self.heaviest[1], 5),
        }


def examples(problem: Problem, part: Part, plan: ClickPlan, labels: Labels) -> Examples:
    """Lists of one part with a click that counts, the newest first to be kept where there are too many."""
    log = problem.log
    useful = _useful(log) & (problem.log.rows.label > 0)
    of = log.list_of_rows()
    chosen = np.zeros(len(log.lists.start), dtype=np.bool_)
    chosen[of[useful]] = True
    chosen &= _of_part(log, part, plan)[log.lists.query]
    lists = np.flatnonzero(chosen)
    lists = np.sort(lists[np.argsort(-log.lists.served[lists], kind="stable")[: plan.most_lists]])
    chosen[:] = False
    chosen[lists] = True
    rows = np.flatnonzero(useful & chosen[of])
    weights = click_weights(log, problem.theta, rows, of[rows], plan, labels)
    return _padded(log, lists, of, rows, weights)


def _padded(log: ClickLog, lists: Rows, of: Rows, rows: Rows, weights: Weights) -> Examples:
    place = np.full(len(log.lists.start), -1)
    place[lists] = np.arange(len(lists))
    shown = np.flatnonzero(_useful(log) & (place[of] >= 0))
    row = place[of[shown]]
    first = np.searchsorted(row, np.arange(len(lists)))
    column = np.arange(len(shown)) - first[row]
    width = int(column.max(initial=0)) + 1
    product = np.full((len(lists), width), -1, dtype=np.int32)
    product[row, column] = log.rows.product[shown]
    weight = np.zeros((len(lists), width), dtype=np.float32)
    at = np.searchsorted(shown, rows)
    weight[row[at], column[at]] = weights
    queries, units = log.lists.query[of[rows]], log.lists.unit[of[rows]]
    heaviest = (share_of_heaviest(weights, queries), share_of_heaviest(weights, units)) if len(rows) else (0.0, 0.0)
    return Examples(log.lists.query[lists].astype(np.int64), product, weight, len(np.unique(units)), heaviest)


def _useful(log: ClickLog) -> NDArray[np.bool_]:
    """(n,) rows that say something: known to have been in view, shown with known odds."""
    rows = log.rows
    return np.asarray((rows.viewed | rows.clicked) & ~np.isnan(rows.p_show))


def _of_part(log: ClickLog, part: Part, plan: ClickPlan) -> NDArray[np.bool_]:
    """(q,) queries of this part whose kind a head is trained for."""
    kinds = np.array(log.asked.kinds, dtype="U10")
    learned = np.isin(kinds, LEARNED)
    satisfied = log.rows.satisfied & (kinds == "image")[log.lists.query[log.list_of_rows()]]
    if int(satisfied.sum()) < plan.least_clicks:
        learned &= kinds != "image"
    return np.asarray(learned & (log.asked.parts() == part))
