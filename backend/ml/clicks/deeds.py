"""What was done with the products of lists, from single events: seen, opened, looked at, come back from, kept.

Events come in any order and say when they happened; a list is what the events name, a product where it stood on it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Micros = NDArray[np.int64]

KINDS = ("exposure", "click", "return", "dwell", "add_to_cart", "wishlist", "purchase", "reformulation")
"""Events that say something of a list or its products; ``Deeds.kind`` is a place in here."""

EXPOSURE, CLICK, RETURN, DWELL, CART, WISH, BUY, REFORMULATION = range(len(KINDS))

SEEN_SHARE, SEEN_MS = 0.5, 500
"""In view is what shows half of its area for half a second."""

LONGEST_MS = 1_800_000
"""Nobody looks at a product for longer; it was left open."""

WENT_ON_US = 60_000_000
"""How soon after coming back another click or search belongs to it, in microseconds."""

NEVER = np.iinfo(np.int64).max
"""A time that does not come."""


@dataclass(frozen=True)
class Deeds:
    """e events of m lists with n rows; (e,) each.

    Args:
        list: 0 to m - 1.
        row: 0 to n - 1; -1 where it is of no row, as of a product of a further page.
        product: number of the product, by which those without a row are told apart.
        kind: place in ``KINDS``.
        at: when, in microseconds.
        amount: milliseconds in view, visible or away; -1: not said.
        share: of its area that was in view; -1: not said.
    """

    list: NDArray[np.integer]
    row: NDArray[np.integer]
    product: NDArray[np.integer]
    kind: NDArray[np.integer]
    at: Micros
    amount: NDArray[np.integer]
    share: NDArray[np.floating]


@dataclass(frozen=True)
class Outcomes:
    """What came of n rows and m lists.

    Args:
        viewed: (n,) known to have been in view.
        clicked: (n,) opened.
        timed: (n,) how long it was looked at is known.
        dwell_ms: (n,) that, up to half an hour; 0 where it is not known.
        returned: (n,) they came back from it.
        went_on: (n,) another click of the list, or another search, within a minute after that.
        carted: (n,) put into the cart.
        wished: (n,) put on the wish list.
        bought: (n,) bought.
        acted: (m,) anything was done.
        exposed: (m,) what was in view is known.
        anew: (m,) it was asked anew: somebody said so, or searched again within a minute.
    """

    viewed: Bools
    clicked: Bools
    timed: Bools
    dwell_ms: NDArray[np.int32]
    returned: Bools
    went_on: Bools
    carted: Bools
    wished: Bools
    bought: Bools
    acted: Bools
    exposed: Bools
    anew: Bools


def outcomes(deeds: Deeds, n: int, served: Micros, following: Micros) -> Outcomes:
    """What came of ``n`` rows of m lists.

    A product was in view where one exposure says that half of it was, for half a second in all (or does not say how
    long); what was clicked or kept was seen, too. How long it was looked at is the sum of its dwell events, else of
    the times away that returns say.

    Args:
        deeds: the events.
        n: rows.
        served: (m,) when each list was, in microseconds.
        following: (m,) when the same visit searched for something else next; ``NEVER`` where it did not.
    """
    rows = {kind: deeds.row[(deeds.kind == kind) & (deeds.row >= 0)] for kind in range(len(KINDS))}
    clicked, carted, wished, bought, returned = (_any(rows[kind], n) for kind in (CLICK, CART, WISH, BUY, RETURN))
    viewed = _seen(deeds, n) | clicked | carted | wished | bought
    dwell, timed = _stayed(deeds, n)
    m = len(served)
    acted = _any(deeds.list, m)
    last: Micros = np.asarray(
        np.maximum(_latest(deeds, deeds.kind != REFORMULATION, deeds.list, m, 0), served), dtype=np.int64
    )
    return Outcomes(
        viewed=viewed,
        clicked=clicked,
        timed=timed,
        dwell_ms=dwell,
        returned=returned,
        went_on=_went_on(deeds, n, following),
        carted=carted,
        wished=wished,
        bought=bought,
        acted=acted,
        exposed=_any(deeds.list[(deeds.kind == EXPOSURE) & (deeds.share >= 0)], m),
        anew=_any(deeds.list[deeds.kind == REFORMULATION], m) | _within(last, following),
    )


def _seen(deeds: Deeds, n: int) -> Bools:
    of = (deeds.kind == EXPOSURE) & (deeds.row >= 0) & (deeds.share >= SEEN_SHARE)
    for_ms = np.bincount(deeds.row[of], np.maximum(deeds.amount[of], 0), minlength=n)
    unsaid = _any(deeds.row[of & (deeds.amount < 0)], n)
    return np.asarray((for_ms >= SEEN_MS) | unsaid)


def _stayed(deeds: Deeds, n: int) -> tuple[NDArray[np.int32], Bools]:
    """(n,) milliseconds on each product, and whether they are known."""
    known = (deeds.row >= 0) & (deeds.amount >= 0)
    looked, away = (known & (deeds.kind == kind) for kind in (DWELL, RETURN))
    dwelt = _any(deeds.row[looked], n)
    sums = [np.bincount(deeds.row[of], deeds.amount[of], minlength=n) for of in (looked, away)]
    stayed = np.minimum(np.where(dwelt, *sums), LONGEST_MS)
    return stayed.astype(np.int32), dwelt | _any(deeds.row[away], n)


def _went_on(deeds: Deeds, n: int, following: Micros) -> Bools:
    """(n,) whether another click or search came within a minute after the last return from each product."""
    came_back = _latest(deeds, (deeds.kind == RETURN) & (deeds.row >= 0), deeds.row, n, NEVER)
    clicks = np.flatnonzero(deeds.kind == CLICK)
    clicks = clicks[np.lexsort((deeds.at[clicks], deeds.list[clicks]))]
    found = np.zeros(n, dtype=np.bool_)
    row, of_list, product = (column[clicks] for column in (deeds.row, deeds.list, deeds.product))
    if len(clicks) > 1:
        # of each product's last click, the next one of the list is on another product
        before = (of_list[:-1] == of_list[1:]) & (product[:-1] != product[1:]) & (row[:-1] >= 0)
        last = np.zeros(n, dtype=np.int64)
        last[row[row >= 0]] = np.flatnonzero(row >= 0)
        before &= last[row[:-1]] == np.arange(len(clicks) - 1)
        place = np.flatnonzero(before)
        found[row[place]] = _within(came_back[row[place]], deeds.at[clicks[place + 1]])
    home = np.zeros(n, dtype=np.int64)  # the list of each row that was clicked
    home[row[row >= 0]] = of_list[row >= 0]
    asked = _asked_after(deeds, home, came_back)
    return np.asarray(found | _within(came_back, asked) | _within(came_back, following[home]))


def _asked_after(deeds: Deeds, home: NDArray[np.int64], since: Micros) -> Micros:
    """(n,) when list ``home`` (n,) was asked anew for the first time from ``since`` (n,) on; ``NEVER`` where not."""
    events = np.flatnonzero(deeds.kind == REFORMULATION)
    moments, place = np.unique(np.concatenate([deeds.at[events], since]), return_inverse=True)
    keys = np.concatenate([deeds.list[events].astype(np.int64), home]) * len(moments) + place
    order = np.argsort(keys[: len(events)])
    next_one = np.searchsorted(keys[: len(events)][order], keys[len(events) :])
    known = np.flatnonzero(next_one < len(events))
    event = events[order[next_one[known]]]
    own = deeds.list[event] == home[known]
    found = np.full(len(since), NEVER, dtype=np.int64)
    found[known[own]] = deeds.at[event[own]]
    return found


def _within(begin: Micros, then: Micros) -> Bools:
    """Whether ``then`` comes within a minute after ``begin``."""
    there = (begin != NEVER) & (then != NEVER) & (then >= begin)
    return np.asarray(there & (np.where(there, then, 0) - np.where(there, begin, 0) <= WENT_ON_US))


def _any(places: NDArray[np.integer], n: int) -> Bools:
    found = np.zeros(n, dtype=np.bool_)
    found[places] = True
    return found


def _latest(deeds: Deeds, chosen: Bools, places: NDArray[np.integer], n: int, otherwise: int) -> Micros:
    """(n,) time of the latest ``chosen`` event at each of ``places``, or ``otherwise``."""
    found = np.full(n, np.iinfo(np.int64).min, dtype=np.int64)
    np.maximum.at(found, places[chosen], deeds.at[chosen])
    none = ~_any(places[chosen], n)
    return np.asarray(np.where(none, otherwise, found), dtype=np.int64)
