"""Lists as a generation really serves them, for both sides of the page; nothing of them is recorded."""

import time
from dataclasses import dataclass
from typing import Any

from backend.demo.learn.measuring import PLACES, Measuring
from backend.demo.learn.scenarios import Scenario
from backend.errors import Conflict
from backend.experiments.assignment import LIVE
from backend.generations.serving import ServingHolder
from backend.search.asked import list_served
from backend.search.filters import SearchFilters
from backend.search.lists import Ask
from backend.search.pipeline import Searcher, Wanted
from backend.search.query_vectors import Question
from backend.search.schemas import SearchRequest


class GenerationGone(Conflict):
    """A generation cannot serve any more."""

    title = "Generation gone"


@dataclass(frozen=True)
class Lists:
    """Asks generations.

    Args:
        searcher: the query path of the API.
        holder: generations that serve here.
        measuring: knows what is meant.
    """

    searcher: Searcher
    holder: ServingHolder
    measuring: Measuring

    def ids(self, generation_id: int, words: str) -> list[str]:
        """Products of the first page of a search, in their order."""
        return [hit["product_id"] for hit in self._hits(generation_id, words)]

    def shown(self, chosen: Scenario, generation_id: int) -> tuple[str, str | None]:
        """The search to show of a scenario whose night 0 is served by a generation, and the product to follow."""
        return self.measuring.shown(chosen, lambda words: self.ids(generation_id, words))

    def page(self, chosen: Scenario, generation_id: int, words: str) -> dict[str, Any]:
        """The first page of a search, each hit with its planted grade where there is one.

        Raises:
            GenerationGone: the generation cannot serve.
        """
        found = self._hits(generation_id, words)
        grades = self.measuring.meant(chosen, words, [hit["product_id"] for hit in found])
        hits = [_card(hit, None if grades is None else grades[place]) for place, hit in enumerate(found)]
        return {"generation": f"g{generation_id}", "text": words, "hits": hits}

    def _hits(self, generation_id: int, words: str) -> list[dict[str, Any]]:
        serving = self.holder.pinned(generation_id)
        if serving.generation_id != generation_id:
            raise GenerationGone("this generation does not serve any more", found=f"g{generation_id}")
        request = SearchRequest(text=words, limit=PLACES)
        ask = Ask(Question(request.text, None, None), SearchFilters())
        served = list_served(serving, request, ask, self.searcher.hasher, LIVE)
        wanted = Wanted(PLACES, (), time.perf_counter(), kept=False)
        hits: list[dict[str, Any]] = self.searcher.serve(serving, ask, served, wanted)["hits"]
        return hits


def _card(hit: dict[str, Any], grade: int | None) -> dict[str, Any]:
    product = hit["product"]
    return {
        "product_id": hit["product_id"],
        "title": product["title"],
        "caption": next(iter(product["captions"]), ""),
        "image": product["image"],
        "price": product["price"],
        "currency": product["currency"],
        "grade": grade,
    }
