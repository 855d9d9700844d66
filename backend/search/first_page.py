"""The first page of a list: checked, filled in and recorded by one statement, hence in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from backend.events.repository import RECORDING, ListServed, recorded_values
from backend.search.cursor import Order
from backend.search.filters import Conditions
from backend.search.hydration import SHOWN, Shown

MARGIN = 8
"""Candidates checked beyond a page's length, so that a few that vanished cost no second statement."""

# `page` says what became of the candidates given: how many were looked at until the page was full, how many of those
# had vanished, and whether the page is the one to serve. Without a hit it is still one row. Where nothing was tossed,
# each product stood where it did with certainty; where something was, only as long as none before it had vanished.
_SERVE = f"""
    WITH asked AS (
      SELECT number, score, place
      FROM unnest(CAST(:numbers AS bigint[]), CAST(:scores AS float8[])) WITH ORDINALITY AS a(number, score, place)),
    shown AS (
      SELECT a.place, a.score, {SHOWN} FROM asked a JOIN products p ON p.number = a.number WHERE CONDITIONS
      ORDER BY a.place LIMIT CAST(:limit AS bigint)),
    filled AS (
      SELECT coalesce(array_agg(id ORDER BY place), '{{}}') AS product_ids,
             coalesce(array_agg(score ORDER BY place), '{{}}') AS scores, count(*) AS hits,
             CASE WHEN CAST(:coins AS jsonb) IS NULL THEN array_fill(CAST(1 AS real), ARRAY[CAST(count(*) AS integer)])
                  WHEN count(*) = coalesce(max(place), 0)
                  THEN (CAST(:p_show AS real[]))[1 : CAST(count(*) AS integer)] END AS p_show,
             CASE WHEN count(*) = CAST(:limit AS bigint) THEN max(place)
                  ELSE cardinality(CAST(:numbers AS bigint[])) END AS looked_at FROM shown),
    page AS (
      SELECT product_ids, scores, p_show, looked_at, whole, whole AND CAST(:kept AS boolean) AS recorded,
             CAST(coalesce(CAST(:counted AS bigint), greatest(CAST(:relevant AS bigint), looked_at) - looked_at + hits)
                  AS integer) AS total
      FROM (SELECT *, hits = CAST(:limit AS bigint) OR CAST(:final AS boolean) AS whole FROM filled) AS f),
    {RECORDING}
    SELECT page.total, page.looked_at, page.whole, shown.* FROM page LEFT JOIN shown ON true ORDER BY shown.place
"""  # noqa: S608  constants only


@dataclass(frozen=True)
class FirstPage:
    """What was served.

    Args:
        rows: its products, best first, each with its ``score``.
        total: length of the list.
        next_offset: how many places of the order have been looked at.
    """

    rows: Sequence[Shown]
    total: int
    next_offset: int


def serve_first_page(
    connection: Connection,
    served: ListServed,
    order: Order,
    conditions: Conditions,
    *,
    relevant: int,
    counted: int | None,
    limit: int,
    last: bool,
    kept: bool,
) -> FirstPage | None:
    """Up to ``limit`` products of ``order`` that satisfy ``conditions`` now, recorded as the first page of ``served``.

    Args:
        connection: to PostgreSQL; the statement is a transaction of its own.
        served: the list; recorded with the total that is found here.
        order: candidates, best first.
        conditions: what PostgreSQL checks.
        relevant: how many of the first candidates belong to the list.
        counted: the total where it was counted; otherwise it follows from the candidates.
        limit: length of a full page.
        last: whether there are no candidates behind ``order``.
        kept: whether the list is recorded.

    Returns:
        The page, or None where so many products vanished that it is not full, and other candidates may fill it:
        then nothing is recorded.
    """
    statement = conditions.prepared(_SERVE)
    every = len(order.numbers)
    for count in (every,) if every <= limit + MARGIN else (limit + MARGIN, every):
        values = recorded_values(served) | {
            **conditions.parameters,
            "numbers": order.numbers[:count].tolist(),
            "scores": order.scores[:count].tolist(),
            "p_show": None,
            "candidates": None,
            "candidate_scores": None,
            "limit": limit,
            "relevant": relevant,
            "counted": counted,
            "final": last and count == every,
            "kept": kept,
        }
        rows = statement.rows(connection, values)
        if rows[0].whole:
            shown = [row for row in rows if row.id is not None]
            return FirstPage(shown, rows[0].total, rows[0].looked_at)
    return None
