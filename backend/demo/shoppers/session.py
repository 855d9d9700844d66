"""One simulated shopper's session: searches, looks, opens, comes back, buys, and asks again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from backend.demo.shoppers.asking import Wish, WishBook
from backend.demo.shoppers.doings import Clock, Event, Teller
from backend.demo.shoppers.door import Door
from backend.demo.shoppers.planted import PlantedTruth
from backend.errors import Conflict
from backend.ml.clicks.adversaries import Fan, Shopper
from backend.ml.clicks.shoppers import Acts
from backend.ml.clicks.worlds import Population

PAGE = 24
MOST_SEARCHES = 40
"""Searches of one session, whatever is drawn."""


@dataclass(frozen=True)
class ListDone:
    """A list that was served and what was done with it.

    Args:
        query_id: of the list.
        shopper: number of the shopper.
        population: whose shopper it is.
        wish: what was asked.
        product_ids: shown, in order.
        gains: (1, k) planted.
        acts: (1, k) done.
        quality: NDCG@10 of the list by planted gains.
        events: sent for it, with their message ids.
        verdicts: what the shop said to each of them.
        experiments: arms that the answer named.
    """

    query_id: str
    shopper: int
    population: Population
    wish: Wish
    product_ids: tuple[str, ...]
    gains: np.ndarray[Any, np.dtype[np.float64]]
    acts: Acts
    quality: float
    events: tuple[Event, ...]
    verdicts: tuple[dict[str, Any], ...]
    experiments: dict[str, str]


@dataclass(frozen=True)
class Visitor:
    """Who comes.

    Args:
        number: of the shopper.
        population: that it belongs to.
        units: shopper_id, session_id and, of who is signed in, user_id.
        run: distinguishes the messages of this run from those of others.
    """

    number: int
    population: Population
    units: dict[str, str]
    run: str


@dataclass(frozen=True)
class Shopping:
    """What a session needs: the shop's door, what is asked for and what is held for relevant.

    Args:
        door: of the shop.
        wishes: what is asked for.
        truth: what is relevant.
        on_list: told of each list when its events have been sent.
        page: products of a page.
    """

    door: Door
    wishes: WishBook
    truth: PlantedTruth
    on_list: Callable[[ListDone], None]
    page: int = PAGE

    def visit(self, visitor: Visitor, rng: np.random.Generator) -> None:
        """Go through one session, list by list."""
        teller = Teller(
            visitor.units, visitor.population.context, Clock(datetime.now(UTC)), f"{visitor.run}-{visitor.number}"
        )
        searches = min(int(rng.geometric(1 / visitor.population.searches)), MOST_SEARCHES)
        for _ in range(searches):
            wish, left = self._wish(visitor.population.shopper, rng), None
            for again in range(3):  # nobody asks a fourth time
                done, query_id = self._one_list(visitor, wish, left, teller, rng)
                if again == 2 or not done.reformulated[0]:
                    break
                wish, left = self.wishes.refined(wish, rng), query_id
            teller.clock.pass_ms(20_000)

    def _wish(self, shopper: Shopper, rng: np.random.Generator) -> Wish:
        return self.wishes.after(shopper.product, rng) if isinstance(shopper, Fan) else self.wishes.draw(rng)

    def _one_list(
        self, visitor: Visitor, wish: Wish, left: str | None, teller: Teller, rng: np.random.Generator
    ) -> tuple[Acts, str]:
        """One search and what is done with what it finds; ``left`` is the list that was given up for it."""
        population = visitor.population
        answer = self.door.search(self._request(visitor, wish), population.user_agent)
        hits = answer["hits"]
        ids = tuple(hit["product_id"] for hit in hits)
        if hits and not any(self.truth.knows(one) for one in ids):
            raise Conflict(
                "These are not the demo's products.", found=ids[0], expected="a shop that `morelike demo` filled"
            )
        gains = self.truth.gains(wish.named, population.loves, ids)[None, :]
        acts = population.shopper.act(gains, np.array([ids], dtype=object), population.context.columns, rng)
        query_id = answer["query_id"]
        events = [] if left is None else [teller.tell("reformulation", query_id=left, next_query_id=query_id)]
        events += teller.doings(query_id, hits, acts)
        verdicts = self.door.send(events, teller.clock.now, population.user_agent) if events else []
        self.on_list(
            ListDone(
                query_id=query_id,
                shopper=visitor.number,
                population=population,
                wish=wish,
                product_ids=ids,
                gains=gains,
                acts=acts,
                quality=self.truth.quality(wish.named, population.loves, ids),
                events=tuple(events),
                verdicts=tuple(verdicts),
                experiments=answer["experiments"],
            )
        )
        return acts, query_id

    def _request(self, visitor: Visitor, wish: Wish) -> dict[str, Any]:
        context = visitor.population.context
        said: dict[str, Any] = {
            "text": wish.text,
            "limit": self.page,
            "query_type": "text",
            "surface": context.surface,
            "device": context.device,
            "layout": context.layout,
            "columns": context.columns,
            "locale": context.locale,
            **visitor.units,
        }
        return said if context.cohort is None else said | {"cohort": context.cohort}


def visitor_of(population: Population, number: int, crowd: str, run: str, rng: np.random.Generator) -> Visitor:
    """The shopper ``number`` of a ``crowd``: the same in every run, in a session of this one."""
    name = f"{crowd}-{population.name if population.alone else number}"
    units = {"shopper_id": f"sim-{name}", "session_id": f"sim-{run}-{number}"}
    if rng.random() < population.signed_in:
        units["user_id"] = f"sim-user-{name}"
    return Visitor(number, population, units, run)
