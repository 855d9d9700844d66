"""What the units of an experiment did, one sum a unit: the rows that its metrics are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.ml.clicks.deeds import LONGEST_MS, SEEN_MS, SEEN_SHARE
from backend.ml.clicks.exploration import NEW_DAYS
from backend.ml.clicks.labels import KEPT, SATISFIED_MS, SATISFYING, UNSURE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SUMS = ("queries", "satisfied", "labels", "clicks", "carts", "purchases", "abandoned", "reformulated", "zero_results",
        "timed", "slow", "slower", "new_views", "answered", "answered_s")  # fmt: skip
"""What is summed; see ``_ROWS``. Refined lists belong to the query that they began with."""

BEFORE = timedelta(days=28)
"""How long before an experiment its units are looked at for CUPED."""

SLOWER = 1.1
"""p95 latency of the first arm times this is what another arm may have."""

HEARD = timedelta(days=7)
"""After a list its events are waited for no longer than this."""

_NEW = timedelta(days=NEW_DAYS)

_AT_ONCE = 20_000

_UNITS = {
    "shopper": "CASE l.assignment ->> 'unit' WHEN 'user' THEN l.user_id WHEN 'session' THEN l.session_id"
    " ELSE l.shopper_id END",
    "session": "coalesce(l.session_id, l.shopper_id, l.user_id)",
}

# labels as in ml/clicks/labels.py, with the one cut of 30 s; who left at once had a dwell below it, too. In view as in
# ml/clicks/deeds.py. Exposures are read of new products only, and of none in a shop that is new itself: there, they
# are all products
_ROWS = """
WITH served AS MATERIALIZED (
  SELECT l.query_id, coalesce(l.root_id, l.query_id) AS root, l.turn, l.experiments ->> :name AS arm,
         l.assignment -> 'layers' -> :layer ->> 'how' AS how, {unit} AS unit, coalesce(l.device, '') AS device,
         coalesce(l.query_type, '') AS query_type, l.total, l.latency_ms, l.served_at,
         l.is_bot OR l.shopper_id IN (SELECT unit FROM bot_units) OR l.session_id IN (SELECT unit FROM bot_units)
           OR l.user_id IN (SELECT unit FROM bot_units) AS bot, false AS before
  FROM served_lists l
  WHERE l.served_on BETWEEN :first AND :last AND l.served_at >= :since AND l.served_at < :until
    AND l.experiments ? :name
    AND coalesce(l.request ->> 'text', l.request ->> 'image_hash', l.request ->> 'product_id') IS NOT NULL),
units AS MATERIALIZED (
  SELECT unit, row_number() OVER (ORDER BY unit) - 1 AS number, min(arm) AS arm,
         coalesce(bool_or(how = 'bucket'), false) AS placed,
         CASE WHEN bool_or(bot IS TRUE) THEN 'bots' WHEN bool_or(how = 'override') THEN 'testers'
              WHEN count(DISTINCT arm) > 1 THEN 'crossed' ELSE '' END AS left_out
  FROM served WHERE unit IS NOT NULL GROUP BY unit),
lists AS MATERIALIZED (
  SELECT * FROM served {past}),
limits AS MATERIALIZED (
  SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY l.latency_ms) AS p95
  FROM lists l JOIN units u USING (unit) WHERE u.left_out = '' AND u.arm = :control AND l.turn = 1 AND NOT l.before),
fresh AS MATERIALIZED (
  SELECT p.id, p.created_at FROM products p
  WHERE p.created_at > :oldest AND (SELECT 2 * count(*) FILTER (WHERE o.created_at <= :known_before) > count(*)
                                    FROM products o WHERE o.created_at <= :since)),
acts AS MATERIALIZED (
  SELECT l.root, e.product_id, bool_or(e.type = 'click') AS clicked,
         coalesce(sum(e.dwell_ms) FILTER (WHERE e.type = 'dwell'), 0) AS dwell_ms,
         bool_or(e.type IN ('add_to_cart', 'wishlist')) AS kept, bool_or(e.type = 'add_to_cart') AS cart,
         bool_or(e.type = 'purchase') AS bought,
         coalesce(sum(coalesce(e.visible_ms, :seen_ms)) FILTER (WHERE e.type = 'exposure') >= :seen_ms, false) AS seen,
         coalesce(bool_or(f.created_at > l.served_at - :new), false) AS new,
         min(e.occurred_at) FILTER (WHERE e.type NOT IN ('exposure', 'dwell')) AS first_at
  FROM lists l JOIN events e ON e.query_id = l.query_id AND e.received_on BETWEEN :begin AND :heard
  LEFT JOIN fresh f ON f.id = e.product_id
  WHERE NOT e.is_bot AND e.attribution IN ('given', 'joined') AND e.product_id IS NOT NULL
    AND (e.type IN ('click', 'dwell', 'add_to_cart', 'wishlist', 'purchase')
         OR (e.type = 'exposure' AND e.visible_share >= :seen_share AND e.product_id IN (SELECT id FROM fresh)))
  GROUP BY l.root, e.product_id),
done AS MATERIALIZED (
  SELECT root, count(*) FILTER (WHERE clicked) AS clicks,
         count(*) FILTER (WHERE kept OR bought OR (clicked AND dwell_ms >= :satisfied_ms)) AS satisfied,
         sum(CASE WHEN bought THEN 3 WHEN kept THEN :kept WHEN clicked AND dwell_ms >= :satisfied_ms THEN :satisfying
                  WHEN clicked THEN :unsure ELSE 0 END) AS labels,
         count(*) FILTER (WHERE cart) AS carts, count(*) FILTER (WHERE bought) AS purchases,
         count(*) FILTER (WHERE new AND (seen OR clicked OR kept OR bought)) AS new_views,
         min(first_at) FILTER (WHERE kept OR bought OR (clicked AND dwell_ms >= :satisfied_ms)) AS answered_at
  FROM acts GROUP BY root),
reformulated AS MATERIALIZED (
  SELECT DISTINCT l.root FROM lists l
  JOIN events e ON e.query_id = l.query_id AND e.received_on BETWEEN :begin AND :heard
  WHERE e.type = 'reformulation' AND NOT e.is_bot)
SELECT u.number AS unit, u.arm, u.placed, u.left_out, l.device, l.query_type, l.before,
       count(*) AS queries, coalesce(sum(d.satisfied), 0) AS satisfied, coalesce(sum(d.labels), 0) AS labels,
       coalesce(sum(d.clicks), 0) AS clicks, coalesce(sum(d.carts), 0) AS carts,
       coalesce(sum(d.purchases), 0) AS purchases, count(*) FILTER (WHERE coalesce(d.clicks, 0) = 0) AS abandoned,
       count(r.root) AS reformulated, count(*) FILTER (WHERE l.total = 0) AS zero_results,
       count(l.latency_ms) AS timed, count(*) FILTER (WHERE l.latency_ms > limits.p95) AS slow,
       count(*) FILTER (WHERE l.latency_ms > :slower * limits.p95) AS slower,
       coalesce(sum(d.new_views), 0) AS new_views, count(d.answered_at) AS answered,
       coalesce(sum(least(greatest(extract(epoch FROM d.answered_at - l.served_at), 0), :longest_s))
                FILTER (WHERE d.answered_at IS NOT NULL), 0) AS answered_s
FROM lists l JOIN units u USING (unit) CROSS JOIN limits
LEFT JOIN done d USING (root) LEFT JOIN reformulated r USING (root)
WHERE l.turn = 1 GROUP BY 1, 2, 3, 4, 5, 6, 7
"""

_PAST = """
  UNION ALL
  SELECT l.query_id, coalesce(l.root_id, l.query_id), l.turn, NULL, NULL, {unit}, '', '', l.total, l.latency_ms,
         l.served_at, l.is_bot, true
  FROM served_lists l
  WHERE l.served_on BETWEEN :begin AND :first AND l.served_at >= :past AND l.served_at < :since AND NOT l.is_bot
    AND coalesce(l.request ->> 'text', l.request ->> 'image_hash', l.request ->> 'product_id') IS NOT NULL
    AND {unit} IN (SELECT unit FROM units)"""


_P95 = text("""
    SELECT experiments ->> :name AS arm, percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95
    FROM served_lists
    WHERE served_on BETWEEN :first AND :last AND served_at >= :since AND served_at < :until
      AND experiments ? :name AND turn = 1 AND NOT is_bot AND latency_ms IS NOT NULL
      AND coalesce(request ->> 'text', request ->> 'image_hash', request ->> 'product_id') IS NOT NULL
    GROUP BY 1
""")


@dataclass(frozen=True)
class Period:
    """Whose lists are read, of when.

    Args:
        name: the experiment's, as lists are kept with it: ``e3``.
        layer: its layer, by which its unit is known.
        control: name of its first arm.
        since: when it began.
        until: up to when.
        before: whether what its units did before is read, too.
    """

    name: str
    layer: str
    control: str
    since: datetime
    until: datetime
    before: bool = False


@dataclass(frozen=True)
class UnitSums:
    """Rows (r,), one for each unit, device and type of query, and one more for what the unit did before.

    Args:
        unit: number of the unit, from 0.
        arm: place of its arm among ``arms``.
        placed: whether its own bucket led it there, rather than what it was given on another device.
        left_out: why the unit is not compared; empty for most.
        device: as it said itself.
        query_type: likewise.
        before: whether the row is of the time before.
        sums: (r, len(SUMS)).
        arms: names.
    """

    unit: Ints
    arm: Ints
    placed: NDArray[np.bool_]
    left_out: NDArray[np.object_]
    device: NDArray[np.object_]
    query_type: NDArray[np.object_]
    before: NDArray[np.bool_]
    sums: Floats
    arms: tuple[str, ...]

    def of(self, name: str) -> Floats:
        """(r,) of one of ``SUMS``."""
        return self.sums[:, SUMS.index(name)]

    def only(self, which: NDArray[np.bool_]) -> "UnitSums":
        """The rows that ``which`` (r,) says."""
        rows = {field.name: getattr(self, field.name)[which] for field in fields(self) if field.name != "arms"}
        return UnitSums(**rows, arms=self.arms)


def read_unit_sums(session: Session, period: Period, arms: Sequence[str]) -> UnitSums:
    """The sums of all units that an experiment assigned, those that are left out included.

    A unit is whom the experiment's layer divides by: the shopper, or the session in layer ``explore``.
    """
    unit = _UNITS["session" if period.layer == "explore" else "shopper"]
    statement = text(_ROWS.format(unit=unit, past=_PAST.format(unit=unit) if period.before else ""))
    past = period.since - BEFORE
    values = {
        "name": period.name,
        "layer": period.layer,
        "control": period.control,
        "since": period.since,
        "until": period.until,
        "past": past,
        "begin": (past if period.before else period.since).date() - timedelta(days=1),
        "first": period.since.date() - timedelta(days=1),  # clocks of two machines differ
        "last": period.until.date() + timedelta(days=1),
        "heard": (period.until + HEARD).date(),
        "satisfied_ms": SATISFIED_MS,
        "kept": KEPT,
        "satisfying": SATISFYING,
        "unsure": UNSURE,
        "slower": SLOWER,
        "oldest": (past if period.before else period.since) - _NEW,
        "known_before": period.since - _NEW,
        "new": _NEW,
        "seen_share": SEEN_SHARE,
        "seen_ms": SEEN_MS,
        "longest_s": LONGEST_MS / 1000,
    }
    hash_joins(session)
    found = session.execute(statement, values, execution_options={"stream_results": True, "yield_per": _AT_ONCE})
    return _columns([_part(part, arms) for part in found.partitions()], tuple(arms))


def hash_joins(session: Session) -> None:
    """Let the rest of the transaction join by hashes: PostgreSQL takes what a query has just made for a few rows."""
    session.execute(text("SET LOCAL enable_nestloop = off"))


def read_p95(session: Session, period: Period, arms: Sequence[str]) -> list[float | None]:
    """95th percentile of each arm's latency, in ms; None where none was measured."""
    values = {
        "name": period.name,
        "since": period.since,
        "until": period.until,
        "first": period.since.date() - timedelta(days=1),
        "last": period.until.date() + timedelta(days=1),
    }
    found = {row.arm: row.p95 for row in session.execute(_P95, values)}
    return [found.get(arm) for arm in arms]


def _part(rows: Sequence[Any], arms: Sequence[str]) -> UnitSums:
    place = {name: at for at, name in enumerate(arms)}
    columns = list(zip(*rows, strict=True))
    return UnitSums(
        unit=np.array(columns[0], np.int64),
        arm=np.array([place.get(name, 0) for name in columns[1]], np.int64),
        placed=np.array(columns[2], np.bool_),
        left_out=np.array(columns[3], np.object_),
        device=np.array(columns[4], np.object_),
        query_type=np.array(columns[5], np.object_),
        before=np.array(columns[6], np.bool_),
        sums=np.array(columns[7:], np.float64).T,
        arms=tuple(arms),
    )


def _columns(parts: Sequence[UnitSums], arms: tuple[str, ...]) -> UnitSums:
    if not parts:
        none, said = np.zeros(0, np.int64), np.zeros(0, np.object_)
        flags = np.zeros(0, np.bool_)
        return UnitSums(none, none, flags, said, said, said, flags, np.zeros((0, len(SUMS))), arms)
    rows = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(UnitSums)
        if field.name != "arms"
    }
    return UnitSums(**rows, arms=arms)
