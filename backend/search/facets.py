"""Counts by value over the candidates of a search, or over all that browsing finds."""

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from backend.ml.scoring import Ints
from backend.search.filters import Conditions

MOST_VALUES = 100
"""Values listed of one facet, the most frequent first."""

PRICE_STEPS = 8
"""Price ranges aimed at."""

_COLUMN = """
    SELECT p.{0}, count(*) FROM products p WHERE p.{0} IS NOT NULL AND CONDITIONS
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :most_values
"""
_TERMS = {
    "brand": _COLUMN.format("brand"),
    "availability": _COLUMN.format("availability"),
    "category": """
        SELECT array_to_string(p.category[1:depth], ' > ') AS path, count(*)
        FROM products p CROSS JOIN LATERAL generate_series(1, cardinality(p.category)) AS depth WHERE CONDITIONS
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :most_values
    """,
}
_ATTRIBUTE = """
    SELECT value #>> '{}' AS label, count(DISTINCT p.number)
    FROM products p
    CROSS JOIN LATERAL (SELECT p.attributes AS of UNION ALL
                        SELECT v.attributes FROM variants v WHERE v.product = p.number) AS said
    CROSS JOIN LATERAL jsonb_path_query(said.of -> CAST(:attribute AS text), '$[*]') AS value
    WHERE CONDITIONS GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :most_values
"""
_PRICE_BOUNDS = "SELECT CAST(min(p.price) AS float8), CAST(max(p.price) AS float8) FROM products p WHERE CONDITIONS"
_PRICE_STEPS = """
    SELECT CAST(floor(p.price / CAST(:step AS numeric)) AS bigint), count(*) FROM products p
    WHERE p.price IS NOT NULL AND CONDITIONS GROUP BY 1 ORDER BY 1
"""


def count_facets(
    session: Session, wanted: Sequence[str], conditions: Conditions, numbers: Ints | None
) -> dict[str, dict[str, Any]] | None:
    """Each facet of ``wanted`` over ``numbers`` (all products when None) that satisfy ``conditions`` now."""
    if not wanted:
        return None
    if numbers is not None:
        conditions = Conditions(
            (*conditions.clauses, "p.number = ANY(CAST(:among AS bigint[]))"),
            {**conditions.parameters, "among": numbers.tolist()},
        )
    return {
        name: _prices(session, conditions) if name == "price" else _terms(session, name, conditions) for name in wanted
    }


def _terms(session: Session, name: str, conditions: Conditions) -> dict[str, int]:
    parameters = {**conditions.parameters, "most_values": MOST_VALUES}
    attribute = name.removeprefix("attributes.")
    if attribute != name:
        parameters["attribute"] = attribute
    rows = session.execute(conditions.statement(_TERMS.get(name, _ATTRIBUTE)), parameters)
    return {label: count for label, count in rows if label is not None}


def _prices(session: Session, conditions: Conditions) -> dict[str, Any]:
    parameters = dict(conditions.parameters)
    least, most = session.execute(conditions.statement(_PRICE_BOUNDS), parameters).one()
    if least is None:
        return {"min": None, "max": None, "ranges": []}
    step = round_step(most - least)
    rows = session.execute(conditions.statement(_PRICE_STEPS), {**parameters, "step": step})
    ranges = [{"gte": _money(place * step), "lt": _money((place + 1) * step), "count": count} for place, count in rows]
    return {"min": least, "max": most, "ranges": ranges}


def round_step(spread: float) -> float:
    """1, 2 or 5 times a power of ten, so that ``spread`` falls into about ``PRICE_STEPS`` steps.

    >>> round_step(55.5), round_step(0)
    (10.0, 1.0)
    """
    if spread <= 0:
        return 1.0
    least = spread / PRICE_STEPS
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))


def _money(value: float) -> float:
    return round(value, 6)
