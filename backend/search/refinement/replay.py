"""From the turns of a session to its query vectors: each turn is computed from the one before, and remembered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from backend.errors import Unprocessable
from backend.generations.serving import Serving
from backend.ml.feedback.fitted import Fitted
from backend.ml.feedback.inputs import Feedback, Items, Outcome, Query, Regions, Vector
from backend.ml.feedback.policy import Policy
from backend.ml.feedback.update import refine
from backend.search.query_vectors import QueryEncoder, QueryVectors, Question, unit
from backend.search.refinement.features import ItemVectors, ProductVectors, items
from backend.search.refinement.regions import DrawnBox, RegionCrops
from backend.search.refinement.session import Turn, chain_hash, excludes_liked, graded, said
from backend.search.vector_cache import VectorCache

POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)
"""Reads and writes policies as JSON."""


class NothingToRefine(Unprocessable):
    """A list without a product, begun by no question, gives feedback nothing to go by."""

    title = "Nothing to refine"


@dataclass(frozen=True)
class Position:
    """Where a session stands after some turns.

    Args:
        start: its first query.
        base: its last query without what judgements added, since all judgements are given again every turn.
        current: its last query.
    """

    start: Query
    base: Query
    current: Query

    @classmethod
    def at(cls, query: Query) -> "Position":
        """Before any turn."""
        return cls(query, query, query)

    def packed(self) -> Vector:
        """(6 d,) all of it in one vector."""
        queries = (self.start, self.base, self.current)
        return np.concatenate([side for query in queries for side in (query.image, query.caption)]).astype(np.float32)

    @classmethod
    def unpacked(cls, packed: Vector) -> "Position":
        """Inverse of ``packed``."""
        rows = packed.reshape(6, -1)
        return cls(*(Query(rows[place], rows[place + 1]) for place in (0, 2, 4)))


@dataclass(frozen=True)
class Step:
    """What a turn led to, and what the collections are asked for its list."""

    outcome: Outcome
    vectors: QueryVectors


class Replay:
    """Folds turns. What was folded once is remembered by its inputs, in Redis and here; losing it costs time only.

    Args:
        queries: vectors of words, pictures and products.
        products: vectors of products that turns are about.
        crops: vectors of what boxes on pictures hold.
        cache: what was folded before.
    """

    def __init__(self, queries: QueryEncoder, products: ItemVectors, crops: RegionCrops, cache: VectorCache) -> None:
        self._queries = queries
        self._products = products
        self._crops = crops
        self._cache = cache
        self._fitted: tuple[int, Fitted] | None = None

    def vectors(self, serving: Serving, question: Question, turns: Sequence[Turn]) -> QueryVectors:
        """What the collections are asked for the list behind ``turns``."""
        position = self._cached(serving, question, turns)
        if position is None:
            return self.step(serving, question, turns).vectors
        known = self._products.of(serving, _left_out(question, turns))
        return _asked(position.current, [product.number for product in known.values()])

    def step(self, serving: Serving, question: Question, turns: Sequence[Turn]) -> Step:
        """What the last of ``turns`` led to; where it leads is remembered.

        Raises:
            NothingToRefine: there is no question, nothing is judged and the list shows no product.
        """
        turn, grades, left_out = turns[-1], graded(turns), _left_out(question, turns)
        known = self._products.of(serving, list(dict.fromkeys([*turn.shown, *grades, *left_out])))
        words = self._queries.words(serving, turn.text) if turn.text is not None else None
        before = self._after(serving, question, turns[:-1]) or _begun(known, turn, grades, words)
        feedback = Feedback(
            shown=_shown(serving, known, turn, grades, before.current),
            judged=_judged(serving, known, grades, before.current),
            words=words,
            regions=self._regions(serving, turn),
        )
        outcome = refine(
            policy_of(turn), before.start, before.current, feedback, base=before.base, fitted=self._of(serving)
        )
        self._remember(serving, question, turns, Position(before.start, outcome.base, outcome.query))
        return Step(outcome, _asked(outcome.query, [known[one].number for one in left_out if one in known]))

    def _regions(self, serving: Serving, turn: Turn) -> Regions | None:
        drawn = [
            DrawnBox(one.picture, one.box, one.grade)
            for one in turn.judgements
            if one.box is not None and one.picture is not None and one.grade is not None
        ]
        return self._crops.regions(serving, drawn) if drawn else None

    def _after(self, serving: Serving, question: Question, turns: Sequence[Turn]) -> Position | None:
        """Where a session stands after ``turns``; None where it began without a question and there are none."""
        if turns:
            known = self._cached(serving, question, turns)
            if known is not None:
                return known
            self.step(serving, question, turns)
            return self._cached(serving, question, turns)
        if question == Question():
            return None
        found = self._queries.vectors(serving, question)
        return Position.at(Query(found.image[0], found.caption[0]))

    def _cached(self, serving: Serving, question: Question, turns: Sequence[Turn]) -> Position | None:
        kept = self._cache.get(serving.weights_hash, _subject(serving, question, turns))
        return None if kept is None or len(kept) != 6 * serving.dim else Position.unpacked(kept)

    def _remember(self, serving: Serving, question: Question, turns: Sequence[Turn], position: Position) -> None:
        self._cache.put(serving.weights_hash, _subject(serving, question, turns), position.packed())

    def _of(self, serving: Serving) -> Fitted:
        """What was fitted to this generation, read once while it serves."""
        if self._fitted is None or self._fitted[0] != serving.generation_id:
            self._fitted = (serving.generation_id, Fitted.from_json(serving.feedback))
        return self._fitted[1]


def policy_of(turn: Turn) -> Policy:
    """The policy that a turn was computed with."""
    return POLICY.validate_python(turn.config)


def _subject(serving: Serving, question: Question, turns: Sequence[Turn]) -> str:
    return f"turns:{serving.generation_id}:{chain_hash(vars(question), turns)}"


def _asked(query: Query, without: Sequence[int]) -> QueryVectors:
    return QueryVectors(query.image[None], query.caption[None], tuple(sorted(without)))


def _left_out(question: Question, turns: Sequence[Turn]) -> list[str]:
    """Ids of products that are not shown: the one searched by, those disliked, and those liked where that is wanted."""
    policy, chosen = policy_of(turns[-1]), excludes_liked(turns)
    without_liked = policy.exclude_liked if chosen is None else chosen
    gone = [] if question.product_id is None else [question.product_id]
    for product_id, grade in said(turns).items():
        if (grade < 0 and policy.exclude_disliked) or (grade > 0 and without_liked):
            gone.append(product_id)
    return gone


def _shown(
    serving: Serving, known: Mapping[str, ProductVectors], turn: Turn, grades: Mapping[str, float], query: Query
) -> Items:
    there = [product_id for product_id in turn.shown[: policy_of(turn).k] if product_id in known]
    return items([known[one] for one in there], [grades.get(one, np.nan) for one in there], query, serving.dim)


def _judged(
    serving: Serving, known: Mapping[str, ProductVectors], grades: Mapping[str, float], query: Query
) -> Items | None:
    there = [product_id for product_id in grades if product_id in known]
    if not there:
        return None
    return items([known[one] for one in there], [grades[one] for one in there], query, serving.dim)


def _begun(
    known: Mapping[str, ProductVectors], turn: Turn, grades: Mapping[str, float], words: Vector | None
) -> Position:
    """Where a session begins that has no question: at what is liked, else at the words, else at what was shown."""
    liked = {one: grade for one, grade in grades.items() if grade > 0 and one in known}
    if not liked and words is not None:
        return Position.at(Query(words, words))
    meant = liked or dict.fromkeys([one for one in turn.shown if one in known], 1.0)
    image, caption = (
        _mean([(getattr(known[one], side), grade) for one, grade in meant.items()]) for side in ("images", "captions")
    )
    either = image if image is not None else caption
    if either is None:
        raise NothingToRefine(
            "this list was begun by no question, and nothing that it shows or that was judged is embedded",
            expected="text, a judgement of a product, or a list with products",
        )
    return Position.at(Query(either, caption if caption is not None else either))


def _mean(sides: Sequence[tuple[Vector, float]]) -> Vector | None:
    """Direction of the mean of each product's mean row, by its grade; None where no product has a row."""
    rows = [grade * unit(vectors.mean(axis=0)) for vectors, grade in sides if len(vectors)]
    return unit(np.mean(rows, axis=0)) if rows else None
