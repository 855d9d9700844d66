"""Simulated sessions: a query, its list, feedback, the next list, through the same arithmetic that serves."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.benchmark import Benchmark, Scores
from backend.evaluation.features import Ints
from backend.ml.feedback.fitted import UNFITTED, Fitted
from backend.ml.feedback.inputs import Feedback, Items, Matrix, Outcome, Query, Summarizer, Summary, Tokens
from backend.ml.feedback.policy import Policy
from backend.ml.feedback.update import refine

QUERIES_AT_ONCE = 256
SHOWN = 10
"""Items of each list that are kept for the pictures."""

REMEMBERED = 50_000
"""Summaries kept, at a few KB each."""

Progress = Callable[[int], None]
"""Told how many further queries are through all of their turns."""


@dataclass(frozen=True)
class Strategy:
    """A way to refine that is measured.

    Args:
        name: for tables.
        policy: how.
        words: whether the shopper gives another caption of the target every turn.
        summarizer: which of the summarizers at hand, where the policy asks for one.
    """

    name: str
    policy: Policy
    words: bool = False
    summarizer: str | None = None

    @property
    def summarizes(self) -> bool:
        """Whether a summarizer is needed, or taken where there is one."""
        return self.policy.strategy in ("afs", "afs_images", "auto")


@dataclass(frozen=True)
class Run:
    """What one strategy came to over n queries and T turns, the first of which is plain retrieval.

    Args:
        strategy: what was measured.
        ranks: (T, n) rank of the best right item, from 1.
        shown: (T, n, SHOWN) items first in each list.
        similarity: (T, n) cosine to the first query.
        decisions: (T, n) 0 held, 1 blended, 2 moved.
        seconds: spent in feedback, for each turn of one query.
        vectors: (T, n, d) what each list's image side was asked with.
        relevance: (T, n, K) what each item of the list before weighed in the positive vector; zeros in the first turn.
    """

    strategy: Strategy
    ranks: Ints
    shown: Ints
    similarity: NDArray[np.float64]
    decisions: NDArray[np.int8]
    seconds: float
    vectors: NDArray[np.float32]
    relevance: NDArray[np.float64]


DECISIONS = ("held", "blended", "moved")


@dataclass
class Memory:
    """Summaries by what they are of, and biases by k: many ablations ask for the same ones."""

    kept: dict[tuple[object, ...], Summary] = field(default_factory=dict)
    biases: dict[int, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Remembering:
    """A summarizer that looks into its memory first; ``about`` names what tokens are of."""

    summarizer: Summarizer
    memory: Memory
    about: tuple[object, ...]

    def summarize(self, tokens: Tokens, *, captions: bool = True, steer_strength: float = 5.0) -> Summary:
        """As the summarizer's own."""
        key = (*self.about, len(tokens.items), captions, steer_strength)
        if (found := self.memory.kept.get(key)) is None:
            found = self.summarizer.summarize(tokens, captions=captions, steer_strength=steer_strength)
            if len(self.memory.kept) < REMEMBERED:
                self.memory.kept[key] = found
        return found


@dataclass(frozen=True)
class Laboratory:
    """What sessions are simulated with.

    Args:
        benchmark: queries and items.
        summarizers: by name; the first is taken where a strategy names none.
        fitted: calibration of feedback.
        turns: lists a session has, at least 2.
        memory: shared by the runs of this benchmark.
    """

    benchmark: Benchmark
    summarizers: dict[str, Summarizer] = field(default_factory=dict)
    fitted: Fitted = UNFITTED
    turns: int = 2
    memory: Memory = field(default_factory=Memory)

    def run(self, strategy: Strategy, *, turns: int | None = None, progress: Progress = lambda _: None) -> Run:
        """Simulate all sessions with ``strategy``."""
        count, wanted = len(self.benchmark.starts), turns or self.turns
        parts, seconds = [], 0.0
        for start in range(0, count, QUERIES_AT_ONCE):
            batch = _Batch(self, strategy, np.arange(start, min(start + QUERIES_AT_ONCE, count)))
            parts.append(batch.run(wanted))
            seconds += batch.seconds
            progress(len(batch.queries))
        ranks, shown, similarity, decisions, vectors, relevance = (
            np.concatenate(column, axis=1) for column in zip(*parts, strict=True)
        )
        each = seconds / (count * max(wanted - 1, 1))
        return Run(strategy, ranks, shown, similarity, decisions, each, vectors, relevance)

    def bias(self, policy: Policy) -> NDArray[np.float64] | None:
        """(p,) what nearest-neighbour normalisation takes off every score; None where it is off."""
        references = self.fitted.references
        if policy.nnn is None or references is None:
            return None
        if policy.nnn.k not in self.memory.biases:
            self.memory.biases[policy.nnn.k] = self.benchmark.bias(references, policy.nnn.k)
        return policy.nnn.a * self.memory.biases[policy.nnn.k]

    def summarizer(self, strategy: Strategy, about: tuple[object, ...]) -> Summarizer | None:
        """The one that ``strategy`` asks for, with a memory."""
        name = strategy.summarizer or next(iter(self.summarizers), None)
        if not strategy.summarizes or name is None:
            return None
        return _Remembering(self.summarizers[name], self.memory, (name, *about))


@dataclass
class _Session:
    """Where one query stands."""

    query: int
    now: Query
    base: Query | None = None
    similarity: float = 1.0
    decision: int = DECISIONS.index("held")
    relevance: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class _Batch:
    """Sessions of some queries, side by side: their lists are scored at once."""

    def __init__(self, laboratory: Laboratory, strategy: Strategy, queries: Ints) -> None:
        self.queries, self.seconds = queries, 0.0
        self._laboratory, self._strategy = laboratory, strategy
        self._benchmark = laboratory.benchmark
        starts = laboratory.benchmark.starts[queries]
        self._starts = [Query(vector, vector) for vector in starts]
        self._sessions = [_Session(int(query), one) for query, one in zip(queries, self._starts, strict=True)]

    def run(self, turns: int) -> tuple[NDArray[Any], ...]:
        """Ranks, items shown, similarities, decisions, vectors and relevance by turn and query, as in ``Run``."""
        stages = []
        for turn in range(turns):
            images = np.stack([session.now.image for session in self._sessions])
            captions = np.stack([session.now.caption for session in self._sessions])
            scores = self._scores(images, captions)
            order = np.argsort(-scores, axis=1, kind="stable")
            stages.append(
                (
                    self._ranks(scores),
                    _padded(order[:, :SHOWN], -1, SHOWN),
                    *self._standing(),
                    images,
                    self._relevance(),
                )
            )
            if turn + 1 < turns:
                for session, start, ranking in zip(self._sessions, self._starts, order, strict=True):
                    self._refine(session, start, ranking, turn)
        return tuple(np.stack(column) for column in zip(*stages, strict=True))

    def _ranks(self, scores: Scores) -> Ints:
        return best_ranks(scores, [self._benchmark.targets[query] for query in self.queries])

    def _standing(self) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        similarity = np.array([session.similarity for session in self._sessions], dtype=np.float64)
        return similarity, np.array([session.decision for session in self._sessions], dtype=np.int8)

    def _relevance(self) -> NDArray[np.float64]:
        k = self._strategy.policy.k
        return np.stack([_padded(session.relevance[None, :k], 0, k)[0] for session in self._sessions])

    def _scores(self, images: Matrix, captions: Matrix) -> Scores:
        scores = self._benchmark.scores(self.queries, images, captions)
        bias = self._laboratory.bias(self._strategy.policy)
        return scores if bias is None else scores - bias.astype(np.float32)

    def _refine(self, session: _Session, start: Query, ranking: Ints, turn: int) -> None:
        policy = self._strategy.policy
        shown, worst = ranking[: policy.k], ranking[-policy.k :]
        feedback, summarizer = self._feedback(session, shown, turn)
        lowest = self._items(session, worst) if policy.strategy == "rocchio" else None
        began = time.perf_counter()
        outcome: Outcome = refine(
            policy,
            start,
            session.now,
            feedback,
            base=session.base,
            summarizer=summarizer,
            fitted=self._laboratory.fitted,
            worst=lowest,
        )
        self.seconds += time.perf_counter() - began
        session.now, session.base = outcome.query, outcome.base
        session.similarity = outcome.similarity_to_start
        session.decision, session.relevance = DECISIONS.index(outcome.decision), outcome.relevance

    def _feedback(self, session: _Session, shown: Ints, turn: int) -> tuple[Feedback, Summarizer | None]:
        feedback = Feedback(self._items(session, shown))
        if self._strategy.words:
            feedback = replace(feedback, words=self._benchmark.words(session.query, turn))
        summarizer = self._laboratory.summarizer(self._strategy, (session.query, shown.tobytes()))
        if summarizer is not None:
            feedback = replace(feedback, tokens=self._benchmark.tokens(session.query, shown, session.now))
        return feedback, summarizer

    def _items(self, session: _Session, shown: Ints) -> Items:
        return self._benchmark.items(session.query, shown, session.now)


def best_ranks(scores: Scores, targets: list[Ints]) -> Ints:
    """Rank, from 1, of the best of each row's ``targets``; of equal scores the lower column comes first."""
    ranks = np.empty(len(scores), dtype=np.int64)
    for row, right in enumerate(targets):
        best = int(right[np.lexsort((right, -scores[row, right]))[0]])
        above = scores[row] > scores[row, best]
        level = scores[row, :best] == scores[row, best]
        ranks[row] = 1 + int(above.sum()) + int(level.sum())
    return ranks


def _padded(rows: NDArray[Any], filling: int, width: int) -> NDArray[Any]:
    """Rows (n, m) of at most ``width`` columns, filled up to it."""
    missing = width - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing)), constant_values=filling) if missing > 0 else rows
