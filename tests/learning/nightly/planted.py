"""A night whose verdict is planted: what follows from it is real."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from backend.db import connect, session_factory, session_scope
from backend.generations.models import EncoderRecord, Generation
from backend.generations.repository import live_encoder
from backend.learning.nightly.keeping import build, flip
from backend.learning.nightly.night import Night, Works
from backend.learning.nightly.report import report
from backend.learning.nightly.work import Made, Step
from backend.queue import Queue
from backend.settings import Settings
from tests.fixtures.heads import item_heads, query_heads

SENTENCE = "ips is better."
PASSED: dict[str, Any] = {"passed": True, "route": "live", "chosen": "ips", "sentence": SENTENCE, "reasons": []}
REFUSED: dict[str, Any] = PASSED | {
    "passed": False,
    "route": "none",
    "sentence": "No update tonight: too few.",
    "reasons": ["Too few."],
}
NONE: dict[str, Any] = REFUSED | {"chosen": "none", "sentence": "No update tonight: nothing is better."}


def planted(verdict: dict[str, Any], *, items: int | None = None) -> tuple[Step, ...]:
    """The steps of a night that comes to ``verdict``; its arm has random heads, of items, too, if these have a seed."""

    def make(name: str) -> Step:
        def do(night: Night) -> Made:
            night.write(f"{name}.done", b"x")
            return Made({"made": name})

        return Step(name, do, makes=(f"{name}.done",))

    def gates(night: Night) -> Made:
        with session_scope(night.works.sessions) as session:
            encoder = live_encoder(session)
        assert encoder is not None
        night.write("arms/ips.safetensors", query_heads(encoder.id, encoder.dim, seed=4))
        if items is not None:
            night.write("arms/ips.items.safetensors", item_heads(encoder.id, encoder.dim, seed=items))
        night.write_json("gates.json", verdict)
        return Made({"passed": verdict["passed"]}, {"night": verdict})

    first = (make("sessions"), make("propensities"), make("training"))
    return (
        *first,
        Step("gates", gates, makes=("gates.json",)),
        Step("build", build),
        Step("flip", flip),
        Step("report", report),
    )


@dataclass(frozen=True)
class Place:
    """Where a process that works on nights finds everything."""

    database_url: str
    redis_url: str
    home: Path

    def sessions(self) -> sessionmaker[Session]:
        return session_factory(connect(self.database_url))

    def works(self, **ears: Any) -> Works:
        def encoder(_record: EncoderRecord) -> Any:
            raise AssertionError("nothing is encoded")

        settings = Settings(home=self.home)
        return Works(self.sessions(), Queue(self.redis_url), settings, encoder, **ears)


def generations(sessions: sessionmaker[Session]) -> list[str]:
    """States of all generations, the oldest first."""
    with session_scope(sessions) as session:
        return [one.state for one in session.query(Generation).order_by(Generation.id)]
