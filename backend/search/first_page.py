"""The first page of a list: checked, filled in and recorded by one statement, hence in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from backend.events.repository import RECORDING, ListServed, recorded_values
from backend.ml.clicks.odds import Wide
from backend.search.cursor import Order
from backend.search.filters import Conditions
from backend.search.hydration import SHOWN, Shown
from backend.search.lists import Listed

MARGIN = 8
"""Candidates checked beyond a page's length, so that a few that vanished cost no second statement."""

WINDOW = 50
"""Candidates that are written down with a first page; twice its length where that is more."""

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
             CASE WHEN count(*) = CAST(:limit AS bigint) THEN max(place)
                  ELSE cardinality(CAST(:numbers AS bigint[])) END AS looked_at FROM shown),
    page AS (
      SELECT product_ids, scores, looked_at, whole, whole AND CAST(:kept AS boolean) AS recorded,
             CASE WHEN CAST(:coins AS jsonb) IS NULL THEN array_fill(CAST(1 AS real), ARRAY[CAST(hits AS integer)])
                  WHEN hits = looked_at THEN (CAST(:p_show AS real[]))[1 : CAST(hits AS integer)] END AS p_show,
             CAST(coalesce(CAST(:counted AS bigint), greatest(CAST(:relevant AS bigint), looked_at) - looked_at + hits)
                  AS integer) AS total
      FROM (SELECT *, hits = CAST(:limit AS bigint) OR CAST(:final AS boolean) AS whole FROM filled) AS f),
    {RECORDING}
    SELECT page.total, page.looked_at, page.whole, shown.* FROM page LEFT JOIN shown ON true ORDER BY shown.place
"""  # noqa: S608  constants only


@dataclass(frozen=True)
class Offered:
    """What a first page is filled from, and what is written down of how it came about.

    Args:
        order: candidates as they will be shown.
        relevant: how many of the first belong to the list.
        candidates: the best before anything was randomised.
        coins: what was tossed; None: nothing.
        p_show: (n,) chance of what stands at each of the first places; None where nothing was tossed: each is 1.
    """

    order: Order
    relevant: int
    candidates: Order
    coins: dict[str, Any] | None = None
    p_show: Wide | None = None


def window(limit: int) -> int:
    """How many candidates are written down with a first page of ``limit``."""
    return max(WINDOW, 2 * limit)


def as_listed(listed: Listed, limit: int) -> Offered:
    """The order as it was found: no coin is tossed."""
    return Offered(listed.order, listed.relevant, listed.order.first(window(limit)))


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
    offered: Offered,
    conditions: Conditions,
    *,
    counted: int | None,
    limit: int,
    last: bool,
    kept: bool,
) -> FirstPage | None:
    """Up to ``limit`` of ``offered`` that satisfy ``conditions`` now, recorded as the first page of ``served``.

    Args:
        connection: to PostgreSQL; the statement is a transaction of its own.
        served: the list; recorded with the total that is found here.
        offered: the candidates.
        conditions: what PostgreSQL checks.
        counted: the total where it was counted; otherwise it follows from the candidates.
        limit: length of a full page.
        last: whether there are no candidates behind those.
        kept: whether the list is recorded.

    Returns:
        The page, or None where so many products vanished that it is not full, and other candidates may fill it:
        then nothing is recorded.
    """
    statement = conditions.prepared(_SERVE)
    order, candidates = offered.order, offered.candidates
    every = len(order.numbers)
    recorded = recorded_values(replace(served, coins=offered.coins)) | {
        **conditions.parameters,
        "p_show": None if offered.p_show is None else offered.p_show[:limit].tolist(),
        "candidates": candidates.numbers.tolist(),
        "candidate_scores": candidates.scores.tolist(),
        "limit": limit,
        "relevant": offered.relevant,
        "counted": counted,
        "kept": kept,
    }
    for count in (every,) if every <= limit + MARGIN else (limit + MARGIN, every):
        values = recorded | {
            "numbers": order.numbers[:count].tolist(),
            "scores": order.scores[:count].tolist(),
            "final": last and count == every,
        }
        rows = statement.rows(connection, values)
        if rows[0].whole:
            shown = [row for row in rows if row.id is not None]
            return FirstPage(shown, rows[0].total, rows[0].looked_at)
    return None
