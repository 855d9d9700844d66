"""Lists and events of experiments as the API writes them, with what each arm's shoppers do planted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.models import Product
from backend.db import session_scope
from backend.events.models import Event, ServedList, ServedPage
from backend.generations.models import EncoderRecord, Generation, IndexBuild

Sessions = sessionmaker[Session]

NOW = datetime.now(UTC)

_ids = count()


@dataclass(frozen=True)
class Behaviour:
    """What the shoppers of an arm do, on average.

    Args:
        satisfied: chance that a query leads to a satisfied click.
        carts: chance that a satisfied click leads to a cart.
        empty: chance that a query finds nothing.
        latency_ms: median of the lists' latency.
        new_views: chance that the new product of ``stock`` is in view.
    """

    satisfied: float = 0.3
    carts: float = 0.2
    empty: float = 0.02
    latency_ms: float = 20.0
    new_views: float = 0.0


@dataclass
class Log:
    """Rows to be written."""

    lists: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def listed(self, unit: str, **changes: Any) -> str:
        """One list of ``unit``; its id."""
        query_id = f"q_{next(_ids):019d}"
        self.lists.append(
            {
                "query_id": query_id,
                "served_on": NOW.date(),
                "generation_id": 1,
                "experiments": {},
                "assignment": {},
                "coins": None,
                "request": {"text": "red shoes", "image_hash": None, "product_id": None},
                "total": 10,
                "total_is": "exact",
                "shopper_id": unit,
                "device": "mobile",
                "query_type": "text",
                "is_bot": False,
                "latency_ms": 20.0,
                "served_at": NOW,
                "turn": 1,
                "root_id": None,
            }
            | changes
        )
        self.lists[-1]["served_on"] = self.lists[-1]["served_at"].date()
        return query_id

    def did(self, query_id: str, kind: str, product: str | None = "p1", **changes: Any) -> None:
        """One event on a list."""
        at = changes.pop("at", NOW)
        self.events.append(
            {"message_id": f"m{next(_ids)}", "type": kind, "query_id": query_id, "product_id": product}
            | {"source": "client", "occurred_at": at, "received_on": at.date(), "dwell_ms": None, "is_bot": False}
            | {"visible_share": None, "visible_ms": None}
            | changes
        )

    def satisfied(self, query_id: str, product: str = "p1", **changes: Any) -> None:
        """A click that was looked at for a minute."""
        self.did(query_id, "click", product, **changes)
        self.did(query_id, "dwell", product, dwell_ms=60_000, **changes)

    def write(self, sessions: Sessions) -> None:
        """Put all rows into PostgreSQL."""
        with session_scope(sessions) as session:
            for table, rows in ((ServedList, self.lists), (ServedPage, self.pages), (Event, self.events)):
                if rows:
                    session.execute(insert(table), rows)


def assigned(experiment: str, arm: str, how: str = "bucket", layer: str = "ranker") -> dict[str, Any]:
    """What a list keeps of who was assigned to what."""
    layers = {layer: {"experiment": experiment, "arm": arm, "how": how, "bucket": 1, "salt_version": 1}}
    return {"experiments": {experiment: arm}, "assignment": {"unit": "shopper", "layers": layers}}


def divided(
    experiment: str,
    behaviours: Mapping[str, Behaviour],
    *,
    shoppers: int,
    seed: int,
    at: datetime = NOW,
    before: datetime | None = None,
) -> Log:
    """Lists of ``shoppers`` divided evenly between the arms; each searches one to five times, as lively as they are.

    With ``before`` each of them searched then, too, as in the first arm.
    """
    rng, log = np.random.default_rng(seed), Log()
    names = list(behaviours)
    for number in range(shoppers):
        arm, unit = names[number % len(names)], f"1:s{seed}-{number}"
        liveliness = float(rng.uniform(0.2, 1.8))
        for when, behaviour, told in _visits(experiment, arm, behaviours, at, before):
            for _ in range(int(rng.integers(1, 6))):
                _search(log, unit, behaviour, liveliness, rng, served_at=when, **told)
    return log


def _visits(
    experiment: str, arm: str, behaviours: Mapping[str, Behaviour], at: datetime, before: datetime | None
) -> Iterator[tuple[datetime, Behaviour, dict[str, Any]]]:
    if before is not None:
        yield before, next(iter(behaviours.values())), {}
    yield at, behaviours[arm], assigned(experiment, arm)


def _search(log: Log, unit: str, does: Behaviour, liveliness: float, rng: np.random.Generator, **told: Any) -> None:
    empty = rng.random() < does.empty
    latency = does.latency_ms * float(rng.lognormal(0, 0.3))
    query_id = log.listed(unit, total=0 if empty else 10, latency_ms=latency, **told)
    if does.new_views and rng.random() < does.new_views:
        log.did(query_id, "exposure", "new", visible_share=0.9, visible_ms=800, at=told["served_at"])
    if not empty and rng.random() < does.satisfied * liveliness:
        log.satisfied(query_id, at=told["served_at"])
        if rng.random() < does.carts:
            log.did(query_id, "add_to_cart", at=told["served_at"])


def drafted(experiment: str, prefer_b: float, *, shoppers: int, seed: int, at: datetime = NOW) -> Log:
    """Interleaved lists of which each shopper takes one product, of team B with chance ``prefer_b``."""
    rng, log = np.random.default_rng(seed), Log()
    for number in range(shoppers):
        for _ in range(int(rng.integers(1, 4))):
            teams = ["N", "A", "B", "A", "B"] if rng.random() < 0.5 else ["N", "B", "A", "B", "A"]
            coins = {"kind": "team_draft", "teams": teams}
            query_id = log.listed(f"1:d{seed}-{number}", coins=coins, served_at=at,
                                  **assigned(experiment, "interleaved"))  # fmt: skip
            shown = [f"p{place}" for place in range(5)]
            log.pages.append({"query_id": query_id, "served_on": at.date(), "first_position": 1}
                             | {"product_ids": shown, "scores": [0.0] * 5})  # fmt: skip
            team = "B" if rng.random() < prefer_b else "A"
            log.satisfied(query_id, f"p{teams.index(team)}", at=at)
            if rng.random() < 0.2:
                log.satisfied(query_id, "p0", at=at)  # both teams' first: nobody's credit
    return log


def stock(sessions: Sessions, **days_old: float) -> None:
    """Products that came into the catalogue so many days ago."""
    with session_scope(sessions) as session:
        session.add_all(
            Product(id=name, title=name, created_at=NOW - timedelta(days=days), updated_at=NOW)
            for name, days in days_old.items()
        )


def make_generations(sessions: Sessions, states: Sequence[str] = ("retired", "live", "ready")) -> list[int]:
    """Generations of one build, in ``states``; each replaced the one before it."""
    with session_scope(sessions) as session:
        session.add(EncoderRecord(id="tiny", name="tiny", weights_hash="tiny", dim=4))
        build = IndexBuild(encoder_id="tiny", image_collection="i", caption_collection="c", state="ready")
        session.add(build)
        session.flush()
        made: list[int] = []
        for state in states:
            generation = Generation(
                index_build_id=build.id,
                calibration={},
                code_version="test",
                state=state,
                replaced=made[-1] if made else None,
            )
            session.add(generation)
            session.flush()
            made.append(generation.id)
    return made


def moved(log: Log, by: timedelta) -> Log:
    """``log``, that much later."""
    later = [row | {"served_at": row["served_at"] + by} for row in log.lists]
    return replace(log, lists=later)
