"""Lists, what was shown in them and what was done with it, out of PostgreSQL and set aside by block of lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.learning.adapter_data import Told
from backend.learning.click_logs.chosen import OF_DAYS, Window, parameters
from backend.learning.click_logs.fixed_rows import INT2, INT4, INT8, REAL, TIME, Records, copy_out
from backend.learning.click_logs.spool import Spool
from backend.ml.clicks.deeds import KINDS

LISTS = {
    "list": INT4,
    "query": INT4,
    "unit": INT4,
    "context": INT2,
    "cohort": INT2,
    "generation": INT4,
    "served": TIME,
    "following": TIME,
}
"""Columns of a list; ``following`` is when the same visit searched for something else next, or never."""

ROWS = {"list": INT4, "product": INT8, "position": INT2, "score": REAL, "p_show": REAL}
"""Columns of a product shown."""

DEEDS = {"list": INT4, "product": INT8, "kind": INT2, "at": TIME, "amount": INT4, "share": REAL, "columns": INT2}
"""Columns of an event; what is not said is -1, a product that is not in the catalogue any more, too."""


@dataclass(frozen=True)
class Aside:
    """What was read, by block of lists.

    Args:
        lists: one record a list.
        rows: one a product shown.
        deeds: one an event of a list.
        events: how many of the window were read, and left out, by why.
    """

    lists: Spool
    rows: Spool
    deeds: Spool
    events: Mapping[str, int]


def set_aside(session: Session, window: Window, folder: Path, lists: int, block: int, told: Told) -> Aside:
    """Read everything of those ``lists`` of ``night_lists`` that are learned from.

    Args:
        session: that made the temporary tables.
        window: of the lists and events.
        folder: for files; what memory holds does not grow with them.
        lists: how many there are.
        block: lists of a block.
        told: what is under way.
    """
    values = {**parameters(window), "kinds": list(KINDS)}
    events = {row.reason: row.events for row in session.execute(_EVENT_COUNTS, values)}
    shown = session.scalars(text("SELECT coalesce(sum(length), 0) FROM night_lists WHERE reason IS NULL")).one()
    lists_aside, rows, deeds = (Spool(folder / name, block) for name in ("lists", "rows", "deeds"))
    aside = Aside(lists_aside, rows, deeds, events)
    copy_out(session, _LISTS, {}, LISTS, _telling("Lists", lists, aside.lists, told))
    copy_out(session, _ROWS, values, ROWS, _telling("Products shown", int(shown), aside.rows, told))
    copy_out(session, _DEEDS, values, DEEDS, _telling("Events", events.get("read", 0), aside.deeds, told))
    return aside


class _telling:  # noqa: N801  called like a function, and remembers how far it is
    """Sets records aside and says how many there are by now."""

    def __init__(self, what: str, total: int, spool: Spool, told: Told) -> None:
        self._what, self._total, self._spool, self._told = what, total, spool, told
        self._done = 0

    def __call__(self, records: Records) -> None:
        self._spool.add(records)
        self._done += len(records)
        self._told(self._what, min(self._done, self._total), self._total)


_LISTS = """
    SELECT l.list, a.query, u.number, c.context, h.cohort, CAST(l.generation_id AS integer), l.served_at,
           coalesce(l.following, 'infinity')
    FROM night_lists l JOIN night_asked a USING (key) JOIN night_units u USING (unit)
    JOIN night_contexts c USING (device, layout, columns, query_type) JOIN night_cohorts h ON h.name = l.cohort
    WHERE l.reason IS NULL
"""

_ROWS = f"""
    SELECT l.list, g.number, CAST(s.place AS smallint), CAST(coalesce(s.score, 'nan') AS real),
           coalesce(s.p_show, 'nan')
    FROM night_lists l
    JOIN served_pages p ON p.query_id = l.query_id AND p.served_on = l.served_on AND p.first_position = 1
    CROSS JOIN LATERAL unnest(p.product_ids, p.scores, p.p_show) WITH ORDINALITY AS s(product_id, score, p_show, place)
    JOIN products g ON g.id = s.product_id
    WHERE l.reason IS NULL AND {OF_DAYS.replace("R.", "p.").replace(":first", "%(first)s").replace(":last", "%(last)s")}
"""  # noqa: S608  made of constants

_OF_WINDOW = "e.received_on BETWEEN %(first)s AND %(last)s AND e.received_at >= %(begin)s AND e.received_at < %(end)s"

_DEEDS = f"""
    SELECT l.list, coalesce(g.number, -1), CAST(array_position(%(kinds)s, CAST(e.type AS text)) - 1 AS smallint),
           e.occurred_at, coalesce(e.visible_ms, e.dwell_ms, -1), coalesce(e.visible_share, CAST(-1 AS real)),
           coalesce(e.columns, CAST(0 AS smallint))
    FROM events e JOIN night_lists l USING (query_id) LEFT JOIN products g ON g.id = e.product_id
    WHERE l.reason IS NULL AND {_OF_WINDOW} AND e.type = ANY(%(kinds)s) AND e.attribution IN ('given', 'joined')
      AND NOT e.is_bot AND e.source <> 'refine'
"""  # noqa: S608  made of constants

_EVENT_COUNTS = text(
    """
    SELECT CASE WHEN e.is_bot THEN 'bots' WHEN e.attribution NOT IN ('given', 'joined') THEN 'unattributed'
                ELSE 'read' END AS reason, count(*) AS events
    FROM events e
    WHERE e.received_on BETWEEN :first AND :last AND e.received_at >= :begin AND e.received_at < :end
      AND e.type = ANY(CAST(:kinds AS text[])) AND e.source <> 'refine'
    GROUP BY 1
    """
)
