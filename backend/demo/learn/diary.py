"""What was played: each play with its nights, in a file of the home, so that a page opened tomorrow shows it, too.

The rows of nights and generations are in PostgreSQL; here is what only the demo knows: who came, what was planted, and
what the arms of each night were worth by planted truth.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any, Self

PLAYS = 12
"""Plays that are remembered."""


@dataclass(frozen=True)
class NightPlayed:
    """One night of a play.

    Args:
        number: from 1.
        run_id: of the night's job; None: nobody started it yet.
        crowd: what was done before it, the report of the simulation without what is planted.
        generation_id: what was live after it.
        outcome: of the job: promoted, ready, screening, unchanged, or failed.
        sentence: of the outcome, for people.
        truth: NDCG@10 by planted truth of each arm: ``{"frozen": {"all": …, "unseen": …}, …}``.
        curves: of each context: planted and estimated examination by position.
    """

    number: int
    run_id: int | None = None
    crowd: dict[str, Any] = field(default_factory=dict)
    generation_id: int | None = None
    outcome: str | None = None
    sentence: str = ""
    truth: dict[str, Any] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Played:
    """A play: nights of one scenario, from the generation that served before the first.

    Args:
        scenario: name of it.
        began: its nights read clicks from here on.
        generation_id: what served in night 0.
        text: the search that the page shows.
        product_id: the product that it follows.
        truth: of night 0, as in :class:`NightPlayed`.
        nights: in their order.
    """

    scenario: str
    began: datetime
    generation_id: int
    text: str
    product_id: str | None
    truth: dict[str, Any] = field(default_factory=dict)
    nights: tuple[NightPlayed, ...] = ()

    def generation_after(self, night: int) -> int:
        """The generation that was live after a night; 0 is before the first."""
        done = [one.generation_id for one in self.nights[:night] if one.generation_id is not None]
        return done[-1] if done else self.generation_id

    def with_night(self, night: NightPlayed) -> Self:
        """This play, where ``night`` takes the place of the one of its number, or comes behind the others."""
        return replace(self, nights=(*(one for one in self.nights if one.number != night.number), night))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Inverse of ``asdict`` with the time as text."""
        nights = tuple(NightPlayed(**one) for one in data["nights"])
        return cls(**{**data, "began": datetime.fromisoformat(data["began"]), "nights": nights})


class Diary:
    """Plays, the newest last. Safe to share between threads.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = RLock()
        self._plays = self._read()

    def play(self, scenario: str) -> Played | None:
        """The last play of a scenario."""
        with self._lock:
            return next((one for one in reversed(self._plays) if one.scenario == scenario), None)

    def last(self) -> Played | None:
        """The last play of all."""
        with self._lock:
            return self._plays[-1] if self._plays else None

    def keep(self, play: Played) -> None:
        """Write down a play, in place of what was known of it."""
        with self._lock:
            others = [one for one in self._plays if one.began != play.began]
            self._plays = sorted([*others, play], key=lambda one: one.began)[-PLAYS:]
            self._write()

    def _read(self) -> list[Played]:
        try:
            return [Played.from_json(one) for one in json.loads(self._path.read_text("utf-8"))]
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError, ValueError):
            return []  # a diary is no truth: what cannot be read is begun anew

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        said = [asdict(one) | {"began": one.began.isoformat()} for one in self._plays]
        partial.write_text(json.dumps(said), encoding="utf-8")
        partial.replace(self._path)


def now() -> datetime:
    """The time a play begins."""
    return datetime.now(UTC)
