"""A log's lists as counts of impressions and clicks by context, query, product and rank: what propensities rest on."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.harvest import Clicks, Counts
from backend.ml.clicks.propensities import GROUPS, Evidence

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LISTS = 200_000
"""Lists that are counted at a time: beside the counts, memory stays at the rows of so many."""

_OWN = 10
"""Ranks up to this one stand for themselves."""

_LASTS = (14, 20, 30)
"""Behind them neighbouring ranks are one node, up to these: attention is low there and nearly flat, clicks are few."""


def nodes(length: int) -> Ints:
    """(length,) the node of each rank, from 0: ranks that are estimated together have the same."""
    ranks = np.arange(1, length + 1)
    return np.where(ranks <= _OWN, ranks - 1, _OWN + np.searchsorted(_LASTS, ranks))


@dataclass(frozen=True)
class Counted:
    """What was counted in each of c contexts.

    Args:
        evidence: (c,) what was harvested.
        lists: (c,) how many lists there were.
        seen: (c, length) products in view at each rank.
        clicked: (c, length) clicks there.
    """

    evidence: tuple[Evidence, ...]
    lists: Ints
    seen: Floats
    clicked: Floats


def counted(log: ClickLog, lists: Bools, length: int, *, by_coins: bool = False) -> Counted:
    """Count what was in view in these ``lists`` (m,) at ranks 1 to ``length``, context by context.

    A product of a query in one context is another pair than in the next: contexts are never compared with one another,
    for those who come from them differ.

    Args:
        log: the log.
        lists: which of its lists count.
        length: how many ranks.
        by_coins: also tell generations apart, so that nothing but the coins of one generation moves a product.
    """
    contexts, node = len(log.contexts), nodes(length)
    ranks = int(node[-1]) + 1 if length else 0
    keys = _Keys(log, ranks, by_coins=by_coins)
    distinct, times, clicks, units, seen, clicked = _blocks(log, lists, length, keys, node)
    edges = np.searchsorted(distinct, np.arange(contexts + 1) * keys.of_context)
    click_rows = np.searchsorted(distinct, clicks)
    clicks_of = np.bincount(click_rows, minlength=len(distinct)).astype(np.float64)
    evidence = []
    for begin, end in pairwise(edges.tolist()):
        counts = keys.counts(distinct[begin:end], times[begin:end].astype(np.float64), clicks_of[begin:end])
        own = (click_rows >= begin) & (click_rows < end)
        evidence.append(_evidence(counts, click_rows[own] - begin, units[own], ranks))
    here = np.bincount(log.lists.context[lists], minlength=contexts)
    return Counted(tuple(evidence), here, seen, clicked)


@dataclass(frozen=True)
class _Keys:
    """One number for a context, a query (in a generation), a product and a node: in this order when sorted."""

    log: ClickLog
    ranks: int
    by_coins: bool

    @property
    def generations(self) -> int:
        return int(self.log.lists.generation.max(initial=0)) + 1 if self.by_coins else 1

    @property
    def of_query(self) -> int:
        return len(self.log.products) * self.ranks

    @property
    def of_context(self) -> int:
        return len(self.log.asked.keys) * self.generations * self.of_query

    def of(self, lists: slice, of_list: Ints, product: NDArray[np.int32], node: Ints) -> Ints:
        """Of rows, whose lists are ``of_list`` within ``lists``."""
        asked = self.log.lists.query[lists].astype(np.int64)
        if self.by_coins:
            asked = asked * self.generations + self.log.lists.generation[lists]
        begin = self.log.lists.context[lists].astype(np.int64) * self.of_context + asked * self.of_query
        return np.asarray(begin[of_list] + product.astype(np.int64) * self.ranks + node)

    def counts(self, keys: Ints, seen: Floats, clicked: Floats) -> Counts:
        """Of distinct keys of one context."""
        within = keys % self.of_context
        pair = within // self.ranks
        _, number = np.unique(pair, return_inverse=True)
        query = within // self.of_query // self.generations
        return Counts(query, number.astype(np.int64), within % self.ranks + 1, seen, clicked)


def _blocks(
    log: ClickLog, lists: Bools, length: int, keys: _Keys, node: Ints
) -> tuple[Ints, Ints, Ints, Ints, Floats, Floats]:
    """Distinct keys with their impressions; key and shopper of each click; impressions and clicks by context, rank."""
    ends, places = log.ends, len(log.contexts) * length
    found, clicks, units = [np.zeros((2, 0), np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    seen, clicked = np.zeros((2, places))
    for begin in range(0, len(ends), _LISTS):
        chosen = slice(begin, min(begin + _LISTS, len(ends)))
        rows = slice(int(log.lists.start[begin]), int(ends[chosen.stop - 1]))
        of_list = np.repeat(np.arange(chosen.stop - begin), ends[chosen] - log.lists.start[chosen])
        position = log.rows.position[rows].astype(np.int64)
        click = log.rows.clicked[rows]
        known = (log.rows.viewed[rows] | click) & ~np.isnan(log.rows.p_show[rows]) & (position <= length)
        kept = np.flatnonzero(known & lists[chosen][of_list])
        of_list, position, click = of_list[kept], position[kept], click[kept]
        key = keys.of(chosen, of_list, log.rows.product[rows][kept], node[position - 1])
        found.append(np.stack(np.unique(key, return_counts=True)))
        clicks.append(key[click])
        units.append(log.lists.unit[chosen][of_list[click]].astype(np.int64))
        place = log.lists.context[chosen].astype(np.int64)[of_list] * length + position - 1
        seen += np.bincount(place, minlength=places)
        clicked += np.bincount(place[click], minlength=places)
    several, times = np.concatenate(found, axis=1)
    distinct, number = np.unique(several, return_inverse=True)
    shape = (len(log.contexts), length)
    impressions = np.bincount(number, times, len(distinct)).astype(np.int64)
    return (distinct, impressions, np.concatenate(clicks), np.concatenate(units),
            seen.reshape(shape), clicked.reshape(shape))  # fmt: skip


def _evidence(counts: Counts, click_rows: Ints, units: Ints, ranks: int) -> Evidence:
    """Of one context; only pairs that were seen at several ranks say anything."""
    compared = counts.compared(ranks)
    number = np.cumsum(compared) - 1
    kept = compared[click_rows]
    few = counts.where(compared)
    clicks = Clicks(number[click_rows[kept]], units[kept] % GROUPS, np.ones(int(kept.sum())))
    return Evidence(few, Evidence.of(few, ranks).by_query, clicks)
