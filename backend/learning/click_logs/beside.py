"""Labels beside clicks: what shoppers said outright, what was bought otherwise, and what won a test."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from backend.learning.click_logs.chosen import OF_DAYS, Window, parameters
from backend.learning.click_logs.columns import Table
from backend.learning.click_logs.gallery import Shelf
from backend.ml.clicks.labels import BOUGHT, KEPT, SATISFYING, UNSURE

SOURCES = ("thumbs", "boxes", "purchases", "winners")
"""Names of ``Judgements.source``."""


def write_judgements(
    session: Session, folder: Path, shelf: Shelf, query_number: NDArray[np.int32], window: Window
) -> dict[str, int]:
    """Write all labels beside clicks; how many there are of each source.

    Of a shopper's own words on a product for a query the last ones count: a like is 2, four stars are 1, a dislike
    is 0, and nothing said any more is nothing. A box that is liked is 1; that a part of a picture is not wanted says
    nothing of the product. What was bought on a refined list is 3 for the query that the session began with; bought
    without any list, 1 for what the same shopper searched for last within the day. A winner's products, in its first
    10 and not in the loser's for the same query, are 0.3 and nobody's.
    """
    table, counts = Table(folder, "judgements"), dict[str, int]()
    values = {**parameters(window), "bought": BOUGHT, "kept": KEPT, "satisfying": SATISFYING, "unsure": UNSURE}
    for source, name in enumerate(SOURCES):
        rows = session.execute(_STATEMENTS[name], values).all()
        query = query_number[np.array([row.query for row in rows], dtype=np.int64)]
        product = shelf.places(np.array([row.product for row in rows], dtype=np.int64))
        known = (query >= 0) & (product >= 0)
        table.append(
            {
                "query": query[known],
                "product": product[known],
                "unit": np.array([row.unit for row in rows], dtype=np.int32)[known],
                "label": np.array([row.label for row in rows], dtype=np.float32)[known],
                "source": np.full(int(known.sum()), source, dtype=np.int8),
            }
        )
        counts[name] = int(known.sum())
    table.close()
    return counts


_EVENTS = """
    e.received_on BETWEEN CAST(:first AS date) AND CAST(:last AS date) AND e.received_at >= :begin
    AND e.received_at < :end AND NOT e.is_bot
"""


def _said(types: str, label: str, kept: str) -> TextClause:
    """The last word of each shopper on each product for each query, as ``label`` of ``value``, where ``kept`` holds."""
    return text(
        f"""
        SELECT query, product, unit, {label} AS label FROM (
          SELECT DISTINCT ON (a.query, g.number, u.number)
                 a.query, g.number AS product, u.number AS unit, e.value
          FROM events e JOIN night_lists l USING (query_id) JOIN night_asked a USING (key)
          JOIN night_units u USING (unit) JOIN products g ON g.id = e.product_id
          WHERE {_EVENTS} AND e.type IN ({types}) AND e.attribution IN ('given', 'joined') AND e.value IS NOT NULL
            AND l.reason IS DISTINCT FROM 'bots'
          ORDER BY a.query, g.number, u.number, e.occurred_at DESC, e.id DESC) AS last
        WHERE {kept} ORDER BY query, product, unit
        """  # noqa: S608  made of constants
    )


_PURCHASES = text(
    f"""
    SELECT query, product, unit, max(label) AS label FROM (
      SELECT a.query, g.number AS product, u.number AS unit, CAST(:bought AS float8) AS label
      FROM events e JOIN night_lists l USING (query_id) JOIN night_asked a USING (key)
      JOIN night_units u USING (unit) JOIN products g ON g.id = e.product_id
      WHERE {_EVENTS} AND e.type = 'purchase' AND e.attribution IN ('given', 'joined') AND l.reason = 'refined'
      UNION ALL
      SELECT a.query, latest.product, u.number, CAST(:satisfying AS float8)
      FROM (
        SELECT DISTINCT ON (e.id) l.key, l.unit, g.number AS product
        FROM events e JOIN products g ON g.id = e.product_id
        JOIN night_lists l ON l.unit = coalesce(e.user_id, e.shopper_id, e.session_id)
        WHERE {_EVENTS} AND e.type = 'purchase' AND e.query_id IS NULL AND e.attribution = 'none'
          AND l.reason IS NULL AND l.served_at BETWEEN e.occurred_at - INTERVAL '1 day' AND e.occurred_at
        ORDER BY e.id, l.served_at DESC) AS latest
      JOIN night_asked a ON a.key = latest.key JOIN night_units u ON u.unit = latest.unit) AS found
    GROUP BY query, product, unit ORDER BY query, product, unit
    """  # noqa: S608  made of constants
)

# where both arms answered the same query; as they ranked, before any coin
_WINNERS = text(
    f"""
    WITH decided AS (
      SELECT 'e' || x.id AS name, x.decision ->> 'winner' AS winner FROM experiments x
      WHERE x.status = 'concluded' AND x.method = 'ab' AND x.decision ->> 'winner' IS NOT NULL
        AND x.ended_at >= :begin AND x.ended_at < :end),
    first AS (
      SELECT DISTINCT d.name, a.query, s.experiments ->> d.name = d.winner AS won, p.candidates[1:10] AS numbers
      FROM decided d JOIN served_lists s ON s.experiments ? d.name AND {OF_DAYS.replace("R.", "s.")}
      JOIN night_lists l ON l.query_id = s.query_id AND l.served_on = s.served_on AND l.reason IS NULL
      JOIN night_asked a USING (key)
      JOIN served_pages p ON p.query_id = s.query_id AND p.served_on = s.served_on AND p.first_position = 1
      WHERE p.candidates IS NOT NULL AND {OF_DAYS.replace("R.", "p.")}),
    both_answered AS (SELECT name, query FROM first GROUP BY name, query HAVING bool_or(won) AND NOT bool_and(won)),
    places AS (
      SELECT f.query, f.won, number FROM first f JOIN both_answered USING (name, query)
      CROSS JOIN LATERAL unnest(f.numbers) AS number)
    SELECT query, number AS product, -1 AS unit, CAST(:unsure AS float8) AS label FROM (
      SELECT query, number FROM places WHERE won EXCEPT SELECT query, number FROM places WHERE NOT won) AS found
    ORDER BY query, product
    """  # noqa: S608  made of constants
)

_STATEMENTS = {
    "thumbs": _said("'like', 'dislike', 'rating'", "greatest(value, 0) * :kept", "value <> 0"),
    "boxes": _said("'box'", "value * :satisfying", "value > 0"),
    "purchases": _PURCHASES,
    "winners": _WINNERS,
}
