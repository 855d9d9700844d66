"""Estimates of relevance in place of clicks: what a model expects, corrected by what was clicked beyond it.

    R(q, d) = γ̂ + Σ (c - θ γ̂) / max(Σ θ, 1)

over the impressions of a query and a product, γ̂ fitted to other shoppers' clicks: the doubly robust estimate
(Oosterhuis, arXiv 2203.17118, equation 29) of one pair, its exposure clipped from below at one look. Most pairs have
few looks: clipped at more they would be what the model says, which knows hardly more than the encoder. All that was in
view for a query is one list, also of those lists that nothing was clicked in. What never was stays out: there the
estimate would be the model's word alone, and in simulations it taught nothing.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backend.ml.click_training.examples import Examples, newest, padded, queries_of, useful_rows
from backend.ml.click_training.gallery import Gallery, pair_scores
from backend.ml.click_training.plan import ClickPlan
from backend.ml.click_training.problem import Problem
from backend.ml.click_training.weights import Clicks, capped, cells_of, lifted, share_of_heaviest, shares_left
from backend.ml.clicks.attention import Pairs
from backend.ml.clicks.counterfactual import Log
from backend.ml.clicks.relevance_model import relevance_model
from backend.ml.heads import QueryHeads

Rows = NDArray[np.int64]
Weights = NDArray[np.float64]

MOST = 100
"""Products of a list: the first of the ranking in use of those that were in view."""

LEAST_LOOKS = 1.0
"""Looks that a pair is taken to have had at least: fewer are divided by these."""


def doubly_robust_examples(problem: Problem, plan: ClickPlan) -> Examples:
    """A list for each query of the training part: its products in the order of the ranking in use, R as weights.

    What a shopper said of a product for a query is a look that is certain, clicked or not.
    """
    log, of = problem.log, problem.log.list_of_rows()
    useful, asked = useful_rows(log), queries_of(log, "training", plan)
    lists = newest(log, useful, of, asked, plan.most_lists)
    chosen = np.zeros(len(log.lists.start), dtype=np.bool_)
    chosen[lists] = True
    rows, judged = np.flatnonzero(useful & chosen[of]), np.flatnonzero(asked[log.judgements.query])
    clicks = Clicks.of(log, problem.theta, rows, of[rows]).and_judgements(log, judged)
    product = np.concatenate([log.rows.product[rows], log.judgements.product[judged]])
    keys = clicks.query.astype(np.int64) * len(log.products) + product
    pairs = Pairs.of(keys, len(log.products))
    place = np.searchsorted(pairs.keys(len(log.products)), keys)
    live = Gallery(problem.items, log.products)
    encoder = live if problem.raw is None else Gallery(problem.raw, log.products)
    counted = _counted(clicks, plan)
    frozen = pair_scores(problem, encoder, QueryHeads(), pairs.query, pairs.product)
    relevance = _estimated(pairs, place, clicks, counted, frozen)
    clicked = np.bincount(place, clicks.label > 0, len(pairs.query)) > 0
    score = pair_scores(problem, live, problem.production, pairs.query, pairs.product)
    found = _listed(pairs, relevance, _traffic(problem, lists, judged, plan), clicked, score, plan)
    units = len(np.unique(clicks.unit[clicks.label > 0]))
    of_one = share_of_heaviest(np.minimum(clicks.label, 1.0) * counted, clicks.unit)
    return replace(found, units=units, heaviest=(found.heaviest[0], of_one))


def _counted(clicks: Clicks, plan: ClickPlan) -> Weights:
    """(n,) what each look counts, clicked or not: halved by age, lifted in a rare cell, capped by its shopper's share.

    A shopper whose clicks count for less has looked less, too: else what they looked at would seem not to please.
    """
    each = 0.5 ** (clicks.age / plan.half_life) * lifted(clicks.cell, plan.most_lifted)
    gained = np.minimum(clicks.label, 1.0) * each / np.maximum(clicks.theta, 1.0 / plan.most_weight)
    return np.asarray(each * shares_left(gained, clicks.query, clicks.unit, 1.0, plan.unit_share))


def _estimated(pairs: Pairs, place: Rows, clicks: Clicks, counted: Weights, frozen: Weights) -> Weights:
    """(p,) R of each pair, 0 to 1."""
    gained, looks = np.minimum(clicks.label, 1.0) * counted, clicks.theta * counted
    exposure = np.bincount(place, looks, len(pairs.query)).astype(np.float64)
    fold = (clicks.unit % 2).astype(np.int64)
    log = Log(clicks.query.astype(np.int64), clicks.unit.astype(np.int64), fold, np.arange(len(place)), place, gained,
              looks, pairs.query, exposure)  # fmt: skip
    model = relevance_model(log, pairs.product, frozen)
    beyond = np.bincount(place, gained - looks * model[fold, place], len(pairs.query))
    return np.asarray(np.clip(model.mean(axis=0) + beyond / np.maximum(exposure, LEAST_LOOKS), 0.0, 1.0))


def _traffic(problem: Problem, lists: Rows, judged: Rows, plan: ClickPlan) -> Weights:
    """(q,) what each query counts: its lists, weighed as looks are, and who said something of it; capped."""
    log = problem.log
    age = (log.lists.served.max(initial=0.0) - log.lists.served[lists]) / 86_400.0
    said = np.unique(np.stack([log.judgements.query[judged], log.judgements.unit[judged]]), axis=1)
    query = np.concatenate([log.lists.query[lists], said[0]]).astype(np.int64)
    unit = np.concatenate([log.lists.unit[lists], said[1]])
    shown = 0.5 ** (age / plan.half_life) * lifted(cells_of(log, lists), plan.most_lifted)
    weights = np.concatenate([shown, np.ones(said.shape[1])])
    weights = capped(weights, query, unit, plan.query_share, plan.unit_share)
    return np.bincount(query, weights, len(log.asked.keys)).astype(np.float64)


def _listed(
    pairs: Pairs, relevance: Weights, traffic: Weights, clicked: NDArray[np.bool_], score: Weights, plan: ClickPlan
) -> Examples:
    """A list for each query with something relevant, of mean weight 1; none has more than a query's share of it."""
    order = np.lexsort((-score, pairs.query))
    ahead = np.arange(len(order)) - np.searchsorted(pairs.query[order], pairs.query[order])
    order = order[ahead < MOST]
    query, product = pairs.query[order], pairs.product[order].astype(np.int32)
    weight = capped((relevance * traffic[pairs.query])[order], query, query, plan.query_share, 1.0)
    heaviest = share_of_heaviest(weight, query)
    queries, of = np.unique(query, return_inverse=True)
    if len(weight):
        weight = weight / max(float(weight.mean()), 1e-12)
    products, weights = padded(of, product, weight.astype(np.float32))
    _, chosen = padded(of, product, clicked[order].astype(np.float32))
    return Examples(queries, products, weights, (chosen > 0) & (weights > 0), 0, (heaviest, 0.0))
