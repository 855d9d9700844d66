"""What the steps of one night work with: the stores, its folder, and the ears of whoever waits for it."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.models import EncoderRecord
from backend.learning.adapter_data import Encode, Told
from backend.learning.models import NightlyRun
from backend.learning.nightly.runs import find_night, tell
from backend.ml.click_training.plan import ClickPlan
from backend.queue import Queue
from backend.settings import Settings

T = TypeVar("T")

LOG, ITEMS = "log", "items"
"""Folders, in that of a night, of what shoppers did and of the catalogue: neither outlives the night."""

KEPT_NIGHTS = 30
"""Nights whose arms are kept."""

TOLD_EVERY_S = 0.5
"""Seconds between two notes of how far a step is."""


class Interrupted(Exception):
    """The worker shuts down, or the night was cancelled: what is done stays done."""


@dataclass(frozen=True)
class Works:
    """What a process that works on nights has.

    Args:
        sessions: PostgreSQL.
        queue: for the nudges of index builds.
        settings: of this process.
        encoder: opens what encodes the texts of queries.
        stop: whether the process shuts down.
        told: told what is under way, beside the rows.
        plan: how arms are trained.
        moment: told of each step by name when it has ``begun``, is ``made``, and ``done``: noted for good.
    """

    sessions: sessionmaker[Session]
    queue: Queue
    settings: Settings
    encoder: Callable[[EncoderRecord], Encode]
    stop: Callable[[], bool] = lambda: False
    told: Told = lambda _what, _done, _total: None
    plan: ClickPlan = field(default_factory=ClickPlan)
    moment: Callable[[str, str], None] = lambda _step, _moment: None


@dataclass
class Night:
    """One night at work.

    Args:
        number: of its row.
        works: what the process has.
        check: raises where the lock of the night was lost.
        step: that it is at.
        opened: artifacts that were read, for the steps of this process.
    """

    number: int
    works: Works
    check: Callable[[], None]
    step: str = ""
    opened: dict[str, Any] = field(default_factory=dict, repr=False)
    _told_at: float = field(default=0.0, repr=False)

    @property
    def folder(self) -> Path:
        """Where its artifacts are, on this machine."""
        return _nights(self.works.settings.home) / str(self.number)

    @cached_property
    def row(self) -> NightlyRun:
        """Its row as it was when this process took it up; what never changes is read here."""
        with session_scope(self.works.sessions) as session:
            return find_night(session, self.number)

    def told(self, what: str, done: int, total: int) -> None:
        """Note how far the step is, now and then.

        Raises:
            Interrupted: nobody waits for more of it.
            LockLost: the night is not ours any more.
        """
        if self.works.stop():
            raise Interrupted("the worker shuts down")
        now = time.monotonic()
        if now - self._told_at < TOLD_EVERY_S and done < total:
            return
        self._told_at = now
        self.check()
        with session_scope(self.works.sessions) as session:
            runs = tell(session, self.number, self.step, what, done, total)
        self.works.told(what, done, total)
        if not runs:
            raise Interrupted("the night was cancelled")

    def write(self, name: str, content: bytes) -> None:
        """Keep an artifact: it is there as a whole or not at all."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(content)
        partial.replace(path)

    def write_json(self, name: str, value: Any) -> None:
        """Keep an artifact as JSON."""
        self.write(name, json.dumps(value, allow_nan=False).encode())

    def read_json(self, name: str) -> Any:
        """An artifact that a step before this one has written."""
        return json.loads((self.folder / name).read_bytes())

    def has(self, name: str) -> bool:
        """Whether an artifact is there."""
        return (self.folder / name).exists()

    def once(self, name: str, read: Callable[[], T]) -> T:
        """What ``read`` gave at the first call, for as long as this process works on the night."""
        if name not in self.opened:
            self.opened[name] = read()
        return cast(T, self.opened[name])

    def clear(self) -> None:
        """Remove every artifact."""
        self.opened.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what shoppers did, of this night and of those before it, and the arms of nights long ago."""
        home = self.works.settings.home
        forget_deeds(home)
        for folder in _folders(home)[:-KEPT_NIGHTS]:
            shutil.rmtree(folder, ignore_errors=True)


def deeds_left(home: Path) -> list[Path]:
    """What shoppers did as nights have read it, whole or in part, on this machine."""
    return [path for folder in _folders(home) for name in (LOG, ITEMS) for path in folder.glob(f"{name}*")]


def forget_deeds(home: Path) -> None:
    """Remove what shoppers did; only whoever holds the lock of nights may, since a night at work reads it."""
    for path in deeds_left(home):
        shutil.rmtree(path, ignore_errors=True)


def _folders(home: Path) -> list[Path]:
    """Those of nights, the oldest first."""
    found = [one for one in _nights(home).glob("[0-9]*") if one.name.isdecimal()]
    return sorted(found, key=lambda one: int(one.name))


def _nights(home: Path) -> Path:
    return home.absolute() / "nights"
