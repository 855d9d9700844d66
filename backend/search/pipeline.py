"""The query path: a request comes in, one page of a served list goes out and is recorded."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.errors import NotFound, Unprocessable
from backend.events.repository import ListServed, PageServed, add_page, get_served_list
from backend.events.units import UnitHasher, load_unit_hasher
from backend.generations.serving import Serving, ServingHolder
from backend.metrics import search_stage
from backend.ml.scoring import Ints
from backend.search.candidates import DEEPEST, DEPTH
from backend.search.cursor import Cursor, Order, OrderStore
from backend.search.facets import count_facets
from backend.search.filters import plan_filters
from backend.search.first_page import FirstPage, serve_first_page
from backend.search.hydration import hit
from backend.search.lists import BROWSE_DEPTH, Ask, Listed, Ranking
from backend.search.pages import fill_page, hits_again
from backend.search.query_vectors import QueryEncoder, Question
from backend.search.schemas import SearchRequest


class ListUnknown(NotFound):
    """No served list has this id."""

    title = "No such search"


class AnotherSearch(Unprocessable):
    """A cursor continues one search; the request asks for another."""

    title = "Cursor of another search"


@dataclass(frozen=True)
class _Shown:
    """The part of an answer that differs from page to page."""

    total: int
    cursor: str | None
    facets: dict[str, Any] | None
    hits: list[dict[str, Any]]


class Searcher:
    """Answers searches. Safe to share between threads.

    Args:
        sessions: PostgreSQL.
        engine: the same, for statements that are a transaction each.
        holder: what serves.
        queries: turns questions into vectors.
        ranking: turns vectors into an order.
        orders: keeps orders for further pages.
        pool: threads for what need not be waited for.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        engine: Engine,
        holder: ServingHolder,
        queries: QueryEncoder,
        ranking: Ranking,
        orders: OrderStore,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._sessions = sessions
        self._engine = engine
        self._holder = holder
        self._queries = queries
        self._ranking = ranking
        self._orders = orders
        self._pool = pool
        self._hasher: UnitHasher | None = None

    def search(self, request: SearchRequest, picture: bytes | None = None) -> dict[str, Any]:
        """The answer to ``request``, as ``schemas.SearchResponse`` describes it; ``picture`` is an upload."""
        started = time.perf_counter()
        answer = self._first_page(request, picture) if request.cursor is None else self._next_page(request)
        return answer | {"took_ms": round((time.perf_counter() - started) * 1000, 1)}

    def served_again(self, query_id: str) -> dict[str, Any]:
        """All pages of a list served so far, each product at its position; what has vanished leaves a gap."""
        started = time.perf_counter()
        served, pages = self._served(query_id)
        ask = Ask.from_json(served.request)
        kept = self._orders.get(query_id)
        with session_scope(self._sessions) as session:
            hits = hits_again(session, pages, plan_filters(ask.filters).conditions)
            cursor = _cursor_behind(session, query_id, pages, kept, served.total)
        shown = _Shown(served.total, cursor.encode(self.hasher) if cursor else None, None, hits)
        return _answer(served, shown) | {"took_ms": round((time.perf_counter() - started) * 1000, 1)}

    def check_ready(self) -> None:
        """Raise at once what a search by new words would in the end: nothing serves, or its encoder is not loaded."""
        self._queries.expect_encoder(self._holder.current, wait=False)

    @property
    def hasher(self) -> UnitHasher:
        """The installation's secrets, read once."""
        if self._hasher is None:
            with session_scope(self._sessions) as session:
                self._hasher = load_unit_hasher(session)
        return self._hasher

    def _first_page(self, request: SearchRequest, picture: bytes | None) -> dict[str, Any]:
        serving = self._holder.current
        ask = self._ask(serving, request, picture)
        depth = DEPTH
        while True:
            listed = self._ranking.listed(serving, ask, need=request.limit, depth=depth)
            served = _list_served(serving, request, ask, listed, self.hasher)
            last = listed.exhausted or depth >= DEEPEST
            with search_stage("page"), self._engine.connect() as connection:
                page = serve_first_page(
                    connection,
                    served,
                    listed.order,
                    listed.conditions,
                    relevant=listed.relevant,
                    counted=listed.total if listed.total_is == "exact" else None,
                    limit=request.limit,
                    last=last,
                    kept=not request.partial,
                )
            if page is not None:
                return self._answered(request, ask, served, listed, page)
            # PostgreSQL's check removed so many that a page is not full: look deeper
            depth *= 4

    def _answered(
        self, request: SearchRequest, ask: Ask, served: ListServed, listed: Listed, page: FirstPage
    ) -> dict[str, Any]:
        length = max(listed.relevant, page.next_offset)
        order = Order(listed.order.numbers[:length], listed.order.scores[:length])
        facets = None
        if request.facets:
            with session_scope(self._sessions) as session:
                facets = count_facets(
                    session, request.facets, listed.conditions, None if ask.browses else order.numbers
                )
        hits = [hit(row, place, row.score) for place, row in enumerate(page.rows, start=1)]
        if request.partial:  # someone is still typing: there is no list, so there is no id and no further page
            return _answer(served, _Shown(page.total, None, facets, hits)) | {"query_id": None}
        cursor = None
        if page.next_offset < length:
            cursor = Cursor(served.query_id, page.next_offset, len(hits) + 1).encode(self.hasher)
            if listed.whole:
                self._pool.submit(self._orders.keep, served.query_id, order)
        return _answer(served, _Shown(page.total, cursor, facets, hits))

    def _next_page(self, request: SearchRequest) -> dict[str, Any]:
        cursor = Cursor.decode(request.cursor or "", self.hasher)
        served, pages = self._served(cursor.query_id)
        ask = Ask.from_json(served.request)
        _check_same(request, ask)
        order = self._orders.get(cursor.query_id) or self._replayed(cursor, ask, pages, request.limit)
        conditions = plan_filters(ask.filters).conditions
        before = [page for page in pages if page.first_position == cursor.position]
        with session_scope(self._sessions) as session:
            if before:  # the same page was asked for again: what was shown then is shown now
                hits = hits_again(session, before, conditions)
                after = _cursor_behind(session, cursor.query_id, before, order, served.total)
            else:
                page = fill_page(
                    session,
                    order,
                    conditions,
                    offset=cursor.offset,
                    position=cursor.position,
                    limit=request.limit,
                )
                hits, after = page.hits(), None
                if page.rows:
                    add_page(session, cursor.query_id, page.served())
                if page.next_offset < len(order.numbers):
                    after = Cursor(cursor.query_id, page.next_offset, page.next_position)
        return _answer(served, _Shown(served.total, after.encode(self.hasher) if after else None, None, hits))

    def _replayed(self, cursor: Cursor, ask: Ask, pages: list[PageServed], limit: int) -> Order:
        """The rest of a list whose order was lost: the stored request once more, without what was served."""
        depth = min(DEEPEST, max(DEPTH, 2 * cursor.offset))
        need = BROWSE_DEPTH if ask.browses else cursor.offset + limit
        listed = self._ranking.listed(self._holder.current, ask, need=need, depth=depth)
        length = max(listed.relevant, need)
        whole = Order(listed.order.numbers[:length], listed.order.scores[:length])
        with session_scope(self._sessions) as session:
            served = _numbers(session, [product_id for page in pages for product_id in page.product_ids])
        order = whole.from_offset(cursor.offset, served)
        self._orders.keep(cursor.query_id, order)
        return order

    def _served(self, query_id: str) -> tuple[ListServed, list[PageServed]]:
        with session_scope(self._sessions) as session:
            found = get_served_list(session, query_id)
        if found is None:
            raise ListUnknown("no search has this id, or it is no longer kept", found=query_id)
        return found

    def _ask(self, serving: Serving, request: SearchRequest, picture: bytes | None) -> Ask:
        if picture is None and request.image is not None:
            picture = self._queries.picture(request.image)
        seen = self._queries.learn_picture(serving, picture, keep=not request.partial) if picture is not None else None
        return Ask(
            Question(request.text, seen, request.product_id),
            request.filters,
            request.sort,
            request.lexical,
            request.weights.caption if request.weights else None,
        )


def _list_served(serving: Serving, request: SearchRequest, ask: Ask, listed: Listed, hasher: UnitHasher) -> ListServed:
    return ListServed(
        query_id=f"q_{secrets.token_urlsafe(15)}",
        generation_id=serving.generation_id,
        request=ask.to_json(),
        total=listed.total,
        total_is=listed.total_is,
        shopper_id=hasher.hashed("shopper", request.shopper_id),
        session_id=hasher.hashed("session", request.session_id),
        surface=request.surface,
        device=request.device,
        query_type=request.query_type,
    )


def _answer(served: ListServed, shown: _Shown) -> dict[str, Any]:
    return {
        "query_id": served.query_id,
        "parent_id": served.parent_id,
        "turn": served.turn,
        "generation": f"g{served.generation_id}",
        "experiments": served.experiments,
        "total": shown.total,
        "total_is": served.total_is,
        "cursor": shown.cursor,
        "took_ms": 0.0,
        "facets": shown.facets,
        "hits": shown.hits,
    }


def _check_same(request: SearchRequest, ask: Ask) -> None:
    """A request that carries a cursor may repeat its search, and may not ask for another."""
    kept = {
        "text": ask.question.text,
        "product_id": ask.question.product_id,
        "filters": ask.filters,
        "sort": ask.sort,
        "lexical": ask.lexical,
    }
    for name in sorted(kept.keys() & request.model_fields_set):
        if getattr(request, name) != kept[name]:
            raise AnotherSearch(
                f"this cursor continues a search whose {name} differs; leave {name} out, or search without a cursor",
                found=_plain(getattr(request, name)),
                expected=_plain(kept[name]),
            )


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_unset=True) if hasattr(value, "model_dump") else value


def _cursor_behind(
    session: Session, query_id: str, pages: list[PageServed], order: Order | None, total: int
) -> Cursor | None:
    """Where the page behind ``pages`` begins, or ``None`` when they are the last ones."""
    count = sum(len(page.product_ids) for page in pages)
    if not count:
        return None
    position = pages[-1].first_position + len(pages[-1].product_ids)
    offset = position - 1
    if order is not None:
        places = np.flatnonzero(np.isin(order.numbers, _numbers(session, [pages[-1].product_ids[-1]])))
        offset = int(places[0]) + 1 if len(places) else offset
        return Cursor(query_id, offset, position) if offset < len(order.numbers) else None
    return Cursor(query_id, offset, position) if offset < total else None


def _numbers(session: Session, ids: list[str]) -> Ints:
    found = session.scalars(text("SELECT number FROM products WHERE id = ANY(CAST(:ids AS text[]))"), {"ids": ids})
    return np.array(found.all(), dtype=np.int64)
