"""Programs are found by what they did in the last day, and everything of theirs is marked, before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.events.models import BotUnit
from backend.logs import get_logger
from backend.ml.clicks.automated import Behaviour, Limits, automated

log = get_logger(__name__)

WINDOW = timedelta(days=1)

ACTS = ("click", "add_to_cart", "wishlist", "purchase", "rating", "like", "dislike", "box")
"""What a shopper does on purpose; what is in view or visible comes by itself and in any number."""

OTHERS = 20
"""Clicks of other shoppers of a surface from which it is known whether that surface reports what is in view."""


@dataclass(frozen=True)
class Marked:
    """How many units were found to be programs, and how many rows are marked since."""

    units: int = 0
    events: int = 0
    lists: int = 0


def mark_programs(session: Session, now: datetime, limits: Limits | None = None) -> Marked:
    """Mark programs that were found now with all that is kept of them, and those known with what came since."""
    most = limits or Limits()
    since = now - WINDOW
    known = set(session.scalars(select(BotUnit.unit)))
    found = {unit: why for unit, did in behaviours(session, since, most).items() if (why := automated(did, most))}
    fresh = {unit: why for unit, why in found.items() if unit not in known}
    if fresh:
        session.execute(insert(BotUnit).on_conflict_do_nothing(), [{"unit": u, "reason": w} for u, w in fresh.items()])
        log.info("programs_found", units=len(fresh), reasons=sorted({why.partition(":")[0] for why in fresh.values()}))
    first = _mark(session, list(fresh), date.min)
    later = _mark(session, list(known), since.date())
    return Marked(len(fresh), first.events + later.events, first.lists + later.lists)


def forget_old_marks(session: Session, days: float) -> None:
    """Forget programs of which no row is left. One that comes back is found again."""
    session.execute(delete(BotUnit).where(BotUnit.since < func.now() - timedelta(days=days)))


def behaviours(session: Session, since: datetime, limits: Limits) -> Mapping[str, Behaviour]:
    """What was done since ``since``, by unit, of those units that did enough to be judged.

    The unit is the account, else the browser, else the session. Rows that are marked already do not count.
    """
    values = {"since": since, "day": since.date(), "acts": list(ACTS), "enough": limits.enough, "others": OTHERS}
    found = {row.unit: Behaviour(**row.did) for row in session.execute(_ACTS, values)}
    for row in session.execute(_LISTS, values | {"enough": limits.lists_at_once}):
        found[row.unit] = replace(found.get(row.unit, Behaviour()), lists_at_once=row.most)
    return found


def _mark(session: Session, units: Sequence[str], day: date) -> Marked:
    if not units:
        return Marked()
    values = {"units": list(units), "day": day}
    return Marked(0, *(len(session.execute(statement, values).all()) for statement in (_MARK_EVENTS, _MARK_LISTS)))


_UNIT = "coalesce(user_id, shopper_id, session_id)"

_ACTS = text(
    f"""
    WITH acts AS MATERIALIZED (
      SELECT {_UNIT} AS unit, type, query_id, product_id, coalesce(surface, 'web') AS surface, occurred_at
      FROM events
      WHERE received_on >= CAST(:day AS date) AND received_at >= CAST(:since AS timestamptz) AND item = 0
        AND type = ANY(CAST(:acts AS text[])) AND source <> 'refine' AND NOT is_bot AND {_UNIT} IS NOT NULL),
    busy AS MATERIALIZED (
      SELECT unit, count(*) AS acts FROM acts GROUP BY unit HAVING count(*) >= CAST(:enough AS integer)),
    at_once AS (
      SELECT unit, max(n) AS most FROM (
        SELECT unit, count(*) OVER (PARTITION BY unit ORDER BY occurred_at
                                    RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW) AS n
        FROM acts JOIN busy USING (unit)) AS behind
      GROUP BY unit),
    intervals AS (
      SELECT unit, stddev_pop(gap) / nullif(avg(gap), 0) AS variation FROM (
        SELECT unit, CAST(extract(epoch FROM occurred_at - lag(occurred_at) OVER unit_in_order) AS float8) AS gap
        FROM acts JOIN busy USING (unit) WINDOW unit_in_order AS (PARTITION BY unit ORDER BY occurred_at)) AS gaps
      GROUP BY unit HAVING count(gap) >= 2),
    clicks AS MATERIALIZED (
      SELECT acts.*, busy.unit IS NOT NULL AS is_busy FROM acts LEFT JOIN busy USING (unit)
      WHERE type = 'click' AND query_id IS NOT NULL AND product_id IS NOT NULL),
    judged AS (
      (SELECT * FROM clicks WHERE is_busy) UNION ALL (SELECT * FROM clicks WHERE NOT is_busy LIMIT 2000)),
    viewed AS MATERIALIZED (
      SELECT judged.*, EXISTS (
        SELECT FROM events e WHERE e.query_id = judged.query_id AND e.product_id = judged.product_id
          AND e.type = 'exposure' AND e.received_on >= CAST(:day AS date)) AS seen
      FROM judged),
    reporting AS (
      SELECT surface FROM viewed WHERE NOT is_busy GROUP BY surface
      HAVING count(*) >= CAST(:others AS integer) AND avg(CAST(seen AS integer)) >= 0.5),
    shares AS (
      SELECT unit, count(*) AS clicks, count(DISTINCT query_id) AS lists_clicked,
             CAST(avg(CAST(NOT seen AS integer)) FILTER (WHERE surface IN (SELECT surface FROM reporting)) AS float8)
               AS unseen
      FROM viewed WHERE is_busy GROUP BY unit),
    products AS (
      SELECT unit, CAST(max(n) / sum(n) AS float8) AS one_product FROM (
        SELECT unit, product_id, count(*) AS n FROM viewed WHERE is_busy GROUP BY unit, product_id) AS counts
      GROUP BY unit)
    SELECT unit, jsonb_build_object(
             'acts', busy.acts, 'acts_at_once', at_once.most, 'clicks', coalesce(shares.clicks, 0),
             'unseen', shares.unseen, 'one_product', coalesce(products.one_product, 0),
             'lists_clicked', coalesce(shares.lists_clicked, 0), 'variation', intervals.variation) AS did
    FROM busy JOIN at_once USING (unit) LEFT JOIN intervals USING (unit) LEFT JOIN shares USING (unit)
         LEFT JOIN products USING (unit)
    """  # noqa: S608  made of constants
)

_LISTS = text(
    f"""
    WITH lists AS MATERIALIZED (
      SELECT {_UNIT} AS unit, served_at FROM served_lists
      WHERE served_on >= CAST(:day AS date) AND served_at >= CAST(:since AS timestamptz) AND NOT is_bot
        AND {_UNIT} IS NOT NULL),
    busy AS (SELECT unit FROM lists GROUP BY unit HAVING count(*) >= CAST(:enough AS integer))
    SELECT unit, max(n) AS most FROM (
      SELECT unit, count(*) OVER (PARTITION BY unit ORDER BY served_at
                                  RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW) AS n
      FROM lists JOIN busy USING (unit)) AS behind
    GROUP BY unit HAVING max(n) >= CAST(:enough AS integer)
    """  # noqa: S608  made of constants
)

_OF_THEM = """NOT is_bot AND (shopper_id = ANY(CAST(:units AS text[])) OR user_id = ANY(CAST(:units AS text[]))
    OR session_id = ANY(CAST(:units AS text[])))"""

_MARK_EVENTS = text(
    f"UPDATE events SET is_bot = true WHERE received_on >= CAST(:day AS date) AND {_OF_THEM}"  # noqa: S608  constants
    " RETURNING 1"
)
_MARK_LISTS = text(
    f"UPDATE served_lists SET is_bot = true WHERE served_on >= CAST(:day AS date) AND {_OF_THEM}"  # noqa: S608  constants
    " RETURNING 1"
)
