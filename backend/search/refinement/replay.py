"""From the turns of a session to its query vectors: each turn is computed from the one before, and remembered."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import orjson

from backend.errors import Unprocessable
from backend.generations.serving import Serving
from backend.ml.feedback.fitted import Fitted
from backend.ml.feedback.inputs import Feedback, Items, Outcome, Query, Vector
from backend.ml.feedback.policy import Policy
from backend.ml.feedback.scales import mean_shift
from backend.ml.feedback.update import refine
from backend.search.query_vectors import QueryEncoder, QueryVectors, Question, unit
from backend.search.refinement.features import ItemVectors, ProductVectors, Standing, items, standing
from backend.search.refinement.policies import POLICY
from backend.search.refinement.regions import RegionCrops
from backend.search.refinement.session import Turn, chain_hash, excludes_liked, graded, said
from backend.search.refinement.tokens import Subjects, TokenLoader
from backend.search.summarizers import Summarizers
from backend.search.vector_cache import VectorCache


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
    """What a turn led to, and what the collections are asked for its list.

    Args:
        outcome: of the turn.
        position: where the session stands behind it.
        vectors: for the collections.
        shown: id of each product that ``outcome.relevance`` and ``outcome.summary`` are of, and what stood for it.
        judged: likewise of each that was judged.
        known: vectors of the products that the turn names and the catalogue knows or knew.
    """

    outcome: Outcome
    position: Position
    vectors: QueryVectors
    shown: Mapping[str, Subjects]
    judged: Mapping[str, Subjects]
    known: Mapping[str, ProductVectors]


class Replay:
    """Folds turns. What was folded once is remembered by its inputs, in Redis and here; losing it costs time only.

    Args:
        queries: vectors of words, pictures and products.
        products: vectors of products that turns are about.
        crops: vectors of what boxes on pictures hold.
        tokens: what summarizers read.
        summarizers: of the generations that serve.
        cache: what was folded before.
        pool: threads for what need not be waited for.
    """

    def __init__(
        self,
        queries: QueryEncoder,
        products: ItemVectors,
        crops: RegionCrops,
        tokens: TokenLoader,
        summarizers: Summarizers,
        cache: VectorCache,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._queries = queries
        self._products = products
        self._crops = crops
        self._tokens = tokens
        self._summarizers = summarizers
        self._cache = cache
        self._pool = pool
        self._fitted: tuple[int, Fitted] | None = None

    def vectors(self, serving: Serving, question: Question, turns: Sequence[Turn]) -> QueryVectors:
        """What the collections are asked for the list behind ``turns``."""
        position = self._cached(serving, question, turns)
        if position is None:
            return self.step(serving, question, turns).vectors
        known = self._products.of(serving, _left_out(question, turns))
        return self._asked(serving, position, [product.number for product in known.values()])

    def step(self, serving: Serving, question: Question, turns: Sequence[Turn], *, remember: bool = True) -> Step:
        """What the last of ``turns`` led to; where it leads is remembered, unless nobody will go on from there.

        Raises:
            NothingToRefine: there is no question, nothing is judged and the list shows no product.
        """
        turn, grades, left_out, drawn = turns[-1], graded(turns), _left_out(question, turns), turns[-1].drawn
        named = [one.product_id for one in turn.judgements]
        wanted = [*turn.shown, *turn.worst, *grades, *left_out, *named]
        known = self._products.of(serving, list(dict.fromkeys(wanted)))
        words = self._queries.words(serving, turn.text) if turn.text is not None else None
        before = self._after(serving, question, turns[:-1]) or _begun(known, turn, grades, words)
        shown = _shown(known, turn, before.current)
        # by the query without judgements: whatever is judged when, the same of a product counts
        judged = {one: standing(known[one], before.base) for one in grades if one in known}
        feedback = Feedback(
            shown=items(list(shown.values()), [grades.get(one, np.nan) for one in shown], serving.dim),
            judged=items(list(judged.values()), [grades[one] for one in judged], serving.dim) if judged else None,
            words=words,
            regions=self._crops.regions(serving, drawn) if drawn else None,
        )
        feedback = self._with_tokens(serving, question, turns, feedback, shown)
        outcome = self._refined(serving, before, turn, feedback, _worst(serving, known, turn, before.current))
        position = Position(before.start, outcome.base, outcome.query)
        if remember:
            self._remember(serving, question, turns, position)
        gone = [known[one].number for one in left_out if one in known]
        return Step(outcome, position, self._asked(serving, position, gone), _subjects(shown), _subjects(judged), known)

    def _refined(
        self, serving: Serving, before: Position, turn: Turn, feedback: Feedback, worst: Items | None
    ) -> Outcome:
        return refine(
            policy_of(turn),
            before.start,
            before.current,
            feedback,
            base=before.base,
            summarizer=self._summarizers.of(serving) if feedback.tokens is not None else None,
            fitted=self.fitted(serving),
            worst=worst,
        )

    def _with_tokens(
        self,
        serving: Serving,
        question: Question,
        turns: Sequence[Turn],
        feedback: Feedback,
        shown: Mapping[str, Standing],
    ) -> Feedback:
        """``feedback`` with tokens, where a summarizer may be asked and there are words that it can go by."""
        words = first_words(question, turns)
        policy = policy_of(turns[-1])
        if serving.summarizer_id is None or words is None or not _may_summarize(policy, feedback):
            return feedback
        drawn = turns[-1].drawn
        steer = self._crops.steer(serving, drawn) if drawn and policy.boxes.mode == "afs" else {}
        tokens = self._tokens.load(serving, words, [one.subjects for one in shown.values()], steer)
        return replace(feedback, tokens=tokens)

    def _after(self, serving: Serving, question: Question, turns: Sequence[Turn]) -> Position | None:
        """Where a session stands after ``turns``; None where it began without a question and there are none."""
        if turns:
            known = self._cached(serving, question, turns)
            if known is not None:
                return known
            return self.step(serving, question, turns).position
        if question == Question():
            return None
        found = self._queries.vectors(serving, question)
        return Position.at(Query(found.image[0], found.caption[0]))

    def _asked(self, serving: Serving, position: Position, without: Sequence[int]) -> QueryVectors:
        query = position.current
        shift = mean_shift(position.start, query, self.fitted(serving))
        return QueryVectors(query.image[None], query.caption[None], tuple(sorted(without)), shift)

    def _cached(self, serving: Serving, question: Question, turns: Sequence[Turn]) -> Position | None:
        kept = self._cache.get(serving.weights_hash, _subject(serving, question, turns))
        return None if kept is None or len(kept) != 6 * serving.dim else Position.unpacked(kept)

    def _remember(self, serving: Serving, question: Question, turns: Sequence[Turn], position: Position) -> None:
        subject = _subject(serving, question, turns)
        self._cache.put_soon(serving.weights_hash, subject, position.packed(), self._pool)

    def fitted(self, serving: Serving) -> Fitted:
        """What was fitted to this generation, read once while it serves."""
        if self._fitted is None or self._fitted[0] != serving.generation_id:
            self._fitted = (serving.generation_id, Fitted.from_json(serving.feedback))
        return self._fitted[1]


def policy_of(turn: Turn) -> Policy:
    """The policy that a turn was computed with."""
    return _read(orjson.dumps(turn.config))


@lru_cache(maxsize=256)
def _read(config: bytes) -> Policy:
    return POLICY.validate_json(config)


def _subject(serving: Serving, question: Question, turns: Sequence[Turn]) -> str:
    return f"turns:{serving.generation_id}:{chain_hash(vars(question), turns)}"


def _left_out(question: Question, turns: Sequence[Turn]) -> list[str]:
    """Ids of products that are not shown: the one searched by, those disliked, and those liked where that is wanted."""
    policy, chosen = policy_of(turns[-1]), excludes_liked(turns)
    without_liked = policy.exclude_liked if chosen is None else chosen
    gone = [] if question.product_id is None else [question.product_id]
    for product_id, grade in said(turns).items():
        if (grade < 0 and policy.exclude_disliked) or (grade > 0 and without_liked):
            gone.append(product_id)
    return gone


def first_words(question: Question, turns: Sequence[Turn]) -> str | None:
    """The session's first words, by whose tokens a summarizer goes in every turn."""
    return question.text or next((turn.text for turn in turns if turn.text is not None), None)


def _may_summarize(policy: Policy, feedback: Feedback) -> bool:
    """Whether ``refine`` may ask a summarizer: the policy wants it, a box is to steer it, or nothing was said."""
    if policy.strategy in ("afs", "afs_images"):
        return True
    if feedback.regions is not None and policy.boxes.mode == "afs":
        return policy.strategy in ("auto", "boxes")
    return policy.strategy == "auto" and feedback.words is None and feedback.judged is None


def _shown(known: Mapping[str, ProductVectors], turn: Turn, query: Query) -> dict[str, Standing]:
    """The first products of the list; where boxes steer a summarizer, those that they are drawn on come first."""
    policy = policy_of(turn)
    boxed = {one.product_id: one.picture for one in turn.boxes} if policy.boxes.mode == "afs" else {}
    there = [one for one in dict.fromkeys([*boxed, *turn.shown]) if one in known]
    return {one: standing(known[one], query, boxed.get(one)) for one in there[: policy.k]}


def _worst(serving: Serving, known: Mapping[str, ProductVectors], turn: Turn, query: Query) -> Items | None:
    there = [standing(known[one], query) for one in turn.worst if one in known]
    return items(there, [np.nan] * len(there), serving.dim) if there else None


def _subjects(standings: Mapping[str, Standing]) -> dict[str, Subjects]:
    return {product_id: one.subjects for product_id, one in standings.items()}


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
