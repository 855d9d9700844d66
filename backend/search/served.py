"""Lists that were served: read back, gone on from, and answered in the one form that all answers share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from backend.errors import NotFound, Unprocessable
from backend.events.repository import ListServed, PageServed
from backend.ml.scoring import Ints
from backend.prepared import prepared
from backend.search.cursor import Cursor, Order
from backend.search.lists import Ask
from backend.search.schemas import SearchRequest


class ListUnknown(NotFound):
    """No served list has this id."""

    title = "No such search"


class AnotherSearch(Unprocessable):
    """A cursor continues one search; the request asks for another."""

    title = "Cursor of another search"


@dataclass(frozen=True)
class Shown:
    """The part of an answer that differs from page to page."""

    total: int
    cursor: str | None
    facets: dict[str, Any] | None
    hits: list[dict[str, Any]]


def answer(served: ListServed, shown: Shown) -> dict[str, Any]:
    """One page of ``served``, as ``schemas.SearchResponse`` describes it."""
    found = {
        "query_id": served.query_id,
        "parent_id": served.parent_id,
        "turn": served.turn,
        "generation": f"g{served.generation_id}",
        "experiments": served.experiments,
        "total": shown.total,
        "total_is": served.total_is,
        "cursor": shown.cursor,
        "took_ms": 0.0,
        "facets": shown.facets,
        "hits": shown.hits,
    }
    return found if served.refinement is None else found | {"refine": served.refinement["outcome"]}


def check_same(request: SearchRequest, ask: Ask) -> None:
    """A request that carries a cursor may repeat its search, and may not ask for another."""
    kept = {
        "text": ask.question.text,
        "product_id": ask.question.product_id,
        "filters": ask.filters,
        "sort": ask.sort,
        "lexical": ask.lexical,
    }
    for name in sorted(kept.keys() & request.model_fields_set):
        if getattr(request, name) != kept[name]:
            raise AnotherSearch(
                f"this cursor continues a search whose {name} differs; leave {name} out, or search without a cursor",
                found=_plain(getattr(request, name)),
                expected=_plain(kept[name]),
            )


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_unset=True) if hasattr(value, "model_dump") else value


def cursor_behind(
    session: Session, query_id: str, pages: list[PageServed], order: Order | None, total: int
) -> Cursor | None:
    """Where the page behind ``pages`` begins, or ``None`` when they are the last ones."""
    count = sum(len(page.product_ids) for page in pages)
    if not count:
        return None
    position = pages[-1].first_position + len(pages[-1].product_ids)
    offset = position - 1
    if order is not None:
        places = np.flatnonzero(np.isin(order.numbers, numbers_of(session, [pages[-1].product_ids[-1]])))
        offset = int(places[0]) + 1 if len(places) else offset
        return Cursor(query_id, offset, position) if offset < len(order.numbers) else None
    return Cursor(query_id, offset, position) if offset < total else None


def numbers_of(session: Session, ids: list[str]) -> Ints:
    """Numbers of products, in no particular order."""
    found = session.scalars(text("SELECT number FROM products WHERE id = ANY(CAST(:ids AS text[]))"), {"ids": ids})
    return np.array(found.all(), dtype=np.int64)


def ids_of(connection: Connection, numbers: Ints) -> tuple[str, ...]:
    """Ids of products, in the order of their ``numbers``; what is unknown is left out."""
    return tuple(row.id for row in _IDS.rows(connection, {"numbers": numbers.tolist()}))


_IDS = prepared(
    "SELECT p.id FROM unnest(CAST(:numbers AS bigint[])) WITH ORDINALITY AS asked(number, place)"
    " JOIN products p USING (number) ORDER BY asked.place"
)
