"""Explanations of lists, put together."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from backend.ml.saliency import Saliency
from backend.search.explanations.captions import ReadWords
from backend.search.explanations.pictures import LookedAt
from backend.search.explanations.weighed import Weighed, Weighing
from backend.search.refinement.tokens import Subjects


class Explainer:
    """Says why a list is as it is. Safe to share between threads.

    Args:
        weighing: computes turns again.
        looked: where on pictures a summarizer looked.
        words: which words it read.
    """

    def __init__(self, weighing: Weighing, looked: LookedAt, words: ReadWords) -> None:
        self._weighing = weighing
        self._looked = looked
        self._words = words

    def explain(self, query_id: str, product_ids: Sequence[str] = ()) -> dict[str, Any]:
        """The explanation of a list, as ``schemas.ExplainResponse`` describes it."""
        weighed = self._weighing.of(query_id, product_ids)
        served, outcome, mine = weighed.served, weighed.step.outcome, weighed.about == "turn"
        return {
            "query_id": served.query_id,
            "parent_id": served.parent_id,
            "turn": served.turn,
            "generation": weighed.serving.name,
            "about": weighed.about,
            "strategy": outcome.strategy if len(outcome.relevance) or mine else "none",
            "decision": outcome.decision if mine else None,
            "text": weighed.turn.text if mine else None,
            "items": self._items(weighed, product_ids),
        }

    def overlay(self, query_id: str, of: str, product_ids: Sequence[str], *, side: int, alone: bool) -> bytes:
        """PNG of the picture of the product ``of`` as ``LookedAt.drawn`` draws it.

        Where no product is named and the turn did not weigh ``of``, it is weighed by itself.
        """
        weighed = self._weighing.of(query_id, product_ids)
        if of not in weighed.step.shown and not product_ids:
            weighed = self._weighing.of(query_id, [of])
        return self._looked.drawn(weighed, of, side=side, alone=alone)

    def _items(self, weighed: Weighed, product_ids: Sequence[str]) -> list[dict[str, Any]]:
        outcome, shown = weighed.step.outcome, weighed.step.shown
        grids, captions = self._looked.grids(weighed), self._words.of(weighed)
        # none of it weighed anything where the list itself did not count
        relevance = dict(zip(shown, outcome.relevance.tolist(), strict=False))
        irrelevance = dict(zip(shown, outcome.irrelevance.tolist(), strict=False))
        return [
            {
                "product_id": one,
                "position": weighed.positions.get(one),
                "grade": weighed.grades.get(one),
                "relevance": relevance.get(one),
                "irrelevance": irrelevance.get(one),
                "pull": weighed.pulls.get(one),
                "image": self._image(weighed, one, subjects, grids.get(one), product_ids),
                "caption": captions.get(one),
            }
            for one, subjects in weighed.subjects.items()
        ]

    def _image(
        self, weighed: Weighed, product_id: str, subjects: Subjects, grid: Saliency | None, product_ids: Sequence[str]
    ) -> dict[str, Any] | None:
        if subjects.image is None:
            return None
        boxes = weighed.turn.boxes if weighed.about == "turn" else ()
        drawn = [one for one in boxes if (one.product_id, one.picture) == (product_id, subjects.image)]
        saliency = self._looked.numbers(weighed, subjects.image, grid) if grid is not None else None
        about = urlencode([("of", product_id), *(("product_id", one) for one in product_ids)])
        return {
            "content_hash": subjects.image,
            "src": f"/images/{subjects.image}",
            "boxes": [{"box": one.box, "grade": one.grade or 0.0, "label": one.label} for one in drawn],
            "saliency": saliency,
            "overlay": f"/v1/search/{weighed.served.query_id}/explain/overlay?{about}" if saliency else None,
        }
