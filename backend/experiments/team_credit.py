"""What shoppers took from interleaved lists, and which team had it there."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.experiments.unit_sums import HEARD, Period, hash_joins
from backend.ml.clicks.labels import graded

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# one row for each product that something was done with, and how many lists there are in all; `teams` are those of the
# first page, in the order shown
_ROWS = text("""
WITH lists AS MATERIALIZED (
  SELECT l.query_id, l.served_on, l.coins,
         CASE l.assignment ->> 'unit' WHEN 'user' THEN l.user_id WHEN 'session' THEN l.session_id
              ELSE l.shopper_id END AS unit,
         l.is_bot OR l.shopper_id IN (SELECT unit FROM bot_units) OR l.session_id IN (SELECT unit FROM bot_units)
           OR l.user_id IN (SELECT unit FROM bot_units) AS bot,
         l.assignment -> 'layers' -> 'ranker' ->> 'how' = 'override' AS tester
  FROM served_lists l
  WHERE l.served_on BETWEEN :first AND :last AND l.served_at >= :since AND l.served_at < :until
    AND l.experiments ? :name AND l.turn = 1 AND l.coins ->> 'kind' = 'team_draft'),
units AS MATERIALIZED (
  SELECT unit, row_number() OVER (ORDER BY unit) - 1 AS number, coalesce(bool_or(bot), false) AS bot,
         coalesce(bool_or(tester), false) AS tester
  FROM lists WHERE unit IS NOT NULL GROUP BY unit),
acts AS MATERIALIZED (
  SELECT l.query_id, e.product_id, bool_or(e.type = 'click') AS clicked,
         coalesce(sum(e.dwell_ms) FILTER (WHERE e.type = 'dwell'), 0) AS dwell_ms, bool_or(e.type = 'dwell') AS timed,
         bool_or(e.type = 'return') AS returned, bool_or(e.type IN ('add_to_cart', 'wishlist')) AS kept,
         bool_or(e.type = 'purchase') AS bought
  FROM lists l JOIN events e ON e.query_id = l.query_id AND e.received_on BETWEEN :first AND :heard
  WHERE NOT e.is_bot AND e.attribution IN ('given', 'joined') AND e.product_id IS NOT NULL
    AND e.type IN ('click', 'dwell', 'return', 'add_to_cart', 'wishlist', 'purchase')
  GROUP BY l.query_id, e.product_id),
went_on AS MATERIALIZED (
  SELECT l.query_id FROM lists l JOIN events e ON e.query_id = l.query_id AND e.received_on BETWEEN :first AND :heard
  WHERE e.type = 'reformulation' AND NOT e.is_bot
  UNION SELECT query_id FROM acts WHERE clicked GROUP BY query_id HAVING count(*) > 1)
SELECT u.number AS unit, dense_rank() OVER (ORDER BY l.query_id) - 1 AS list,
       l.coins -> 'teams' ->> (array_position(p.product_ids, CAST(a.product_id AS varchar)) - 1) AS team, a.clicked,
       a.dwell_ms, a.timed, a.returned, l.query_id IN (SELECT query_id FROM went_on) AS went_on, a.kept, a.bought
FROM lists l JOIN units u USING (unit)
JOIN served_pages p ON p.query_id = l.query_id AND p.served_on = l.served_on AND p.first_position = 1
JOIN acts a ON a.query_id = l.query_id
WHERE NOT u.bot AND NOT u.tester AND array_position(p.product_ids, CAST(a.product_id AS varchar)) IS NOT NULL
""")

_COUNTS = text("""
SELECT count(*) AS lists, count(DISTINCT unit) AS units, count(DISTINCT unit) FILTER (WHERE bot) AS bots,
       count(DISTINCT unit) FILTER (WHERE tester) AS testers
FROM (SELECT CASE assignment ->> 'unit' WHEN 'user' THEN user_id WHEN 'session' THEN session_id ELSE shopper_id
             END AS unit,
             is_bot OR shopper_id IN (SELECT unit FROM bot_units) OR session_id IN (SELECT unit FROM bot_units)
               OR user_id IN (SELECT unit FROM bot_units) AS bot,
             assignment -> 'layers' -> 'ranker' ->> 'how' = 'override' AS tester
      FROM served_lists
      WHERE served_on BETWEEN :first AND :last AND served_at >= :since AND served_at < :until
        AND experiments ? :name AND turn = 1 AND coins ->> 'kind' = 'team_draft') AS drafted
""")


@dataclass(frozen=True)
class TeamCredit:
    """Lists (m,) with credit for either team.

    Args:
        unit: (m,) number of the unit whose list it is.
        a: (m,) sum of the labels of what was taken from A.
        b: (m,) likewise.
        lists: all that were drafted, those without any credit included.
        units: whose they are.
        left_out: units that are not counted: bots, testers.
    """

    unit: Ints
    a: Floats
    b: Floats
    lists: int
    units: int
    left_out: dict[str, int]


def read_team_credit(session: Session, period: Period) -> TeamCredit:
    """The credit of each interleaved list: labels as the night has them; what both teams would show has none."""
    values = {
        "name": period.name,
        "since": period.since,
        "until": period.until,
        "first": period.since.date() - timedelta(days=1),
        "last": period.until.date() + timedelta(days=1),
        "heard": (period.until + HEARD).date(),
    }
    hash_joins(session)
    counts = session.execute(_COUNTS, values).one()
    rows = session.execute(_ROWS, values).all()
    unit, a, b = _credit(rows)
    left_out = {"bots": counts.bots, "testers": counts.testers}
    return TeamCredit(unit, a, b, counts.lists, counts.units - counts.bots - counts.testers, left_out)


def _credit(rows: Any) -> tuple[Ints, Floats, Floats]:
    """(m,) units, and credits of A and B, of the lists in ``rows``."""
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    unit, place, team, *acts = (np.array(column) for column in zip(*rows, strict=True))
    clicked, dwell_ms, timed, returned, went_on, kept, bought = acts
    label = graded(
        clicked=clicked,
        dwell_ms=dwell_ms.astype(np.int64),
        timed=timed,
        returned=returned,
        went_on=went_on,
        kept=kept,
        bought=bought,
    )
    lists, own = np.unique(place, return_inverse=True)
    of_list = np.zeros(len(lists), np.int64)
    of_list[own] = unit
    a, b = (np.bincount(own, weights=label * (team == side)).astype(np.float64) for side in ("A", "B"))
    return of_list, a, b
