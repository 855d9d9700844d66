"""One refinement: what is said of a list is turned into the next list, which carries all that was said."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Engine

from backend.errors import Conflict
from backend.events.feedback import Judged, record_feedback, session_signals, value_of_stars
from backend.events.query_ids import new_query_id
from backend.events.repository import ListServed, PageServed
from backend.generations.serving import Serving, ServingHolder
from backend.metrics import search_stage
from backend.ml.feedback.inputs import Outcome
from backend.ml.feedback.policy import Policy
from backend.ml.feedback.signals import SignalGrades, Signals, grade
from backend.search.cursor import OrderStore
from backend.search.lists import Ask
from backend.search.pipeline import Searcher, Wanted, taken_since
from backend.search.query_vectors import ProductUnknown
from backend.search.refinement.features import ProductVectors
from backend.search.refinement.marks import Before, Marks
from backend.search.refinement.policies import POLICY, Policies, policy_with
from backend.search.refinement.regions import find_pictures
from backend.search.refinement.replay import Replay, Step
from backend.search.refinement.schemas import FeedbackItem, RefineRequest
from backend.search.refinement.session import MOST_TURNS, Judgement, Turn
from backend.search.served import ids_of


class SessionTooLong(Conflict):
    """A session has had as many turns as one may have; a new search begins another."""

    title = "Too many turns"


class SessionExpired(Conflict):
    """A list is too old to be refined; a new search begins another session."""

    title = "Session expired"


class Refiner:
    """Answers refinements. Safe to share between threads; nothing of a session stays in it.

    Args:
        searcher: serves lists.
        holder: what serves.
        replay: turns into vectors.
        marks: what hits say of the list before.
        orders: orders of lists.
        engine: PostgreSQL, for statements that are a transaction each.
        pool: threads for what runs beside the search.
        policies: ways to refine, by name.
        policy: name of the policy in use.
        expires: age from which on a list is not refined any more.
    """

    def __init__(
        self,
        searcher: Searcher,
        holder: ServingHolder,
        replay: Replay,
        marks: Marks,
        orders: OrderStore,
        engine: Engine,
        pool: ThreadPoolExecutor,
        policies: Policies,
        policy: str,
        expires: timedelta,
    ) -> None:
        self._searcher = searcher
        self._holder = holder
        self._replay = replay
        self._marks = marks
        self._orders = orders
        self._engine = engine
        self._pool = pool
        self._policies = policies
        self._policy = policy
        self._expires = expires

    def refine(self, query_id: str, request: RefineRequest) -> dict[str, Any]:
        """The first page of the list that ``request`` makes of the list ``query_id``, as ``schemas.SearchResponse``."""
        started = time.perf_counter()
        parent, pages = self._searcher.list_of(query_id)
        before = Ask.of(parent)
        self._check_goes_on(parent)
        turns = (*(before.turns or ()), self._turn(parent, request, pages))
        serving = self._holder.pinned(parent.generation_id)
        with search_stage("refine"):
            step = self._replay.step(serving, before.question, turns)
        unknown = [item.product_id for item in request.feedback if item.product_id not in step.known]
        if unknown:
            raise ProductUnknown("no product has this id", found=unknown[0])
        ask = _ask(before, request, turns)
        served = replace(
            self._child(parent, request),
            generation_id=serving.generation_id,
            request=ask.to_json(),
            refinement={"turns": turns, "outcome": _outcome(step.outcome, turns[-1].policy)},
        )
        found = self._served(serving, ask, served, (parent, pages), request, step, started)
        return found | {"took_ms": taken_since(started)}

    def _served(
        self,
        serving: Serving,
        ask: Ask,
        served: ListServed,
        parent: tuple[ListServed, list[PageServed]],
        request: RefineRequest,
        step: Step,
        started: float,
    ) -> dict[str, Any]:
        """The list that a turn led to; what its hits are marked with is read, and what was said is kept, beside it."""
        turns = ask.turns or ()
        before = self._pool.submit(self._before, served, parent, request)
        known: list[Future[dict[str, ProductVectors]]] = []
        found = self._searcher.serve(
            serving,
            ask,
            served,
            Wanted(request.limit, request.facets, started),
            vectors=step.vectors,
            beside=lambda numbers: known.append(
                self._pool.submit(self._marks.known, serving, turns, numbers, step.known)
            ),
        )
        with search_stage("marks"):
            hits = self._marks.marked(serving, turns, before.result(), found["hits"], known[-1].result())
        return found | {"hits": hits}

    def _before(
        self, served: ListServed, parent: tuple[ListServed, list[PageServed]], request: RefineRequest
    ) -> Before:
        """The list before, and what was said of it kept."""
        before = self._marks.before(parent[0].query_id, parent[1])
        if request.feedback:
            self._record(served, parent[0], request)
        return before

    def _check_goes_on(self, parent: ListServed) -> None:
        if parent.turn > MOST_TURNS:
            raise SessionTooLong("this session has had its turns; search anew", found=parent.turn, expected=MOST_TURNS)
        age = datetime.now(UTC) - (parent.served_at or datetime.now(UTC))
        if age > self._expires:
            raise SessionExpired(
                "this list is too old to be refined; search anew",
                found=f"{age / timedelta(hours=1):.1f} hours",
                expected=f"at most {self._expires / timedelta(hours=1):g} hours",
            )

    def _turn(self, parent: ListServed, request: RefineRequest, pages: list[PageServed]) -> Turn:
        policy, name = self._chosen(parent, request)
        return Turn(
            policy=name,
            config=POLICY.dump_python(policy, mode="json", exclude_defaults=True),
            shown=_first(pages, policy.k),
            worst=self._last(parent.query_id, pages, policy.k) if policy.strategy == "rocchio" else (),
            judgements=self._judgements(request.feedback),
            signals=self._signals(parent, policy),
            text=request.text,
            exclude_liked=request.exclude_liked,
        )

    def _judgements(self, feedback: list[FeedbackItem]) -> tuple[Judgement, ...]:
        boxed = [(item.product_id, item.image or 0) for item in feedback if item.box is not None]
        pictures: Iterator[str] = iter(())
        if boxed:
            with self._engine.connect() as connection:
                pictures = iter(find_pictures(connection, boxed))
        return tuple(
            Judgement(item.product_id, _grade(item), next(pictures) if item.box else None, item.box, item.label)
            for item in feedback
        )

    def _signals(self, parent: ListServed, policy: Policy) -> tuple[Judgement, ...]:
        """What was done with products of the list, where the policy counts that; earlier turns hold earlier lists'."""
        if policy.session_signals is None or not parent.acted:
            return ()
        with self._engine.connect() as connection:
            found = session_signals(connection, [parent.query_id], policy.session_signals)
        return tuple(Judgement(product_id, found[product_id]) for product_id in sorted(found))

    def _last(self, query_id: str, pages: list[PageServed], count: int) -> tuple[str, ...]:
        """The ``count`` worst candidates of a list, the last of its pages where its order is not kept."""
        order = self._orders.get(query_id)
        if order is None:
            return _first(pages, sum(len(page.product_ids) for page in pages))[-count:]
        with self._engine.connect() as connection:
            return ids_of(connection, order.numbers[np.argsort(-order.scores, kind="stable")[-count:]])

    def _chosen(self, parent: ListServed, request: RefineRequest) -> tuple[Policy, str]:
        """The policy of a turn, with what the request puts in place of its parameters, and its name."""
        given = request.policy or parent.assignment.get("refine_policy") or self._policy
        # whoever ticks a filter did not ask to be taken elsewhere
        name = "none" if request.only_narrows else given
        policy = self._policies.named(name)
        changes = dict(request.weights or {}) | ({"strategy": request.strategy} if request.strategy else {})
        return policy_with(policy, changes) if changes else policy, name

    def _child(self, parent: ListServed, request: RefineRequest) -> ListServed:
        hasher = self._searcher.hasher
        shopper_id = hasher.hashed("shopper", request.shopper_id) or parent.shopper_id
        return replace(
            parent,
            served_at=None,
            acted=False,
            coins=None,  # the parent's; lists of further turns are not randomised
            query_id=new_query_id(),
            parent_id=parent.query_id,
            root_id=parent.root_id or parent.query_id,
            turn=parent.turn + 1,
            shopper_id=shopper_id,
            user_id=parent.user_id if shopper_id == parent.shopper_id else None,  # a list passed on as a link
            session_id=hasher.hashed("session", request.session_id) or parent.session_id,
            surface=request.surface or parent.surface,
            device=request.device or parent.device,
        )

    def _record(self, served: ListServed, parent: ListServed, request: RefineRequest) -> None:
        """Keep what was said as events of the list it was said of."""
        judged = [
            Judged(item.product_id, item.value, item.stars, item.dwell_ms, item.image, item.box)
            for item in request.feedback
        ]
        with self._engine.connect() as connection:
            record_feedback(
                connection,
                query_id=served.query_id,
                about=parent.query_id,
                judged=judged,
                shopper_id=served.shopper_id,
                session_id=served.session_id,
                user_id=served.user_id,
                is_bot=served.is_bot,
            )


def _ask(before: Ask, request: RefineRequest, turns: tuple[Turn, ...]) -> Ask:
    """What was asked before, with what the request puts in its place."""
    return replace(
        before,
        turns=turns,
        filters=before.filters if request.filters is None else request.filters,
        sort=before.sort if request.sort is None else request.sort,
        lexical=before.lexical if request.lexical is None else request.lexical,
    )


def _first(pages: list[PageServed], count: int) -> tuple[str, ...]:
    """The ``count`` best products of the pages served, whatever column they were sorted by."""
    scores = np.concatenate([np.asarray(page.scores, dtype=np.float64) for page in pages] or [np.empty(0)])
    ids = [product_id for page in pages for product_id in page.product_ids]
    return tuple(ids[place] for place in np.argsort(-scores, kind="stable")[:count])


def _grade(item: FeedbackItem) -> float | None:
    """The grade that ``item`` gives: stars around three, dwell as it is graded everywhere; 0 takes back."""
    if item.stars is not None:
        return value_of_stars(item.stars)
    if item.dwell_ms is not None:
        return grade(Signals(clicks=1, dwell_ms=item.dwell_ms), SignalGrades())
    return item.value or None


def _outcome(outcome: Outcome, policy: str) -> dict[str, Any]:
    return {
        "strategy": outcome.strategy,
        "decision": outcome.decision,
        "similarity_to_start": round(outcome.similarity_to_start, 6),
        "similarity_to_last": round(outcome.similarity_to_last, 6),
        "policy": policy,
    }
