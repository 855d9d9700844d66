"""Which lists of a window are learned from, which are not and why, and what each of them asked for: temporary tables.

``night_lists`` has a row for each list of the window; those without a ``reason`` are learned from and numbered, oldest
first. ``night_asked`` has the distinct queries, ``night_units`` the shoppers, ``night_contexts`` where they look from,
``night_cohorts`` who they are. All are gone with the transaction.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

Window = tuple[datetime, datetime]
"""From and to: lists that were served, and events that came, from the one until just before the other."""

REASONS = {
    "bots": "asked by a program",
    "refined": "a refined list: what was said on it counts for the list that it began with",
    "browsed": "nothing was searched for",
    "sorted": "ordered by a column instead of by score",
    "filtered": "filters beyond stock: what was not shown may have been filtered out, not ranked low",
    "nothing_found": "no product was found",
    "odds_unknown": "the chance of what was shown is not known",
    "nobody": "it names no shopper, user or session, and nothing was done with it",
}
"""Why a list is left out, in the order in which it is looked at."""


def choose(session: Session, window: Window) -> dict[str, int]:
    """Make the temporary tables; how many lists are learned from (``lists``) and how many are left out, by reason."""
    values = parameters(window)
    # a block of sorting and hashing in memory, the rest in files of PostgreSQL's
    session.execute(text("SET LOCAL work_mem = '64MB'"))
    # joins of a million lists: one that is guessed to have a row and is a loop would take hours
    session.execute(text("SET LOCAL enable_nestloop = off"))
    for statement in (_SEEN, _NUMBERED, _ASKED, _UNITS, _CONTEXTS, _COHORTS):
        session.execute(statement, values)
    for table in ("lists", "asked", "units", "contexts", "cohorts"):
        session.execute(text(f"ANALYZE night_{table}"))
    counts = session.execute(_COUNTS)
    return {"lists": 0} | {row.reason: row.lists for row in counts}


def parameters(window: Window) -> Mapping[str, Any]:
    """What statements about ``window`` take: its ends, and the days that rows of it may lie under."""
    begin, end = window
    # rows lie under days in UTC; PostgreSQL gives times in its own zone
    return {"begin": begin, "end": end, "first": begin.astimezone(UTC).date(), "last": end.astimezone(UTC).date()}


KEY = """
    CASE WHEN num_nulls(R ->> 'text', R ->> 'image_hash', R ->> 'product_id') = 2
         THEN coalesce('text:' || (R ->> 'text'), 'image:' || (R ->> 'image_hash'), 'product:' || (R ->> 'product_id'))
         ELSE 'both:' || concat_ws(chr(31), coalesce(R ->> 'text', ''), coalesce(R ->> 'image_hash', ''),
                                   coalesce(R ->> 'product_id', '')) END
"""
"""What makes a query itself, of a list's request R."""

_KIND = """
    CASE WHEN num_nulls(R ->> 'text', R ->> 'image_hash', R ->> 'product_id') < 2 THEN 'both'
         WHEN R ->> 'text' IS NOT NULL THEN 'text' WHEN R ->> 'image_hash' IS NOT NULL THEN 'image' ELSE 'product' END
"""

OF_DAYS = "(R.served_on BETWEEN CAST(:first AS date) AND CAST(:last AS date) OR R.served_on = DATE '2000-01-01')"
"""Whether a row R of lists or pages lies under a day of the window; a list whose id names no day, under 2000-01-01.

Said of every table that is joined: PostgreSQL leaves out no partition, nor its lock, for what it could conclude.
"""

_OF_WINDOW = f"{OF_DAYS.replace('R.', 'l.')} AND l.served_at >= :begin AND l.served_at < :end"

_SEEN = text(
    f"""
    CREATE TEMPORARY TABLE night_seen ON COMMIT DROP AS
    SELECT l.query_id, l.served_on, l.served_at, l.generation_id, l.coins IS NOT NULL AS tossed,
           cardinality(p.product_ids) AS length,
           coalesce(l.user_id, l.shopper_id, l.session_id, l.query_id) AS unit,
           coalesce(l.session_id, l.user_id, l.shopper_id, l.query_id) AS visit,
           coalesce(l.device, 'unknown') AS device, coalesce(l.cohort, '') AS cohort,
           coalesce(l.layout, CASE WHEN l.columns = 1 THEN 'list' ELSE 'grid' END) AS layout,
           coalesce(l.columns, CASE WHEN l.layout = 'list' THEN 1 ELSE 0 END) AS columns,
           coalesce(l.query_type, {_KIND.replace("R ", "l.request ")}) AS query_type,
           {_KIND.replace("R ", "l.request ")} AS kind, {KEY.replace("R ", "l.request ")} AS key,
           CASE WHEN l.is_bot OR EXISTS (SELECT FROM bot_units WHERE unit IN (l.user_id, l.shopper_id, l.session_id))
                  THEN 'bots'
                WHEN l.turn > 1 THEN 'refined'
                WHEN num_nulls(l.request ->> 'text', l.request ->> 'image_hash', l.request ->> 'product_id') = 3
                  THEN 'browsed'
                WHEN coalesce(l.request ->> 'sort', 'relevance') <> 'relevance' THEN 'sorted'
                WHEN coalesce(l.request -> 'filters', '{{}}') - 'in_stock' <> '{{}}' THEN 'filtered'
                WHEN p.product_ids IS NULL OR cardinality(p.product_ids) = 0 THEN 'nothing_found'
                WHEN p.p_show IS NULL THEN 'odds_unknown'
                -- each would be a shopper of its own, whose voice nothing bounds: a monitor asks the same all day
                WHEN coalesce(l.user_id, l.shopper_id, l.session_id) IS NULL AND NOT EXISTS (
                  SELECT FROM events e WHERE e.query_id = l.query_id
                    AND e.received_on BETWEEN CAST(:first AS date) AND CAST(:last AS date)) THEN 'nobody' END AS reason
    FROM served_lists l
    LEFT JOIN served_pages p ON p.query_id = l.query_id AND p.served_on = l.served_on AND p.first_position = 1
      AND {OF_DAYS.replace("R.", "p.")}
    WHERE {_OF_WINDOW}
    """  # noqa: S608  made of constants
)

# what the same visit searched for next, unless that is the same once more; refining is not asking anew
_NUMBERED = text(
    """
    CREATE TEMPORARY TABLE night_lists ON COMMIT DROP AS
    SELECT query_id, served_on, served_at, generation_id, tossed, length, unit, device, cohort, layout, columns,
           query_type, kind, key, reason, CASE WHEN next_key <> key THEN next_at END AS following,
           CAST(CASE WHEN reason IS NULL
                THEN row_number() OVER (PARTITION BY reason IS NULL ORDER BY served_at, query_id) - 1 END AS integer)
             AS list
    FROM (SELECT *, lead(served_at) OVER visit_in_order AS next_at, lead(key) OVER visit_in_order AS next_key
          FROM night_seen
          WINDOW visit_in_order AS (PARTITION BY visit, coalesce(reason, '') IN ('bots', 'refined')
                                    ORDER BY served_at, query_id)) AS seen
    """
)

_ASKED = text(
    """
    CREATE TEMPORARY TABLE night_asked ON COMMIT DROP AS
    SELECT key, kind, CAST(row_number() OVER (ORDER BY key COLLATE "C") - 1 AS integer) AS query
    FROM (SELECT DISTINCT key, kind FROM night_lists WHERE reason IS NULL) AS asked
    """
)

_UNITS = text(
    """
    CREATE TEMPORARY TABLE night_units ON COMMIT DROP AS
    SELECT unit, CAST(row_number() OVER (ORDER BY unit COLLATE "C") - 1 AS integer) AS number
    FROM (SELECT DISTINCT unit FROM night_lists WHERE reason IS DISTINCT FROM 'bots') AS units
    """
)

_CONTEXTS = text(
    """
    CREATE TEMPORARY TABLE night_contexts ON COMMIT DROP AS
    SELECT *, CAST(row_number() OVER (ORDER BY device, layout, columns, query_type) - 1 AS smallint) AS context
    FROM (SELECT DISTINCT device, layout, columns, query_type FROM night_lists WHERE reason IS NULL) AS contexts
    """
)

_COUNTS = text("SELECT coalesce(reason, 'lists') AS reason, count(*) AS lists FROM night_lists GROUP BY 1")

_COHORTS = text(
    """
    CREATE TEMPORARY TABLE night_cohorts ON COMMIT DROP AS
    SELECT name, CAST(row_number() OVER (ORDER BY name <> '', name) - 1 AS smallint) AS cohort
    FROM (SELECT '' AS name UNION SELECT cohort FROM night_lists WHERE reason IS NULL) AS cohorts
    """
)
