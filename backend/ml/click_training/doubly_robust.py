"""Estimates of relevance in place of clicks: what a model expects, corrected by what was clicked beyond it.

    R(q, d) = γ̂ + Σ (c - θ γ̂) / max(Σ θ, s)

over the impressions of a query and a product, γ̂ fitted to other shoppers' clicks: the doubly robust estimate
(Oosterhuis, arXiv 2203.17118, equation 29) of one pair, its exposure clipped from below at s. All that was in view for
a query is one list, also of those lists that nothing was clicked in. What never was stays out: there the estimate would
be the model's word alone, and in simulations it taught nothing.
"""

import numpy as np
from numpy.typing import NDArray

from backend.ml.click_training.examples import Examples, newest, padded, queries_of, useful_rows
from backend.ml.click_training.gallery import Gallery
from backend.ml.click_training.plan import ClickPlan
from backend.ml.click_training.problem import Problem
from backend.ml.click_training.validation import adapted
from backend.ml.click_training.weights import Clicks, capped, share_of_heaviest
from backend.ml.clicks.attention import Pairs
from backend.ml.clicks.counterfactual import Log
from backend.ml.clicks.relevance_model import STRENGTH, relevance_model
from backend.ml.heads import QueryHeads

Rows = NDArray[np.int64]
Weights = NDArray[np.float64]

MOST = 100
"""Products of a list: the first of the ranking in use of those that were in view."""


def doubly_robust_examples(problem: Problem, plan: ClickPlan) -> Examples:
    """A list for each query of the training part: its products in the order of the ranking in use, R as weights."""
    log, of = problem.log, problem.log.list_of_rows()
    useful = useful_rows(log)
    lists = newest(log, useful, of, queries_of(log, "training", plan), plan.most_lists)
    chosen = np.zeros(len(log.lists.start), dtype=np.bool_)
    chosen[lists] = True
    rows = np.flatnonzero(useful & chosen[of])
    clicks = Clicks.of(log, problem.theta, rows, of[rows])
    old = 0.5 ** (clicks.age / plan.half_life)
    gained = np.minimum(clicks.label, 1.0) * old
    kept = _kept(gained, clicks, plan)
    keys = clicks.query.astype(np.int64) * len(log.products) + log.rows.product[rows]
    live = Gallery(problem.items, log.products)
    pairs = Pairs.of(keys, len(log.products))
    place = np.searchsorted(pairs.keys(len(log.products)), keys)
    encoder = live if problem.raw is None else Gallery(problem.raw, log.products)
    frozen = _scores(problem, encoder, QueryHeads(), pairs)
    relevance = _estimated(pairs, place, gained * kept, clicks, old, frozen)
    clicked = np.bincount(place, clicks.label > 0, len(pairs.query)) > 0
    shares = share_of_heaviest(gained * kept, clicks.query), share_of_heaviest(gained * kept, clicks.unit)
    units = len(np.unique(clicks.unit[clicks.label > 0]))
    traffic = _traffic(problem, lists, plan)
    return _listed(pairs, relevance, traffic, clicked, _scores(problem, live, problem.production, pairs), units, shares)


def _kept(gained: Weights, clicks: Clicks, plan: ClickPlan) -> Weights:
    """(n,) share that the caps of its query and of its shopper leave of each click."""
    weights = gained / np.maximum(clicks.theta, 1.0 / plan.most_weight)
    lower = capped(weights, clicks.query, clicks.unit, plan.query_share, plan.unit_share)
    return np.divide(lower, weights, out=np.ones_like(weights), where=weights > 0)


def _estimated(pairs: Pairs, place: Rows, gained: Weights, clicks: Clicks, old: Weights, frozen: Weights) -> Weights:
    """(p,) R of each pair, 0 to 1."""
    looks = clicks.theta * old
    exposure = np.bincount(place, looks, len(pairs.query)).astype(np.float64)
    fold = (clicks.unit % 2).astype(np.int64)
    log = Log(clicks.query.astype(np.int64), clicks.unit.astype(np.int64), fold, np.arange(len(place)), place, gained,
              looks, pairs.query, exposure)  # fmt: skip
    model = relevance_model(log, pairs.product, frozen)
    beyond = np.bincount(place, gained - looks * model[fold, place], len(pairs.query))
    return np.asarray(np.clip(model.mean(axis=0) + beyond / np.maximum(exposure, STRENGTH), 0.0, 1.0))


def _traffic(problem: Problem, lists: Rows, plan: ClickPlan) -> Weights:
    """(q,) what each query counts: its lists, halved by age, of which no query has more than its share."""
    log = problem.log
    age = (log.lists.served.max(initial=0.0) - log.lists.served[lists]) / 86_400.0
    query = log.lists.query[lists].astype(np.int64)
    weights = capped(0.5 ** (age / plan.half_life), query, log.lists.unit[lists], plan.query_share, plan.unit_share)
    return np.bincount(query, weights, len(log.asked.keys)).astype(np.float64)


def _listed(
    pairs: Pairs,
    relevance: Weights,
    traffic: Weights,
    clicked: NDArray[np.bool_],
    score: Weights,
    units: int,
    heaviest: tuple[float, float],
) -> Examples:
    """A list for each query with something relevant, of mean weight 1."""
    order = np.lexsort((-score, pairs.query))
    ahead = np.arange(len(order)) - np.searchsorted(pairs.query[order], pairs.query[order])
    order = order[ahead < MOST]
    query, product = pairs.query[order], pairs.product[order].astype(np.int32)
    weight = (relevance * traffic[pairs.query])[order]
    queries, of = np.unique(query, return_inverse=True)
    if len(weight):
        weight = weight / max(float(weight.mean()), 1e-12)
    products, weights = padded(of, product, weight.astype(np.float32))
    _, chosen = padded(of, product, clicked[order].astype(np.float32))
    return Examples(queries, products, weights, (chosen > 0) & (weights > 0), units, heaviest)


def _scores(problem: Problem, gallery: Gallery, heads: QueryHeads, pairs: Pairs) -> Weights:
    """(p,) the one score of each pair through ``heads``."""
    queries, places = np.unique(pairs.query, return_inverse=True)
    kinds = np.array(problem.log.asked.kinds, dtype="U10")[queries]
    return gallery.scores(adapted(problem, heads, queries), places, pairs.product, problem.calibration, kinds)
