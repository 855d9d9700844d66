"""Pages: the next products of an order that still are what was asked for, as they are now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from backend.events.repository import PageServed
from backend.search.cursor import Order
from backend.search.filters import Conditions
from backend.search.first_page import MARGIN
from backend.search.hydration import Shown, hit, shown_by_id, shown_by_number


@dataclass(frozen=True)
class Page:
    """Products of one page, and where the next one begins.

    Args:
        first_position: 1-based position of the first hit.
        rows: what is shown, best first.
        scores: of each.
        next_offset: how many places of the order have been looked at.
        vanished: how many of them were deleted, sold out or no longer match.
    """

    first_position: int
    rows: Sequence[Shown]
    scores: Sequence[float]
    next_offset: int
    vanished: int

    @property
    def next_position(self) -> int:
        """Position of the next page's first hit."""
        return self.first_position + len(self.rows)

    def hits(self) -> list[dict[str, Any]]:
        """As answered."""
        return [
            hit(row, self.first_position + place, score)
            for place, (row, score) in enumerate(zip(self.rows, self.scores, strict=True))
        ]

    def served(self, p_show: Sequence[float] | None, candidates: Order) -> PageServed:
        """As recorded, with the odds of what it shows and the ``candidates`` that it was filled from."""
        ids = [row.id for row in self.rows]
        numbers, scores = candidates.numbers.tolist(), candidates.scores.tolist()
        return PageServed(self.first_position, ids, self.scores, p_show, numbers, scores)


def fill_page(
    session: Session, order: Order, conditions: Conditions, *, offset: int, position: int, limit: int
) -> Page:
    """Up to ``limit`` products of ``order`` from ``offset`` on that satisfy ``conditions`` now."""
    rows: list[Shown] = []
    scores: list[float] = []
    at, vanished = offset, 0
    while len(rows) < limit and at < len(order.numbers):
        chunk = slice(at, at + limit - len(rows) + MARGIN)
        numbers = order.numbers[chunk]
        alive = shown_by_number(session, numbers, conditions)
        for number, score in zip(numbers.tolist(), order.scores[chunk].tolist(), strict=True):
            if len(rows) == limit:
                break
            at += 1
            row = alive.get(number)
            if row is None:
                vanished += 1
                continue
            rows.append(row)
            scores.append(score)
    return Page(position, rows, scores, at, vanished)


def hits_again(session: Session, pages: Sequence[PageServed], conditions: Conditions) -> list[dict[str, Any]]:
    """Pages as they were served, each product at its position; what has vanished since leaves a gap."""
    ids = [product_id for page in pages for product_id in page.product_ids]
    alive = shown_by_id(session, ids, conditions)
    return [
        hit(alive[product_id], page.first_position + place, score)
        for page in pages
        for place, (product_id, score) in enumerate(zip(page.product_ids, page.scores, strict=True))
        if product_id in alive
    ]
