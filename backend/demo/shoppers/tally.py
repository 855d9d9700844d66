"""What was planted and what was done, counted: the report of a simulation."""

from collections import Counter
from dataclasses import asdict, dataclass, field, is_dataclass
from threading import Lock
from typing import Any

import numpy as np

from backend.demo.shoppers.session import ListDone
from backend.ml.clicks.adversaries import Honest, Inverted
from backend.ml.clicks.examination import examined_share
from backend.ml.clicks.worlds import Population, World

DEEDS = ("viewed", "examined", "clicked", "satisfied", "carted", "wished", "bought")


@dataclass
class Tally:
    """Counts lists as they are done; several threads may tell it.

    Args:
        world: whose lists they are.
        page: products of a page, the most that are counted by position.
    """

    world: World
    page: int
    lists: int = 0
    reformulations: int = 0
    quality: float = 0.0
    shown_at: list[int] = field(default_factory=list)
    done_at: dict[str, list[int]] = field(default_factory=dict)
    populations: dict[str, Counter[str]] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    arms: dict[str, Counter[str]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        self.shown_at = [0] * self.page
        self.done_at = {deed: [0] * self.page for deed in DEEDS}
        self.populations = {one.name: Counter() for one in self.world.populations}

    def add(self, done: ListDone) -> None:
        """Count one list."""
        with self._lock:
            self.lists += 1
            self.reformulations += int(done.acts.reformulated[0])
            self.quality += done.quality
            of = self.populations[done.population.name]
            of.update(lists=1, shown=len(done.product_ids))
            for place in range(len(done.product_ids)):
                self.shown_at[place] += 1
            for deed in DEEDS:
                places = np.flatnonzero(getattr(done.acts, deed)[0])
                of[deed] += len(places)
                for at in places.tolist():
                    self.done_at[deed][at] += 1
            self._count_events(done)
            for experiment, arm in done.experiments.items():
                self.arms.setdefault(experiment, Counter())[arm] += 1

    @property
    def shown(self) -> int:
        """Products shown, over all lists."""
        return sum(self.shown_at)

    def total(self, deed: str) -> int:
        """How often a deed was done."""
        return sum(self.done_at[deed])

    def _count_events(self, done: ListDone) -> None:
        for event in done.events:
            self.sent[event["type"]] += 1
            self.rows[event["type"]] += len(event.get("items", (None,)))
        for verdict in done.verdicts:
            self.verdicts[verdict["status"]] += 1
            if verdict["status"] == "rejected":
                self.refused[verdict["code"]] += 1

    def report(self, *, seed: int, shoppers: int, run: str) -> dict[str, Any]:
        """What was planted and what was done, as a JSON object."""
        return {
            "world": self.world.name,
            "seed": seed,
            "shoppers": shoppers,
            "run": run,
            "planted": {
                "about": self.world.about,
                "words": self.world.words,
                "taste": self.world.taste,
                "populations": [_planted(one, self.page) for one in self.world.populations],
            },
            "done": {
                "lists": self.lists,
                "shown": self.shown,
                **{deed: self.total(deed) for deed in DEEDS},
                "reformulated": self.reformulations,
                "ndcg_at_10": self.quality / max(self.lists, 1),
                "populations": {name: dict(counts) for name, counts in self.populations.items()},
                "arms": {name: dict(counts) for name, counts in self.arms.items()},
            },
            "by_position": {"shown": self.shown_at, **self.done_at},
            "events": {
                "sent": dict(self.sent),
                "rows": dict(self.rows),
                "verdicts": dict(self.verdicts),
                "refused": dict(self.refused),
            },
        }


def _planted(population: Population, length: int) -> dict[str, Any]:
    """A population as it was planted; ``theta`` and ``in_view`` are those of the behaviour, by position."""
    shopper = population.shopper
    found = {
        "name": population.name,
        "share": population.share,
        "shopper": type(shopper).__name__.lower(),
        "context": asdict(population.context),
        "loves": list(population.loves),
        "behaviour": asdict(shopper) if is_dataclass(shopper) else {},
    }
    if isinstance(shopper, Honest | Inverted):
        columns, behaviour = population.context.columns, shopper.behaviour
        found["theta"] = examined_share(behaviour.examination, length, columns).round(6).tolist()
        found["in_view"] = behaviour.in_view(length, columns).round(6).tolist()
        found["examination"] = type(behaviour.examination).__name__
    return found
