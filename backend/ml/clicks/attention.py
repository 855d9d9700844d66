"""How much attention rankings give to products: the one that was logged over its coins, and any other.

A place in a context has attention a = P(in view) * theta, the first from what browsers tell, the second estimated. Of
a query q, averaged over its T lists in the window, with all of their coins, contexts and rankers,

    rho(q, d) = 1/T sum_t E_coins[a(rank of d)]    and    omega(q, d) = 1/T sum_t a(rank of d under the policy)

Policy-aware propensities (Oosterhuis and de Rijke, SIGIR 2020, arXiv 2005.09035) over many logging policies
(intervention-aware, arXiv 2012.04426).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.context_propensities import ContextPropensities

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_LISTS = 200_000
"""Lists that are looked at at a time."""

_FROM_ALL = 20.0
"""How many products in view the average over contexts counts as where a context has few lists."""

_LEAST_VIEW = 1e-3
"""No place that is shown is never in view."""


@dataclass(frozen=True)
class Attention:
    """Of every place in every context of a log.

    Args:
        theta: (contexts, length) P(looked at | in view), relative to rank 1.
        view: (contexts, length) P(in view).
    """

    theta: Floats
    view: Floats

    @property
    def of_places(self) -> Floats:
        """(contexts, length) a."""
        return np.asarray(self.theta * self.view)

    @classmethod
    def of(cls, log: ClickLog, propensities: ContextPropensities, length: int | None = None) -> "Attention":
        """Of ranks 1 to ``length``; None: as long as the log's lists."""
        longest = max(int(log.rows.position.max(initial=1)), 1)
        shown, viewed = np.zeros((2, len(log.contexts) * longest))
        for lists, rows, of_list in blocks(log):
            place = log.lists.context[lists].astype(np.int64)[of_list] * longest + log.rows.position[rows] - 1
            shown += np.bincount(place, minlength=len(shown))
            viewed += np.bincount(place, log.rows.viewed[rows] | log.rows.clicked[rows], len(viewed))
        shown, viewed = shown.reshape(-1, longest), viewed.reshape(-1, longest)
        share = viewed.sum(axis=0) / np.maximum(shown.sum(axis=0), 1)
        view = np.maximum((viewed + _FROM_ALL * share) / (shown + _FROM_ALL), _LEAST_VIEW)
        wanted = np.minimum(np.arange(length or longest), longest - 1)
        return cls(propensities.table(log, len(wanted)), view[:, wanted])


@dataclass(frozen=True)
class Pairs:
    """Distinct (query, product), ascending; (p,) each.

    Args:
        query: row in the log's queries.
        product: row in its gallery.
    """

    query: Ints
    product: Ints

    @classmethod
    def of(cls, keys: Ints, products: int) -> "Pairs":
        """From numbers ``query * products + product``."""
        return cls(*np.divmod(np.unique(keys), products))

    def keys(self, products: int) -> Ints:
        """(p,) such a number of each."""
        return self.query * products + self.product


def usable_lists(log: ClickLog) -> Bools:
    """(m,) lists that hold something, all of it with known odds."""
    known = np.zeros(len(log.lists.start), dtype=np.bool_)
    for lists, rows, of_list in blocks(log):
        size = lists.stop - lists.start
        unknown = np.bincount(of_list, np.isnan(log.rows.p_show[rows]), size)
        known[lists] = (np.bincount(of_list, minlength=size) > 0) & (unknown == 0)
    return known


def lists_of_queries(log: ClickLog, lists: Bools) -> Ints:
    """(q,) how many of these lists each query has."""
    return np.bincount(log.lists.query[lists], minlength=len(log.asked.keys)).astype(np.int64)


def logged_attention(log: ClickLog, attention: Attention, lists: Bools) -> tuple[Pairs, Floats]:
    """Pairs that these ``lists`` (m,) show or by their coins could have shown, and rho (p,) of each, above 0."""
    products, of_places = len(log.products), attention.of_places
    keys, given = [np.zeros(0, np.int64)], [np.zeros(0)]
    for key, weight in _expected(log, of_places, lists):
        distinct, number = np.unique(key, return_inverse=True)
        keys.append(distinct)
        given.append(np.bincount(number, weight, len(distinct)).astype(np.float64))
    distinct, number = np.unique(np.concatenate(keys), return_inverse=True)
    total = np.bincount(number, np.concatenate(given), len(distinct))
    pairs = Pairs.of(distinct, products)
    return pairs, total / lists_of_queries(log, lists)[pairs.query]


def policy_attention(
    log: ClickLog, attention: Attention, lists: Bools, top: NDArray[np.integer], pairs: Pairs
) -> Floats:
    """Attention omega (p,) to ``pairs`` under a policy that shows ``top`` to everybody; 0 to what it does not show.

    Args:
        log: whose queries and contexts they are.
        attention: of places.
        lists: (m,) which of its lists count.
        top: (q, k) rows in the gallery for each query of the log, best first; -1 is an empty place.
        pairs: as :func:`shown_pairs` makes them, so that none of the policy's is left out.
    """
    products, queries = len(log.products), len(log.asked.keys)
    depth = min(top.shape[1], attention.theta.shape[1])
    contexts = len(log.contexts)
    of = log.lists.query[lists].astype(np.int64) * contexts + log.lists.context[lists]
    share = np.bincount(of, minlength=queries * contexts).reshape(queries, contexts).astype(np.float64)
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1)
    given = share @ attention.of_places[:, :depth]
    placed = top[:, :depth] >= 0
    keys = (np.arange(queries)[:, None] * products + top[:, :depth])[placed]
    own = pairs.keys(products)
    place = np.searchsorted(own, keys)
    place[place == len(own)] = 0
    found = own[place] == keys if len(own) else np.zeros(len(keys), dtype=np.bool_)
    return np.bincount(place[found], given[placed][found], len(own)).astype(np.float64)


def shown_pairs(log: ClickLog, logged: Pairs, lists: Bools, *tops: NDArray[np.integer]) -> Pairs:
    """``logged`` and what each policy of ``tops`` (q, k) shows for queries that these lists ask."""
    products, asked = len(log.products), lists_of_queries(log, lists) > 0
    keys = [logged.keys(products)]
    for top in tops:
        wanted = (top >= 0) & asked[:, None]
        keys.append((np.arange(len(top))[:, None] * products + top)[wanted])
    return Pairs.of(np.concatenate(keys), products)


def blocks(log: ClickLog) -> Iterator[tuple[slice, slice, Ints]]:
    """Lists, their rows and (rows,) the list of each row within them, so many at a time that memory stays bounded."""
    ends = log.ends
    for begin in range(0, len(ends), _LISTS):
        lists = slice(begin, min(begin + _LISTS, len(ends)))
        rows = slice(int(log.lists.start[begin]), int(ends[lists.stop - 1]))
        yield lists, rows, np.repeat(np.arange(lists.stop - begin), ends[lists] - log.lists.start[lists])


def _expected(log: ClickLog, of_places: Floats, lists: Bools) -> Iterator[tuple[Ints, Floats]]:
    """Keys of pairs and the attention that a list gives: as it stood, or over its coins where it had some."""
    products, longest = len(log.products), of_places.shape[1]
    tossed = np.zeros(len(lists), dtype=np.bool_)
    tossed[log.coins.list] = True
    for chosen, rows, of_list in blocks(log):
        kept = np.flatnonzero((lists & ~tossed)[chosen][of_list])
        query = log.lists.query[chosen].astype(np.int64)[of_list[kept]]
        place = log.rows.position[rows][kept] - 1
        context = log.lists.context[chosen][of_list[kept]]
        yield query * products + log.rows.product[rows][kept], of_places[context, place]
    entries = len(log.coins.of)
    for begin in range(0, entries, _LISTS * 10):
        some = slice(begin, min(begin + _LISTS * 10, entries))
        of = log.coins.list[log.coins.of[some]]
        kept = np.flatnonzero(lists[of] & (log.coins.rank[some] <= longest))
        query, context = log.lists.query[of[kept]].astype(np.int64), log.lists.context[of[kept]]
        given = of_places[context, log.coins.rank[some][kept] - 1]
        yield query * products + log.coins.product[some][kept], log.coins.chance[some][kept] * given
