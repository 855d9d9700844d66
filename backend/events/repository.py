"""SQL of served lists: what was shown, where, and under which generation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from backend.prepared import prepared


@dataclass(frozen=True)
class PageServed:
    """Products in the order shown, the first at ``first_position`` (1-based), with their scores."""

    first_position: int
    product_ids: Sequence[str]
    scores: Sequence[float]


@dataclass(frozen=True)
class ListServed:
    """A served list as it is recorded: the request that made it and what it was answered under.

    ``shopper_id`` and ``session_id`` are hashes already (``events/units.py``).
    """

    query_id: str
    generation_id: int
    request: dict[str, Any]
    total: int
    total_is: Literal["estimate", "exact"]
    shopper_id: str | None = None
    session_id: str | None = None
    surface: str | None = None
    device: str | None = None
    query_type: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    turn: int = 1
    refinement: dict[str, Any] | None = None
    experiments: dict[str, Any] = field(default_factory=dict)
    served_at: datetime | None = None  # None: the database's clock says when it is recorded
    acted: bool = False  # whether clients sent events of it


RECORDING = """
    relaxed AS (SELECT set_config('synchronous_commit', 'off', true)),
    list AS (
      INSERT INTO served_lists (query_id, parent_id, root_id, refinement, turn, generation_id, experiments, request,
                                total, total_is, shopper_id, session_id, surface, device, query_type)
      SELECT CAST(:query_id AS text), CAST(:parent_id AS text), CAST(:root_id AS text), CAST(:refinement AS jsonb),
             CAST(:turn AS smallint), CAST(:generation_id AS bigint), CAST(:experiments AS jsonb),
             CAST(:request AS jsonb), page.total, CAST(:total_is AS text), CAST(:shopper_id AS text),
             CAST(:session_id AS text), CAST(:surface AS text), CAST(:device AS text), CAST(:query_type AS text)
      FROM relaxed, page WHERE page.recorded RETURNING query_id),
    recorded AS (
      INSERT INTO served_pages (query_id, first_position, product_ids, scores)
      SELECT list.query_id, 1, page.product_ids, page.scores FROM list, page)
"""
"""CTEs of a statement that fills a first page: they write the list and that page in the same round trip.

The statement defines ``page``, one row of product_ids, scores, total and whether that is ``recorded``; it is given
:func:`recorded_values`. Its commit does not wait for the disk: a crash may lose the last 0.6 s.
"""

_ADD_PAGE = text(
    """
    WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
    INSERT INTO served_pages (query_id, first_position, product_ids, scores)
    SELECT :query_id, :first_position, :product_ids, :scores FROM relaxed
    ON CONFLICT DO NOTHING
    """
).bindparams(bindparam("product_ids", type_=ARRAY(String)), bindparam("scores", type_=ARRAY(DOUBLE_PRECISION)))


def recorded_values(served: ListServed) -> dict[str, Any]:
    """Parameters of ``RECORDING``; the total is the statement's own."""
    return vars(served) | {
        "request": orjson.dumps(served.request).decode(),
        "experiments": orjson.dumps(served.experiments).decode(),
        "refinement": None if served.refinement is None else orjson.dumps(served.refinement).decode(),
    }


def add_page(session: Session, query_id: str, page: PageServed) -> None:
    """Write a further page; a page that was served before stays as it was."""
    values = {
        "query_id": query_id,
        "first_position": page.first_position,
        "product_ids": list(page.product_ids),
        "scores": [float(score) for score in page.scores],
    }
    session.execute(_ADD_PAGE, values)


_GET = prepared(
    """
    SELECT l.query_id, l.generation_id, l.request, l.total, l.total_is, l.shopper_id, l.session_id, l.surface, l.device,
           l.query_type, l.parent_id, l.root_id, l.turn, l.refinement, l.experiments, l.served_at,
           EXISTS (SELECT FROM events e WHERE e.query_id = l.query_id AND e.source = 'client') AS acted,
           (SELECT jsonb_agg(jsonb_build_array(p.first_position, p.product_ids, p.scores) ORDER BY p.first_position)
            FROM served_pages p WHERE p.query_id = l.query_id) AS pages
    FROM served_lists l WHERE l.query_id = CAST(:query_id AS text)
    """
)


def get_served_list(connection: Connection, query_id: str) -> tuple[ListServed, list[PageServed]] | None:
    """A list and its pages in order, or ``None``; in one round trip."""
    rows = _GET.rows(connection, {"query_id": query_id})
    if not rows:
        return None
    served = ListServed(**{name: getattr(rows[0], name) for name in ListServed.__dataclass_fields__})
    return served, [PageServed(*page) for page in rows[0].pages or []]
