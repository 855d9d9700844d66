"""A shop in which one account was used in two browsers, one of which another account uses as well."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.events.models import BotUnit, Event, RefusedEvent, ServedList, ServedPage, UnitKey
from backend.events.query_ids import new_query_id
from backend.events.units import UnitHasher, load_unit_hasher
from backend.experiments.models import Experiment, ExperimentOverride, Layer, StickyArm

NOW = datetime.now(UTC)


@dataclass
class Town:
    """What was planted, by the names that the tests use."""

    sessions: sessionmaker[Session]
    hasher: UnitHasher
    old: UnitHasher
    lists: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def names(self, hasher: UnitHasher | None = None, **ids: str | None) -> dict[str, str | None]:
        """Hashes of ``user``, ``shopper`` and ``session`` by the names of their columns."""
        known = hasher or self.hasher
        return {f"{kind}_id": known.hashed(kind, given) for kind, given in ids.items()}

    def searched(self, name: str, *, days_ago: int = 0, hasher: UnitHasher | None = None, **row: Any) -> None:
        """A list called ``name``; ``of`` are the ids, ``after`` the list it refined."""
        at = NOW - timedelta(days=days_ago)
        self.lists[name] = new_query_id(at)
        before = self.lists.get(row.pop("after", ""))
        root = self.lists.get(row.pop("root", "")) or before
        served = {"query_id": self.lists[name], "generation_id": 1, "total": 1, "total_is": "exact", "served_at": at}
        request = {"text": name, "image_hash": row.pop("image", None)}
        with session_scope(self.sessions) as session:
            units = self.names(hasher, **row.pop("of", {}))
            kept = {**served, **units, "request": request, "parent_id": before, "root_id": root}
            session.execute(insert(ServedList).values(kept))
            page = {"query_id": self.lists[name], "first_position": 1, "product_ids": ["p1"], "scores": [1.0]}
            session.execute(insert(ServedPage).values(page))

    def did(self, on: str | None, *, hasher: UnitHasher | None = None, kind: str = "click", **of: str | None) -> None:
        """An event on the list ``on``."""
        self.count += 1
        with session_scope(self.sessions) as session:
            event = {"message_id": f"m{self.count}", "type": kind, "source": "client", "occurred_at": NOW}
            where = {"query_id": self.lists.get(on or ""), "product_id": "p1", "received_on": NOW.date()}
            session.execute(insert(Event).values({**event, **where, **self.names(hasher, **of)}))

    def kept(self) -> set[str]:
        """Names of the lists that are there."""
        with session_scope(self.sessions) as session:
            ids = set(session.query(ServedList.query_id).with_entities(ServedList.query_id))
        there = {row[0] for row in ids}
        return {name for name, query_id in self.lists.items() if query_id in there}

    def events(self) -> int:
        with session_scope(self.sessions) as session:
            return session.query(Event).count()


@pytest.fixture
def town(sessions: sessionmaker[Session]) -> Town:
    with session_scope(sessions) as session:
        load_unit_hasher(session)
        session.add(UnitKey(id=2, secret=b"newer" * 8))
        session.flush()
        hasher = load_unit_hasher(session)
    town = Town(sessions, hasher, UnitHasher(hasher.keys[1:]))
    town.searched("before", days_ago=3, of={"shopper": "b1", "session": "s0"}, hasher=town.old, image="aa")
    town.searched("home", of={"user": "ann", "shopper": "b1", "session": "s1"}, image="bb")
    town.searched("refined", of={"user": "ann", "shopper": "b1", "session": "s1"}, after="home")
    town.searched("signed out", of={"shopper": "b1", "session": "s1"})
    town.searched("nameless", of={"session": "s1"})
    town.searched("library", of={"user": "ann", "shopper": "b2", "session": "s2"})
    town.searched("bob's", of={"user": "bob", "shopper": "b2", "session": "s3"}, image="bb")
    town.searched("bob goes on", of={"user": "bob", "shopper": "b2", "session": "s3"}, after="library")
    town.searched("stranger", of={"shopper": "b9", "session": "s9"})
    for name in town.lists:
        town.did(name)  # nobody is named
    town.did(None, user="ann", kind="purchase")
    town.did("home", shopper="b9")  # a link was passed on
    town.did("bob's", user="bob", shopper="b2", session="s3")
    plant_marks(town)
    return town


def plant_marks(town: Town) -> None:
    """What else is kept of units: arms, overrides, marks, refused events."""
    ann, bob = (town.hasher.hashed("user", one) or "" for one in ("ann", "bob"))
    with session_scope(town.sessions) as session:
        session.merge(Layer(name="ranker", salt="x"))  # an API that has started made it already
        session.flush()
        salts = {"entry_salt": "a", "arm_salt": "b", "coverage": 1.0}
        session.add(Experiment(id=3, name="g8", layer="ranker", method="ab", metric="m", **salts))
        session.flush()
        session.add_all(StickyArm(unit=unit, experiment_id=3, arm="g8") for unit in (ann, bob))
        session.add(ExperimentOverride(experiment_id=3, unit=ann, arm="g8"))
        session.add(BotUnit(unit=town.hasher.hashed("session", "s1"), reason="rate: 130 acts within ten minutes"))
        session.add_all(
            RefusedEvent(code="invalid", detail="type: found 'klick'", payload=f'{{"user_id":"{one}","type":"klick"}}')
            for one in ("ann", "annabel")
        )
