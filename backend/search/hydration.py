"""From product numbers to what a page shows: PostgreSQL checks every hit and fills it in, in one query."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from backend.ml.scoring import Ints
from backend.search.filters import Conditions
from backend.search.schemas import Sort

SHOWN = """
      p.number, p.id, p.title, p.brand, p.category, CAST(p.price AS float8) AS price, p.currency, p.availability,
      p.url, p.attributes,
      (SELECT i.content_hash FROM product_images i WHERE i.product = p.number AND i.state = 'ready'
       ORDER BY i.position LIMIT 1) AS image,
      ARRAY(SELECT c.text FROM captions c WHERE c.product = p.number AND c.source NOT IN ('title', 'description')
            ORDER BY c.id LIMIT 5) AS captions
"""
"""Columns of a product ``p`` that ``hit`` needs."""

_SELECT = f"SELECT {SHOWN} FROM products p"  # noqa: S608  constants only
_BY_NUMBER = f"{_SELECT} WHERE p.number = ANY(CAST(:numbers AS bigint[])) AND CONDITIONS"
_BY_ID = f"{_SELECT} WHERE p.id = ANY(CAST(:ids AS text[])) AND CONDITIONS"

_ORDERS: dict[Sort, str] = {
    "price_asc": "p.price ASC NULLS LAST, p.number",
    "price_desc": "p.price DESC NULLS LAST, p.number",
    "newest": "p.created_at DESC, p.number DESC",
}
# a stable order needs a last word (the number); browsing by relevance is browsing by age
_SORTED = "SELECT p.number FROM products p WHERE p.number = ANY(CAST(:numbers AS bigint[])) AND CONDITIONS ORDER BY {}"
_BROWSED = "SELECT p.number FROM products p WHERE CONDITIONS ORDER BY {} LIMIT :most"
_COUNTED = "SELECT count(*) FROM products p WHERE CONDITIONS"

Shown = Row[Any]


def shown_by_number(session: Session, numbers: Ints, conditions: Conditions) -> dict[int, Shown]:
    """Those of ``numbers`` that satisfy ``conditions`` now."""
    rows = session.execute(
        conditions.statement(_BY_NUMBER), {**conditions.parameters, "numbers": numbers.tolist()}
    ).all()
    return {row.number: row for row in rows}


def shown_by_id(session: Session, ids: Sequence[str], conditions: Conditions) -> dict[str, Shown]:
    """Those of ``ids`` that satisfy ``conditions`` now."""
    rows = session.execute(conditions.statement(_BY_ID), {**conditions.parameters, "ids": list(ids)}).all()
    return {row.id: row for row in rows}


def sort_numbers(session: Session, numbers: Ints, sort: Sort, conditions: Conditions) -> list[int]:
    """Those of ``numbers`` that satisfy ``conditions`` now, ordered by a column."""
    statement = conditions.statement(_SORTED.format(_ORDERS[sort]))
    return list(session.scalars(statement, {**conditions.parameters, "numbers": numbers.tolist()}).all())


def browse_numbers(session: Session, sort: Sort, conditions: Conditions, most: int) -> list[int]:
    """The first ``most`` products that satisfy ``conditions``; by relevance means the newest first."""
    statement = conditions.statement(_BROWSED.format(_ORDERS.get(sort, _ORDERS["newest"])))
    return list(session.scalars(statement, {**conditions.parameters, "most": most}).all())


def count_products(session: Session, conditions: Conditions) -> int:
    """How many products satisfy ``conditions``."""
    return int(session.execute(conditions.statement(_COUNTED), dict(conditions.parameters)).scalar_one())


def hit(row: Shown, position: int, score: float) -> dict[str, Any]:
    """One hit of an answer, as ``schemas.Hit`` describes it."""
    return {
        "position": position,
        "product_id": row.id,
        "score": round(score, 6),
        "product": {
            "title": row.title,
            "image": f"/images/{row.image}" if row.image else None,
            "price": row.price,
            "currency": row.currency,
            "brand": row.brand,
            "category": row.category,
            "availability": row.availability,
            "url": row.url,
            "captions": row.captions,
            "attributes": row.attributes,
        },
    }
