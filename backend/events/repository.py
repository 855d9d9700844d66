"""SQL of served lists: what was shown, where, and under which generation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from backend.events.query_ids import day_of
from backend.prepared import prepared


@dataclass(frozen=True)
class PageServed:
    """Products in the order shown, the first at ``first_position`` (1-based), with their scores.

    Args:
        first_position: where its first product stands.
        product_ids: its products.
        scores: of each.
        p_show: probability that each stood at its place, given the arm, over the coins; None where it is not known.
        candidates: numbers of products, best first, before anything was randomised.
        candidate_scores: of each candidate.
    """

    first_position: int
    product_ids: Sequence[str]
    scores: Sequence[float]
    p_show: Sequence[float] | None = None
    candidates: Sequence[int] | None = None
    candidate_scores: Sequence[float] | None = None


@dataclass(frozen=True)
class ListServed:
    """A served list as it is recorded: the request that made it and what it was answered under.

    ``shopper_id``, ``session_id`` and ``user_id`` are hashes already (``events/units.py``).
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
    experiments: dict[str, Any] = field(default_factory=dict)  # as answered: {"e3": "g8"}
    assignment: dict[str, Any] = field(default_factory=dict)  # by layer: experiment, arm, bucket, version of the salt
    coins: dict[str, Any] | None = None  # of a randomised list: its policy and what was tossed; "teams" of its page
    user_id: str | None = None
    locale: str | None = None
    cohort: str | None = None
    layout: str | None = None
    columns: int | None = None
    is_bot: bool = False
    latency_ms: float | None = None
    served_at: datetime | None = None  # None: the database's clock says when it is recorded
    acted: bool = False  # whether clients sent events of it


RECORDING = """
    relaxed AS (SELECT set_config('synchronous_commit', 'off', true)),
    list AS (
      INSERT INTO served_lists (query_id, served_on, parent_id, root_id, refinement, turn, generation_id, experiments,
                                assignment, coins, request, total, total_is, shopper_id, session_id, user_id, surface,
                                device, query_type, locale, cohort, layout, columns, is_bot, latency_ms)
      SELECT CAST(:query_id AS text), CAST(:served_on AS date), CAST(:parent_id AS text), CAST(:root_id AS text),
             CAST(:refinement AS jsonb), CAST(:turn AS smallint), CAST(:generation_id AS bigint),
             CAST(:experiments AS jsonb), CAST(:assignment AS jsonb), CAST(:coins AS jsonb), CAST(:request AS jsonb),
             page.total, CAST(:total_is AS text), CAST(:shopper_id AS text), CAST(:session_id AS text),
             CAST(:user_id AS text), CAST(:surface AS text), CAST(:device AS text), CAST(:query_type AS text),
             CAST(:locale AS text), CAST(:cohort AS text), CAST(:layout AS text), CAST(:columns AS smallint),
             CAST(:is_bot AS boolean), CAST(:latency_ms AS real)
      FROM relaxed, page WHERE page.recorded RETURNING query_id, served_on),
    recorded AS (
      INSERT INTO served_pages (query_id, served_on, first_position, product_ids, scores, p_show, candidates,
                                candidate_scores)
      SELECT list.query_id, list.served_on, 1, page.product_ids, page.scores, page.p_show,
             CAST(:candidates AS bigint[]), CAST(:candidate_scores AS real[])
      FROM list, page)
"""
"""CTEs of a statement that fills a first page: they write the list and that page in the same round trip.

The statement defines ``page``, one row of product_ids, scores, p_show, total and whether that is ``recorded``; it is
given :func:`recorded_values`, ``candidates`` and ``candidate_scores``. Its commit does not wait for the disk: a crash
may lose the last 0.6 s.
"""

_ADD_PAGE = prepared(
    """
    WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
    INSERT INTO served_pages (query_id, served_on, first_position, product_ids, scores, p_show, candidates,
                              candidate_scores)
    SELECT CAST(:query_id AS text), CAST(:served_on AS date), CAST(:first_position AS integer),
           CAST(:product_ids AS text[]), CAST(:scores AS float8[]), CAST(:p_show AS real[]),
           CAST(:candidates AS bigint[]), CAST(:candidate_scores AS real[])
    FROM relaxed
    ON CONFLICT DO NOTHING
    RETURNING first_position
    """
)


def recorded_values(served: ListServed) -> dict[str, Any]:
    """Parameters of ``RECORDING``; the total is the statement's own."""
    return vars(served) | {
        "served_on": day_of(served.query_id),
        "request": _json(served.request),
        "experiments": _json(served.experiments),
        "assignment": _json(served.assignment),
        "coins": None if served.coins is None else _json(served.coins),
        "refinement": None if served.refinement is None else _json(served.refinement),
    }


def add_page(session: Session, query_id: str, page: PageServed) -> None:
    """Write a further page; a page that was served before stays as it was."""
    values = {
        "query_id": query_id,
        "served_on": day_of(query_id),
        "first_position": page.first_position,
        "product_ids": list(page.product_ids),
        "scores": [float(score) for score in page.scores],
        "p_show": _floats(page.p_show),
        "candidates": None if page.candidates is None else [int(number) for number in page.candidates],
        "candidate_scores": _floats(page.candidate_scores),
    }
    _ADD_PAGE.rows(session.connection(), values)


_GET = prepared(
    """
    SELECT l.query_id, l.generation_id, l.request, l.total, l.total_is, l.shopper_id, l.session_id, l.surface, l.device,
           l.query_type, l.parent_id, l.root_id, l.turn, l.refinement, l.experiments, l.assignment, l.coins, l.user_id,
           l.locale, l.cohort, l.layout, l.columns, l.is_bot, l.latency_ms, l.served_at,
           EXISTS (SELECT FROM events e WHERE e.query_id = l.query_id AND e.source <> 'refine'
                   AND e.received_on BETWEEN CAST(:served_on AS date) - 1 AND CAST(:today AS date) + 1) AS acted,
           (SELECT jsonb_agg(jsonb_build_array(p.first_position, p.product_ids, p.scores, p.p_show, p.candidates,
                                               p.candidate_scores) ORDER BY p.first_position)
            FROM served_pages p WHERE p.query_id = l.query_id AND p.served_on = CAST(:served_on AS date)) AS pages
    FROM served_lists l WHERE l.query_id = CAST(:query_id AS text) AND l.served_on = CAST(:served_on AS date)
    """
)


def get_served_list(connection: Connection, query_id: str) -> tuple[ListServed, list[PageServed]] | None:
    """A list and its pages in order, or ``None``; in one round trip."""
    values = {"query_id": query_id, "served_on": day_of(query_id), "today": datetime.now(UTC).date()}
    rows = _GET.rows(connection, values)
    if not rows:
        return None
    served = ListServed(**{name: getattr(rows[0], name) for name in ListServed.__dataclass_fields__})
    return served, [PageServed(*page) for page in rows[0].pages or []]


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode()


def _floats(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]
