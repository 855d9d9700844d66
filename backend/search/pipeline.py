"""The query path: a request comes in, one page of a served list goes out and is recorded."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.events.repository import ListServed, PageServed, add_page, get_served_list
from backend.events.unit_keys import HasherHolder
from backend.events.units import UnitHasher
from backend.generations.serving import Serving, ServingHolder
from backend.metrics import search_stage
from backend.ml.scoring import Ints
from backend.search.asked import list_served
from backend.search.candidates import DEEPEST, DEPTH
from backend.search.cursor import Cursor, Order, OrderStore
from backend.search.facets import count_facets
from backend.search.filters import plan_filters
from backend.search.first_page import WINDOW, FirstPage, Offered, as_listed, serve_first_page
from backend.search.further_odds import p_show_of_page
from backend.search.hydration import hit
from backend.search.lists import BROWSE_DEPTH, Ask, Listed, Ranking
from backend.search.pages import fill_page, hits_again
from backend.search.query_vectors import QueryEncoder, QueryVectors, Question
from backend.search.refinement.marks import Marks
from backend.search.schemas import SearchRequest
from backend.search.served import ListUnknown, Shown, answer, check_same, cursor_behind, numbers_of
from backend.search.trials import Toss, Trials


@dataclass(frozen=True)
class Wanted:
    """What of a list is answered: ``limit`` hits, ``facets``; ``kept`` says whether the list is recorded.

    ``started`` is when it was asked for, of the performance counter.
    """

    limit: int
    facets: Sequence[str]
    started: float
    kept: bool = True


class Searcher:
    """Answers searches. Safe to share between threads.

    Args:
        sessions: PostgreSQL.
        engine: the same, for statements that are a transaction each.
        holder: what serves.
        queries: turns questions into vectors.
        ranking: turns vectors into an order.
        orders: keeps orders for further pages.
        marks: what hits of a refined list say of the list before.
        trials: what is tried on whom.
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
        marks: Marks,
        trials: Trials,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._sessions = sessions
        self._engine = engine
        self._holder = holder
        self._queries = queries
        self._ranking = ranking
        self._orders = orders
        self._marks = marks
        self._trials = trials
        self._pool = pool
        self._hashers = HasherHolder(sessions)

    def search(self, request: SearchRequest, picture: bytes | None = None, *, is_bot: bool = False) -> dict[str, Any]:
        """The answer to ``request``, as ``schemas.SearchResponse`` describes it.

        Args:
            request: what is asked.
            picture: an upload.
            is_bot: whether a program asks that says it is one; recorded with the list.
        """
        started = time.perf_counter()
        if request.cursor is not None:
            found = self._next_page(request)
        else:
            found = self._first_page(request, picture, is_bot, started)
        return found | {"took_ms": taken_since(started)}

    def served_again(self, query_id: str) -> dict[str, Any]:
        """All pages of a list served so far, each product at its position; what has vanished leaves a gap."""
        started = time.perf_counter()
        served, pages = self.list_of(query_id)
        ask = Ask.of(served)
        kept = self._orders.get(query_id)
        with session_scope(self._sessions) as session:
            hits = hits_again(session, pages, plan_filters(ask.filters).conditions)
            cursor = cursor_behind(session, query_id, pages, kept, served.total)
        shown = Shown(served.total, cursor.encode(self.hasher) if cursor else None, None, hits)
        return self._marked(served, ask, answer(served, shown)) | {"took_ms": taken_since(started)}

    def check_ready(self) -> None:
        """Raise at once what a search by new words would in the end: nothing serves, or its encoder is not loaded."""
        self._queries.expect_encoder(self._holder.current, wait=False)

    @property
    def hasher(self) -> UnitHasher:
        """The installation's secrets."""
        return self._hashers.current

    def serve(
        self,
        serving: Serving,
        ask: Ask,
        served: ListServed,
        wanted: Wanted,
        *,
        vectors: QueryVectors | None = None,
        beside: Callable[[Ints], None] | None = None,
        toss: Toss = as_listed,
    ) -> dict[str, Any]:
        """The first page of the list that ``ask`` makes, recorded as ``served`` with the total that is found.

        Args:
            serving: what it is asked under.
            ask: what is asked.
            served: how it is recorded.
            wanted: what of it is answered.
            vectors: those of ``ask`` where they are known already.
            beside: told the numbers of the products that the page will probably show, before it is filled.
            toss: may change the order by coins.
        """
        depth = DEPTH
        while True:
            listed = self._ranking.listed(serving, ask, need=wanted.limit, depth=depth, vectors=vectors)
            last = listed.exhausted or depth >= DEEPEST
            offered = toss(listed, wanted.limit)
            if beside is not None:
                beside(offered.order.numbers[: wanted.limit])
            served = replace(
                served, total=listed.total, total_is=listed.total_is, latency_ms=taken_since(wanted.started)
            )
            with search_stage("page"), self._engine.connect() as connection:
                page = serve_first_page(
                    connection,
                    served,
                    offered,
                    listed.conditions,
                    counted=listed.total if listed.total_is == "exact" else None,
                    limit=wanted.limit,
                    last=last,
                    kept=wanted.kept,
                )
            if page is not None:
                return self._answered(wanted, ask, served, listed, offered, page)
            # PostgreSQL's check removed so many that a page is not full: look deeper
            depth *= 4

    def _answered(
        self, wanted: Wanted, ask: Ask, served: ListServed, listed: Listed, offered: Offered, page: FirstPage
    ) -> dict[str, Any]:
        order = offered.order.first(max(offered.relevant, page.next_offset))
        facets = None
        if wanted.facets:
            with session_scope(self._sessions) as session:
                facets = count_facets(session, wanted.facets, listed.conditions, None if ask.browses else order.numbers)
        hits = [hit(row, place, row.score) for place, row in enumerate(page.rows, start=1)]
        if not wanted.kept:  # someone is still typing: there is no list, so there is no id and no further page
            return answer(served, Shown(page.total, None, facets, hits)) | {"query_id": None}
        cursor = None
        if page.next_offset < len(order.numbers):
            cursor = Cursor(served.query_id, page.next_offset, len(hits) + 1).encode(self.hasher)
            if listed.whole:
                self._pool.submit(self._orders.keep, served.query_id, order)
        return answer(served, Shown(page.total, cursor, facets, hits))

    def _first_page(
        self, request: SearchRequest, picture: bytes | None, is_bot: bool, started: float
    ) -> dict[str, Any]:
        assignment, serving = self._trials.assigned(request)
        ask = self._ask(serving, request, picture)
        wanted = Wanted(request.limit, request.facets, started, kept=not request.partial)
        served = replace(list_served(serving, request, ask, self.hasher, assignment), is_bot=is_bot)
        return self.serve(serving, ask, served, wanted, toss=self._trials.toss(request, ask, assignment))

    def _next_page(self, request: SearchRequest) -> dict[str, Any]:
        cursor = Cursor.decode(request.cursor or "", self.hasher)
        served, pages = self.list_of(cursor.query_id)
        ask = Ask.of(served)
        check_same(request, ask)
        order = self._orders.get(cursor.query_id) or self._replayed(cursor, served, pages, request.limit)
        conditions = plan_filters(ask.filters).conditions
        before = [page for page in pages if page.first_position == cursor.position]
        with session_scope(self._sessions) as session:
            if before:  # the same page was asked for again: what was shown then is shown now
                hits = hits_again(session, before, conditions)
                after = cursor_behind(session, cursor.query_id, before, order, served.total)
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
                    p_show = p_show_of_page(served, pages, cursor, page)
                    behind = order.numbers[cursor.offset :], order.scores[cursor.offset :]
                    add_page(session, cursor.query_id, page.served(p_show, Order(*behind).first(WINDOW)))
                if page.next_offset < len(order.numbers):
                    after = Cursor(cursor.query_id, page.next_offset, page.next_position)
        shown = Shown(served.total, after.encode(self.hasher) if after else None, None, hits)
        return self._marked(served, ask, answer(served, shown))

    def _replayed(self, cursor: Cursor, served: ListServed, pages: list[PageServed], limit: int) -> Order:
        """The rest of a list whose order was lost: the stored request once more, without what was served."""
        ask = Ask.of(served)
        serving = self._holder.arm(served.generation_id) if served.assignment else None
        if serving is None:
            serving = self._holder.current if ask.turns is None else self._holder.pinned(served.generation_id)
        depth = min(DEEPEST, max(DEPTH, 2 * cursor.offset))
        need = BROWSE_DEPTH if ask.browses else cursor.offset + limit
        listed = self._ranking.listed(serving, ask, need=need, depth=depth)
        whole = listed.order.first(max(listed.relevant, need))
        with session_scope(self._sessions) as session:
            gone = numbers_of(session, [product_id for page in pages for product_id in page.product_ids])
        order = whole.from_offset(cursor.offset, gone)
        self._orders.keep(cursor.query_id, order)
        return order

    def list_of(self, query_id: str) -> tuple[ListServed, list[PageServed]]:
        """The list of this id and its pages served so far.

        Raises:
            ListUnknown: there is none.
        """
        with self._engine.connect() as connection:
            found = get_served_list(connection, query_id)
        if found is None:
            raise ListUnknown("no search has this id, or it is no longer kept", found=query_id)
        return found

    def _marked(self, served: ListServed, ask: Ask, found: dict[str, Any]) -> dict[str, Any]:
        """``found``, the hits of a refined list with where they were before and why they are here."""
        if ask.turns is None or served.parent_id is None:
            return found
        with self._engine.connect() as connection:
            parent = get_served_list(connection, served.parent_id)
        before = self._marks.before(served.parent_id, parent[1] if parent else [])
        serving = self._holder.pinned(served.generation_id)
        return found | {"hits": self._marks.marked(serving, ask.turns, before, found["hits"], {})}

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


def taken_since(started: float) -> float:
    """Milliseconds since ``started`` of the performance counter."""
    return round((time.perf_counter() - started) * 1000, 1)
