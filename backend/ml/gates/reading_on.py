"""The gain under the dependent click model: lists are read from the top, and on after a click with a chance.

Before the first click everything in view was looked at; attention falls with clicks and not with the place (Guo, Liu
and Wang, "Efficient Multiple-Click Models in Web Search", WSDM 2009). Where the log does not speak against such
shoppers, a candidate whose gain turns into a loss under them gains by an assumption.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.counterfactual import Log
from backend.ml.clicks.estimates import Z95, clustered_deviation
from backend.ml.clicks.policy_log import PolicyLog
from backend.ml.clicks.relevance_model import relevance_model
from backend.ml.gates.held_out import summed

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_LEAST = 1e-6


def read_relevance(log: Log, product: Ints, frozen: Floats) -> Floats:
    """(2, p) chance of each pair to be clicked when looked at, of what stands above each list's last click.

    Where nothing was clicked all of the list was read; each fold's is made from the other's shoppers.
    """
    last = np.full(log.impressions, -1)
    clicked = log.clicked > 0
    np.maximum.at(last, log.impression[clicked], np.flatnonzero(clicked))
    read = np.arange(len(log.impression)) <= np.where(last < 0, len(log.impression), last)[log.impression]
    seen = replace(
        log,
        impression=log.impression[read],
        pair=log.pair[read],
        clicked=log.clicked[read],
        alpha=np.ones(int(read.sum())),
    )
    return relevance_model(seen, product, frozen)


def going_on(log: Log) -> float:
    """Chance that a click is followed by another one of its list; one that is and one that is not are added."""
    clicks = np.bincount(log.impression[log.clicked > 0], minlength=log.impressions)
    return float((np.maximum(clicks - 1, 0).sum() + 1) / (clicks.sum() + 2))


def looked_at(clicked: NDArray[np.bool_], chances: Floats, going: float) -> Floats:
    """(m, k) chance that each place is looked at, given what was clicked above it.

    It is 1 at the first, ``going`` after a click, and e (1 - gamma) / (1 - e gamma) after a place of chance e that was
    not clicked: it may not have been looked at.

    Args:
        clicked: (m, k).
        chances: (m, k) gamma.
        going: chance of reading on after a click.
    """
    found = np.ones(chances.shape)
    for place in range(1, chances.shape[1]):
        before, gamma = found[:, place - 1], chances[:, place - 1]
        passed = before * (1 - gamma) / np.maximum(1 - before * gamma, _LEAST)
        found[:, place] = np.where(clicked[:, place - 1], going, passed)
    return found


def speaks_against(log: Log, by_place: Floats, read: Floats, going: float) -> bool:
    """Whether the position-based model foretells the log's clicks better than the dependent one, beyond doubt.

    Both are asked for the chance of each row's click; the mean difference of their logarithms a list is compared with
    its error over shoppers.

    Args:
        log: with the propensities of its places.
        by_place: (2, p) gamma of the position-based model, a row for each fold.
        read: (2, p) likewise of the dependent one.
        going: chance of reading on after a click.
    """
    fold = log.fold[log.impression]
    counts = np.bincount(log.impression, minlength=log.impressions)
    column = np.arange(len(log.impression)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (log.impressions, int(counts.max(initial=1)))
    clicked, chances = np.zeros(shape, np.bool_), np.zeros(shape)
    clicked[log.impression, column] = log.clicked > 0
    chances[log.impression, column] = read[fold, log.pair]
    reading = (looked_at(clicked, chances, going) * chances)[log.impression, column]
    placed = log.alpha * by_place[fold, log.pair]
    difference = _log_chance(log.clicked > 0, placed) - _log_chance(log.clicked > 0, reading)
    each = summed(log.impression, difference, log.impressions)
    return bool(each.mean() > Z95 * clustered_deviation(each, log.unit))


def _log_chance(clicked: NDArray[np.bool_], chance: Floats) -> Floats:
    chance = np.clip(chance, _LEAST, 1 - _LEAST)
    return np.asarray(np.log(np.where(clicked, chance, 1 - chance)))


def read_on_value(chances: Floats, view: Floats, going: float) -> Floats:
    """(q,) clicks expected of lists.

    Args:
        chances: (q, k) gamma by place.
        view: (q, k) P(in view) by place.
        going: chance of reading on after a click.
    """
    read_on = 1.0 - chances * (1.0 - going)
    looked = np.cumprod(np.concatenate([np.ones((len(chances), 1)), read_on[:, :-1]], axis=1), axis=1)
    return np.asarray((view * looked * chances).sum(axis=1))


def read_on_gain(policies: PolicyLog, products: int, read: Floats, tops: tuple[Ints, Ints]) -> float:
    """Clicks a list that the first of ``tops`` (q, k) expects more than the second.

    Args:
        policies: both, where every place in view is looked at: its attention is P(in view).
        products: how many the gallery has.
        read: (2, p) as :func:`read_relevance` has it, of the pairs of ``policies``.
        tops: what both show for each query; -1 for none.
    """
    log, gamma, going = policies.log, read.mean(axis=0), going_on(policies.log)
    asked = np.bincount(log.query, minlength=len(tops[0])).astype(np.float64)
    rows = np.flatnonzero(asked)
    keys = policies.pairs.keys(products)
    values = []
    for top, view in zip(tops, policies.attention.values(), strict=True):
        known = top[rows] >= 0
        place = np.searchsorted(keys, rows[:, None] * products + np.maximum(top[rows], 0))
        place = np.where(known, np.minimum(place, len(keys) - 1), 0)
        values.append(read_on_value(np.where(known, gamma[place], 0.0), np.where(known, view[place], 0.0), going))
    return float(asked[rows] @ (values[0] - values[1]) / asked.sum())
