"""Lists that were shown and what was done with them, written into PostgreSQL by COPY as the API would write them."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from backend.events.query_ids import day_of, new_query_id
from backend.ml.clicks.shoppers import Acts
from backend.ml.clicks.worlds import Context

_LISTS = (
    "query_id, served_on, turn, generation_id, request, coins, total, total_is, shopper_id, session_id, surface,"
    " device, query_type, locale, cohort, layout, columns, served_at"
)
_PAGES = "query_id, served_on, first_position, product_ids, scores, p_show, candidates, candidate_scores, served_at"
_EVENTS = (
    "received_on, message_id, type, query_id, product_id, shopper_id, session_id, dwell_ms, visible_share, visible_ms,"
    " columns, next_query_id, source, occurred_at, received_at"
)
NULL = "\\N"


@dataclass(frozen=True)
class Traffic:
    """n lists of k places.

    Args:
        words: (n,) what was asked.
        unit: (n,) name of the shopper.
        visit: (n,) name of the session.
        context: (n,) where from.
        generation: (n,) id of the generation that ranked it.
        served: (n,) seconds since 1970.
        shown: (n, k) rows of products.
        scores: (n, k) of these.
        p_show: (n, k) chance of each at its place.
        acts: what was done.
        coins: (n,) what was tossed, or None.
        candidates: (n, c) rows of products before that, best first.
        candidate_scores: (n, c) of these.
    """

    words: Sequence[str]
    unit: Sequence[str]
    visit: Sequence[str]
    context: Sequence[Context]
    generation: NDArray[np.int64]
    served: NDArray[np.float64]
    shown: NDArray[np.int64]
    scores: NDArray[np.floating[Any]]
    p_show: NDArray[np.floating[Any]]
    acts: Acts
    coins: Sequence[dict[str, Any] | None]
    candidates: NDArray[np.int64]
    candidate_scores: NDArray[np.floating[Any]]


def write_traffic(session: Session, traffic: Traffic, ids: Sequence[str], numbers: NDArray[np.int64]) -> list[str]:
    """Write ``traffic`` on products with these ``ids`` and ``numbers``; the ids of its lists."""
    query_ids = [new_query_id(datetime.fromtimestamp(at, UTC)) for at in traffic.served.tolist()]
    lists, pages, events = io.StringIO(), io.StringIO(), io.StringIO()
    for at, query_id in enumerate(query_ids):
        served = datetime.fromtimestamp(float(traffic.served[at]), UTC)
        lists.write(_list_line(traffic, at, query_id, served))
        pages.write(_page_line(traffic, at, query_id, served, ids, numbers))
        for line in _event_lines(traffic, at, query_id, ids):
            events.write(line)
    for table, columns, rows in (
        ("served_lists", _LISTS, lists),
        ("served_pages", _PAGES, pages),
        ("events", _EVENTS, events),
    ):
        rows.seek(0)
        with session.connection().connection.cursor() as cursor:
            cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", rows)
    return query_ids


def _list_line(traffic: Traffic, at: int, query_id: str, served: datetime) -> str:
    context, coins = traffic.context[at], traffic.coins[at]
    request = {"text": traffic.words[at], "image_hash": None, "product_id": None, "filters": {}, "sort": "relevance"}
    return _line(
        query_id,
        day_of(query_id),
        1,
        int(traffic.generation[at]),
        _json(request),
        NULL if coins is None else _json(coins),
        traffic.shown.shape[1],
        "exact",
        traffic.unit[at],
        traffic.visit[at],
        context.surface,
        context.device,
        "text",
        context.locale,
        context.cohort or NULL,
        context.layout,
        context.columns,
        served.isoformat(),
    )


def _page_line(
    traffic: Traffic, at: int, query_id: str, served: datetime, ids: Sequence[str], numbers: NDArray[np.int64]
) -> str:
    shown = [ids[row] for row in traffic.shown[at].tolist()]
    return _line(
        query_id,
        day_of(query_id),
        1,
        _array(shown),
        _array(traffic.scores[at].tolist()),
        _array(traffic.p_show[at].tolist()),
        _array(numbers[traffic.candidates[at]].tolist()),
        _array(traffic.candidate_scores[at].tolist()),
        served.isoformat(),
    )


def _event_lines(traffic: Traffic, at: int, query_id: str, ids: Sequence[str]) -> Iterator[str]:
    """Everything comes into view; then one product after the other is opened, from the first on."""
    acts, columns = traffic.acts, traffic.context[at].columns
    units = (traffic.unit[at], traffic.visit[at])
    told = 0

    def tell(kind: str, product: str, dwell: Any = NULL, share: Any = NULL, shown_ms: Any = NULL) -> str:
        nonlocal told
        told += 1
        when = datetime.fromtimestamp(now, UTC)
        drawn = columns if kind == "exposure" else NULL
        following = f"{query_id}x" if kind == "reformulation" else NULL
        message = f"{query_id}-{told}"
        return _line(
            when.date(), message, kind, query_id, product, *units, dwell, share, shown_ms, drawn, following, "client",
            when.isoformat(), when.isoformat(),
        )  # fmt: skip

    now = float(traffic.served[at]) + 1.0
    names = [ids[row] for row in traffic.shown[at].tolist()]
    for place in np.flatnonzero(acts.viewed[at]).tolist():
        yield tell("exposure", names[place], share=1.0, shown_ms=int(acts.visible_ms[at, place]))
    for place in np.flatnonzero(acts.clicked[at]).tolist():
        yield tell("click", names[place])
        now += float(acts.dwell_ms[at, place]) / 1000
        stayed = int(acts.dwell_ms[at, place]) if acts.timed[at, place] else NULL
        if acts.timed[at, place]:
            yield tell("dwell", names[place], dwell=stayed)
        for kind, did in (("add_to_cart", acts.carted), ("wishlist", acts.wished), ("purchase", acts.bought)):
            if did[at, place]:
                yield tell(kind, names[place])
        if acts.returned[at, place]:
            yield tell("return", names[place], dwell=stayed)
        now += 0.8
    if acts.reformulated[at]:
        yield tell("reformulation", NULL)


def _line(*values: Any) -> str:
    return "\t".join(map(str, values)) + "\n"


def _array(values: Sequence[Any]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode().replace("\\", "\\\\")
