"""What a hit of a refined list says of the list before: where it was there, and which liked products brought it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Engine

from backend.events.repository import PageServed
from backend.generations.serving import Serving
from backend.ml.feedback.inputs import Matrix
from backend.ml.scoring import Calibration, Floats, Ints, combine
from backend.prepared import prepared
from backend.search.cursor import Order, OrderStore
from backend.search.refinement.features import ItemVectors, ProductVectors
from backend.search.refinement.session import Turn, graded

MOST_REASONS = 3
"""Liked products that one hit names."""

_NUMBERS = prepared("SELECT id, number FROM products WHERE id = ANY(CAST(:product_ids AS text[]))")


@dataclass(frozen=True)
class Before:
    """The list before: its pages as served, and its order where that is kept, which reaches further."""

    pages: Sequence[PageServed]
    order: Order | None


class Marks:
    """Compares a refined list with the one before.

    Args:
        engine: PostgreSQL, for statements that are a transaction each.
        orders: orders of lists.
        products: vectors of hits and of liked products.
    """

    def __init__(self, engine: Engine, orders: OrderStore, products: ItemVectors) -> None:
        self._engine = engine
        self._orders = orders
        self._products = products

    def before(self, query_id: str, pages: Sequence[PageServed]) -> Before:
        """The list ``query_id`` with these ``pages``, as hits of the next one are compared with it."""
        return Before(pages, self._orders.get(query_id))

    def known(
        self, serving: Serving, turns: Sequence[Turn], numbers: Ints, given: Mapping[str, ProductVectors]
    ) -> dict[str, ProductVectors]:
        """What ``marked`` needs of products that may become hits of the list behind ``turns``, in one round trip.

        ``given`` are products whose vectors need not be looked up again; they come back with the others.
        """
        if not _liked(turns):
            return dict(given)
        others = numbers[~np.isin(numbers, [product.number for product in given.values()])]
        return {**given, **self._products.numbered(serving, others)}

    def marked(
        self,
        serving: Serving,
        turns: Sequence[Turn],
        before: Before,
        hits: Sequence[dict[str, Any]],
        known: Mapping[str, ProductVectors],
    ) -> list[dict[str, Any]]:
        """``hits`` with ``previous_position`` and ``because``, as ``schemas.Hit`` describes them.

        ``known`` are products whose vectors need not be looked up again.
        """
        ids = [hit["product_id"] for hit in hits]
        reasons = self._reasons(serving, turns, ids, known)
        places = self._positions(before, ids, known)
        return [
            hit | {"previous_position": places.get(one), "because": reasons.get(one, [])}
            for one, hit in zip(ids, hits, strict=True)
        ]

    def _positions(self, before: Before, ids: Sequence[str], known: Mapping[str, ProductVectors]) -> dict[str, int]:
        """Where products stood on the pages of a list, or would have stood on further ones."""
        found = {
            product_id: page.first_position + place
            for page in before.pages
            for place, product_id in enumerate(page.product_ids)
        }
        others = [one for one in ids if one not in found]
        if before.order is None or not others:
            return found
        numbers = {one: known[one].number for one in others if one in known}
        if len(numbers) < len(others):
            with self._engine.connect() as connection:
                numbers = {row.id: row.number for row in _NUMBERS.rows(connection, {"product_ids": others})}
        for one, number in numbers.items():
            places = np.flatnonzero(before.order.numbers == number)
            if len(places):
                found[one] = int(places[0]) + 1
        return found

    def _reasons(
        self, serving: Serving, turns: Sequence[Turn], ids: Sequence[str], given: Mapping[str, ProductVectors]
    ) -> dict[str, list[str]]:
        """Of each hit the liked products that lift it most: it is more like them than what was shown before."""
        grades = _liked(turns)
        if not grades or not ids:
            return {}
        wanted = [one for one in dict.fromkeys([*ids, *grades, *turns[-1].shown]) if one not in given]
        known = {**given, **self._products.of(serving, wanted)}
        liked = [one for one in grades if one in known]
        hits = [one for one in ids if one in known]
        shown = [one for one in turns[-1].shown if one in known]
        others = [known[one] for one in (*hits, *shown)]
        if not liked or not others:
            return {}
        likeness = _likeness([known[one] for one in liked], others, serving.calibration)
        own = np.array([[one == other for other in (*hits, *shown)] for one in liked])
        likeness[own] = np.nan  # no product is there because it is like itself
        before = likeness[:, len(hits) :]
        usual = np.where(
            np.isnan(before).all(axis=1), 0.0, np.nansum(before, axis=1) / (~np.isnan(before)).sum(axis=1).clip(1)
        )
        lift = np.nan_to_num(likeness[:, : len(hits)] - usual[:, None], nan=-1.0)
        lift *= np.array([grades[one] for one in liked])[:, None]
        best = np.argsort(-lift, axis=0, kind="stable")[:MOST_REASONS]
        return {hit: [liked[row] for row in best[:, place] if lift[row, place] > 0] for place, hit in enumerate(hits)}


def _liked(turns: Sequence[Turn]) -> dict[str, float]:
    return {product_id: grade for product_id, grade in graded(turns).items() if grade > 0}


def _likeness(liked: Sequence[ProductVectors], others: Sequence[ProductVectors], calibration: Calibration) -> Floats:
    """(l, p) how ``others`` score as answers to each of ``liked``: the one score over best cosines of their rows."""
    image = _best([one.images for one in liked], [other.images for other in others])
    caption = _best([one.captions for one in liked], [other.captions for other in others])
    return combine(image, caption, calibration, "product")


def _best(ours: Sequence[Matrix], theirs: Sequence[Matrix]) -> Floats:
    """(l, p) best cosine of any row of each of ``ours`` (n, d) with any of each of ``theirs``; NaN without a row."""
    found = np.full((len(ours), len(theirs)), np.nan)
    here, there = _filled(ours), _filled(theirs)
    if len(here) and len(there):
        cosines = np.concatenate([ours[one] for one in here]) @ np.concatenate([theirs[one] for one in there]).T
        best = np.maximum.reduceat(cosines, _starts(ours, here), axis=0)
        found[np.ix_(here, there)] = np.maximum.reduceat(best, _starts(theirs, there), axis=1)
    return found


def _filled(sides: Sequence[Matrix]) -> list[int]:
    return [place for place, side in enumerate(sides) if len(side)]


def _starts(sides: Sequence[Matrix], places: Sequence[int]) -> Ints:
    """Where the rows of each of ``places`` begin when they lie behind one another."""
    return np.cumsum([0, *(len(sides[place]) for place in places[:-1])])
