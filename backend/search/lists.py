"""What makes a list: the inputs of a search, kept with it, and the order they give."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.events.repository import ListServed
from backend.generations.serving import Serving
from backend.metrics import search_stage
from backend.ml.feedback.scales import shifted
from backend.ml.scoring import Calibration, Fused, Ints, Kind
from backend.search.candidates import Aim, Retrieval
from backend.search.cursor import Order
from backend.search.filters import Conditions, FilterPlan, SearchFilters, plan_filters, resolve
from backend.search.hydration import browse_numbers, count_products, sort_numbers
from backend.search.lexical import Evidence, find_words
from backend.search.query_vectors import QueryEncoder, QueryVectors, Question
from backend.search.refinement.replay import Replay, policy_of
from backend.search.refinement.rescoring import Rescoring
from backend.search.refinement.session import Turn, turns_of
from backend.search.schemas import Sort
from backend.search.selectivity import Selectivity
from backend.vector_index import VectorIndex

BROWSE_DEPTH = 10_000
"""Products that browsing pages through; its total counts all of them."""


@dataclass(frozen=True)
class Ask:
    """The inputs of a list. Equal asks under one generation and one catalogue give equal orders.

    ``turns`` are those of a refinement session that ``question`` began; None is a list that was searched for.
    """

    question: Question
    filters: SearchFilters
    sort: Sort = "relevance"
    lexical: bool = True
    caption_weight: float | None = None
    turns: tuple[Turn, ...] | None = None

    @property
    def browses(self) -> bool:
        """Whether nothing is searched for: filters only."""
        return self.question == Question() and self.turns is None

    @property
    def kind(self) -> Kind:
        """Which scales of the calibration apply. Refined without a question, products are compared with products."""
        return "product" if self.question == Question() else self.question.kind

    def to_json(self) -> dict[str, Any]:
        """As kept with the served list, turns apart."""
        return {
            "text": self.question.text,
            "image_hash": self.question.image_hash,
            "product_id": self.question.product_id,
            "filters": self.filters.model_dump(mode="json", exclude_unset=True),
            "sort": self.sort,
            "lexical": self.lexical,
            "caption_weight": self.caption_weight,
        }

    @classmethod
    def of(cls, served: ListServed) -> "Ask":
        """What made the list ``served``."""
        kept, refinement = served.request, served.refinement
        return cls(
            Question(kept["text"], kept["image_hash"], kept["product_id"]),
            SearchFilters.model_validate(kept["filters"]),
            kept["sort"],
            kept["lexical"],
            kept["caption_weight"],
            None if refinement is None else turns_of(refinement),
        )


@dataclass(frozen=True)
class Listed:
    """An order before PostgreSQL's check of its products.

    Args:
        order: candidates as they will be served.
        relevant: how many of the first belong to the list; the rest only fill up its first page.
        total: of the list, before the check.
        total_is: whether that was counted or follows from the candidates.
        conditions: what PostgreSQL checks.
        exhausted: whether looking deeper would find nothing more.
        whole: whether ``order`` reaches as far as pages do.
    """

    order: Order
    relevant: int
    total: int
    total_is: Literal["estimate", "exact"]
    conditions: Conditions
    exhausted: bool
    whole: bool


class Ranking:
    """Turns an ask into an order under one Serving."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        engine: Engine,
        index: VectorIndex,
        queries: QueryEncoder,
        replay: Replay,
        rescoring: Rescoring,
        retrieval: Retrieval,
    ) -> None:
        self._sessions = sessions
        self._engine = engine
        self._index = index
        self._queries = queries
        self._replay = replay
        self._rescoring = rescoring
        self._retrieval = retrieval
        self._selectivity = Selectivity(sessions)

    def listed(
        self, serving: Serving, ask: Ask, *, need: int, depth: int, vectors: QueryVectors | None = None
    ) -> Listed:
        """The order of ``ask``, its first ``need`` places exact; ``depth`` rows are asked of each collection.

        ``vectors`` are those of ``ask`` where they are known already.
        """
        if ask.browses:
            return self._browse(ask, need)
        with search_stage("encode"):
            vectors = vectors or self._vectors(serving, ask)
        plan = plan_filters(ask.filters, without_products=vectors.without_products)
        calibration = _weighted(serving.calibration, ask.caption_weight)
        if ask.turns is not None:
            calibration = shifted(calibration, ask.kind, *vectors.shift)
        within = plan.vector
        if plan.by_number is not None:
            with session_scope(self._sessions) as session:
                within = resolve(session, plan)
        aim = Aim(serving, ask.kind, vectors, within, self._share(ask, plan), calibration)
        words = ask.question.text if ask.lexical else None
        found = self._retrieval.candidates(
            aim, depth, need, (lambda: self._words(words, plan, calibration)) if words else None
        )
        fused, lower = self._rescored(ask, aim, found.fused)
        cut = calibration.of(ask.kind).cut
        relevant = len(fused.scores) if cut is None else int((fused.scores >= cut - lower).sum())
        order = Order(fused.products, fused.scores)
        if ask.sort != "relevance":
            order = self._sorted(fused, max(relevant, need), ask.sort, plan.conditions)
            relevant = len(order.numbers)
        return Listed(order, relevant, relevant, "estimate", plan.conditions, found.exhausted, whole=True)

    def _vectors(self, serving: Serving, ask: Ask) -> QueryVectors:
        if ask.turns is not None:
            return self._replay.vectors(serving, ask.question, ask.turns)
        return self._queries.vectors(serving, ask.question)

    def _rescored(self, ask: Ask, aim: Aim, fused: Fused) -> tuple[Fused, float]:
        """``fused``, normalised where the policy of a refinement says so, and what scores fell by on average."""
        normalisation = policy_of(ask.turns[-1]).nnn if ask.turns else None
        if normalisation is None:
            return fused, 0.0
        fitted = self._replay.fitted(aim.serving)
        return self._rescoring.rescored(
            aim.serving, fused, aim.vectors, normalisation, fitted, aim.calibration, aim.kind
        )

    def _browse(self, ask: Ask, need: int) -> Listed:
        conditions = plan_filters(ask.filters).conditions
        with session_scope(self._sessions) as session:
            # one more than needed tells whether there is a further page
            numbers = browse_numbers(session, ask.sort, conditions, min(need + 1, BROWSE_DEPTH))
            total = count_products(session, conditions)
        order = Order(np.array(numbers, dtype=np.int64), np.zeros(len(numbers)))
        return Listed(order, len(numbers), total, "exact", conditions, exhausted=True, whole=need >= BROWSE_DEPTH)

    def _share(self, ask: Ask, plan: FilterPlan) -> float:
        # Lite scans every row and needs no estimate
        if not ask.filters.restricts or self._index.is_lite():
            return 1.0
        return self._selectivity.share(plan.conditions)

    def _words(self, words: str, plan: FilterPlan, calibration: Calibration) -> Evidence:
        with self._engine.connect() as connection:
            return find_words(connection, words, plan.conditions, calibration)

    def _sorted(self, fused: Fused, count: int, sort: Sort, conditions: Conditions) -> Order:
        """The first ``count`` candidates by a column instead of by score."""
        with session_scope(self._sessions) as session:
            numbers = np.array(sort_numbers(session, fused.products[:count], sort, conditions), dtype=np.int64)
        return Order(numbers, _scores_of(numbers, fused))


def _weighted(calibration: Calibration, caption_weight: float | None) -> Calibration:
    return calibration if caption_weight is None else replace(calibration, caption_weight=caption_weight)


def _scores_of(numbers: Ints, fused: Fused) -> np.ndarray[Any, np.dtype[np.float64]]:
    by_number = np.argsort(fused.products)
    return fused.scores[by_number[np.searchsorted(fused.products, numbers, sorter=by_number)]]
