"""What a refinement session is: its turns, kept with each of its lists as inputs, never as vectors.

Nothing of a session lives in a process. Each refined list carries the turns that led to it; the vectors are found
again by folding them (``replay.py``), and undoing a turn is going on from an earlier list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from backend.ml.regions import Box
from backend.search.refinement.regions import DrawnBox

MOST_TURNS = 50
"""Turns of one session; each list carries those before it."""

MOST_JUDGED = 100
"""Products whose judgements count together, the latest ones."""


@dataclass(frozen=True)
class Judgement:
    """What was said of a product, or of a part of one of its pictures.

    Args:
        product_id: the product.
        grade: -1 to 1; None takes back what was said of the product before.
        picture: content hash of the picture that ``box`` is drawn on.
        box: the part that is meant; None means the product.
        label: what the shopper calls that part.
    """

    product_id: str
    grade: float | None
    picture: str | None = None
    box: Box | None = None
    label: str | None = None


@dataclass(frozen=True)
class Turn:
    """The inputs of one refinement.

    Args:
        policy: name of the refine policy.
        config: that policy with what the request changed of it; what is left out has its default.
        shown: the first products of the list it is about.
        worst: the last ones, where the policy looks at them.
        judgements: of products and of parts of pictures, as given in this turn.
        signals: what clicks and dwell since the turn before say of products, where the policy counts them.
        text: words of this turn.
        exclude_liked: whether liked products are left out from here on; None leaves that to the policy.
    """

    policy: str
    config: dict[str, Any]
    shown: tuple[str, ...]
    worst: tuple[str, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    signals: tuple[Judgement, ...] = ()
    text: str | None = None
    exclude_liked: bool | None = None

    @property
    def boxes(self) -> tuple[Judgement, ...]:
        """Judgements of parts of pictures."""
        return tuple(judgement for judgement in self.judgements if judgement.box is not None)

    @property
    def drawn(self) -> list[DrawnBox]:
        """The same as boxes on pictures, those with a grade."""
        return [
            DrawnBox(one.picture, one.box, one.grade)
            for one in self.judgements
            if one.box is not None and one.picture is not None and one.grade is not None
        ]

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Turn":
        """A turn as orjson wrote it."""
        judged = {name: tuple(_judgement(one) for one in kept[name]) for name in ("judgements", "signals")}
        named = {name: tuple(kept[name]) for name in ("shown", "worst")}
        return cls(**(kept | judged | named))


def turns_of(refinement: dict[str, Any]) -> tuple[Turn, ...]:
    """The turns in what is kept with a refined list, oldest first."""
    return tuple(Turn.from_json(turn) for turn in refinement["turns"])


def said(turns: Sequence[Turn]) -> dict[str, float]:
    """Grade of each product that the shopper judged, last judged last; a later judgement replaces an earlier."""
    return _folded([turn.judgements for turn in turns])


def graded(turns: Sequence[Turn]) -> dict[str, float]:
    """Grade of each product, whether said or guessed from clicks and dwell; the last ``MOST_JUDGED`` of them.

    What a shopper says outweighs what clicks and dwell let guess, whichever came first.
    """
    told = said(turns)
    guessed = _folded([turn.signals for turn in turns])
    every = {product_id: grade for product_id, grade in guessed.items() if product_id not in told} | told
    return dict(list(every.items())[-MOST_JUDGED:])


def excludes_liked(turns: Sequence[Turn]) -> bool | None:
    """What was last asked for liked products; None: nothing."""
    asked = [turn.exclude_liked for turn in turns if turn.exclude_liked is not None]
    return asked[-1] if asked else None


def _folded(turns: Sequence[Sequence[Judgement]]) -> dict[str, float]:
    grades: dict[str, float] = {}
    for judgement in (one for judgements in turns for one in judgements if one.box is None):
        grades.pop(judgement.product_id, None)
        if judgement.grade is not None:
            grades[judgement.product_id] = judgement.grade
    return grades


def chain_hash(question: dict[str, Any], turns: Sequence[Turn]) -> str:
    """Name of what ``turns`` make of ``question``: equal inputs, equal name."""
    return sha256(orjson.dumps([question, *turns], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _judgement(kept: dict[str, Any]) -> Judgement:
    box = kept["box"]
    return Judgement(**(kept | {"box": None if box is None else tuple(box)}))
