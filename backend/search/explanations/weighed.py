"""What a turn weighed: computed again from what was kept of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from backend.events.repository import ListServed, PageServed
from backend.generations.serving import Serving, ServingHolder
from backend.ml.feedback.likes import pair_weights
from backend.ml.feedback.policy import Likes
from backend.search.lists import Ask
from backend.search.pipeline import Searcher
from backend.search.query_vectors import Question
from backend.search.refinement.replay import Replay, Step, policy_of
from backend.search.refinement.session import Turn, graded
from backend.search.refinement.tokens import Subjects
from backend.search.served import ListUnknown

ASKED = 5
"""Products that are weighed where none are named."""

STRATEGIES = ("afs", "grf", "prf")
"""Ways to weigh products of which nothing is said, the most telling first; not every list has what each needs."""


@dataclass(frozen=True)
class Weighed:
    """A turn, or one that could follow, and what came of it.

    Args:
        served: the list to be explained.
        serving: what it was computed again under.
        about: whether it is the turn that led to the list.
        turn: its inputs.
        step: its outcome.
        positions: of products on the list that the turn is about.
        grades: what was said of products.
        pulls: of each of these what its judgement weighed; empty where judgements did not count.
    """

    served: ListServed
    serving: Serving
    about: Literal["turn", "products"]
    turn: Turn
    step: Step
    positions: Mapping[str, int]
    grades: Mapping[str, float]
    pulls: Mapping[str, float]

    @property
    def subjects(self) -> dict[str, Subjects]:
        """What stood for each product: those weighed as a list, then those judged, then those with a box."""
        found = dict(self.step.shown) if len(self.step.outcome.relevance) or self.about == "products" else {}
        found |= {one: found.get(one, subjects) for one, subjects in self.step.judged.items() if one in self.pulls}
        for box in self.turn.boxes if self.about == "turn" else ():
            found[box.product_id] = replace(found.get(box.product_id, Subjects(None, None)), image=box.picture)
        return found


class Weighing:
    """Computes turns again.

    Args:
        searcher: knows lists.
        holder: what serves.
        replay: turns into outcomes.
    """

    def __init__(self, searcher: Searcher, holder: ServingHolder, replay: Replay) -> None:
        self._searcher = searcher
        self._holder = holder
        self._replay = replay

    def of(self, query_id: str, product_ids: Sequence[str] = ()) -> Weighed:
        """What led to a list; for one that was searched for, or where products are named, what those would weigh.

        Raises:
            ListUnknown: there is no such list.
            NothingToRefine: it was begun by no question, and nothing of it is embedded.
        """
        served, pages = self._searcher.list_of(query_id)
        ask, serving = Ask.of(served), self._holder.pinned(served.generation_id)
        if ask.turns and not product_ids:
            return self._turn(served, serving, ask.question, ask.turns)
        wanted = list(dict.fromkeys(product_ids)) or _first(pages)
        turn, step = self._asked(serving, ask, wanted)
        return Weighed(served, serving, "products", turn, step, _positions(pages), {}, {})

    def _turn(self, served: ListServed, serving: Serving, question: Question, turns: Sequence[Turn]) -> Weighed:
        step = self._replay.step(serving, question, turns)
        grades = graded(turns)
        counted = "likes" in step.outcome.strategy.split("+")
        return Weighed(
            served,
            serving,
            "turn",
            turns[-1],
            step,
            _positions(self._pages(served.parent_id)),
            grades,
            self._pulls(serving, turns[-1], {one: grades[one] for one in step.judged}) if counted else {},
        )

    def _asked(self, serving: Serving, ask: Ask, wanted: Sequence[str]) -> tuple[Turn, Step]:
        """A turn that could follow, in which nothing is said, and its outcome."""
        for strategy in STRATEGIES:
            turn = Turn("explain", {"strategy": strategy, "k": max(len(wanted), 1)}, tuple(wanted))
            step = self._replay.step(serving, ask.question, (*(ask.turns or ()), turn), remember=False)
            if len(step.outcome.relevance):
                break
        return turn, step

    def _pulls(self, serving: Serving, turn: Turn, grades: Mapping[str, float]) -> dict[str, float]:
        likes = policy_of(turn).likes or self._replay.fitted(serving).likes or Likes()
        weights = pair_weights(np.array(list(grades.values()), dtype=np.float64), likes)
        whole = float(np.abs(weights).sum()) or 1.0
        return {one: float(weight) / whole for one, weight in zip(grades, weights, strict=True)}

    def _pages(self, query_id: str | None) -> Sequence[PageServed]:
        if query_id is None:
            return ()
        try:
            return self._searcher.list_of(query_id)[1]
        except ListUnknown:
            return ()


def _positions(pages: Sequence[PageServed]) -> dict[str, int]:
    return {one: page.first_position + place for page in pages for place, one in enumerate(page.product_ids)}


def _first(pages: Sequence[PageServed]) -> list[str]:
    return [product_id for page in pages for product_id in page.product_ids][:ASKED]
