"""Batches of events, each sent many times over, while processes are killed."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

import psutil
from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.db import connect, session_factory
from tests.fixtures.stacks import PATIENCE_S, RunningStack, wait_for

SENDERS = 4


@dataclass
class Storm:
    """Sends each batch ``times`` times, each until it is answered; counts the answers.

    Args:
        stack: where to.
        name: begins the ids of its messages.
        batches: how many there are.
        size: events in each.
        times: how often each is sent.
    """

    stack: RunningStack
    name: str
    batches: int
    size: int
    times: int = 10
    answered: "itertools.count[int]" = field(default_factory=itertools.count)
    done: int = 0

    def run(self, kills: Sequence[str]) -> None:
        """Send everything; each of ``kills`` is killed with -9 in its turn, when its share of the answers is in."""
        order = [batch for _ in range(self.times) for batch in range(self.batches)]
        with ThreadPoolExecutor(SENDERS) as pool:
            sent = [pool.submit(self._send, batch) for batch in order]
            for turn, child in enumerate(kills, start=1):
                share = len(order) * turn // (len(kills) + 1)
                wait_for(lambda: self.done >= share, f"{share} of {len(order)} batches are answered")  # noqa: B023
                with suppress(psutil.NoSuchProcess):
                    psutil.Process(self.stack.pids()[child]).kill()
            for one in sent:
                one.result()

    @property
    def ids(self) -> set[str]:
        """Of all its messages."""
        return {one["message_id"] for batch in range(self.batches) for one in self._events(batch)}

    def _events(self, batch: int) -> list[dict[str, Any]]:
        return [
            {"message_id": f"{self.name}-{batch}-{place}", "type": "click", "product_id": f"p{place}"}
            for place in range(self.size)
        ]

    def _send(self, batch: int) -> None:
        status, answer = send(self.stack, self._events(batch))
        assert status == 202, answer
        assert {one["status"] for one in answer["results"]} <= {"accepted", "duplicate"}
        self.done = next(self.answered) + 1


def send(stack: RunningStack, events: list[dict[str, Any]]) -> tuple[int, Any]:
    """Status and answer of a batch, sent again as long as nobody answers for sure."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        with suppress(HTTPException, json.JSONDecodeError):  # the answer broke off
            status, answer = stack.call("/v1/events", {"batch": events})
            if 200 <= status < 500 and status != 429:
                return status, answer
        threading.Event().wait(0.05)
    raise AssertionError(f"no answer within {PATIENCE_S} s")


@contextmanager
def database(stack: RunningStack) -> Iterator[Callable[[], Session]]:
    """Sessions on the stack's database."""
    engine = connect(json.loads((stack.home / "run" / "stack.json").read_text())["database_url"])
    try:
        yield session_factory(engine)
    finally:
        engine.dispose()


def kept(session: Session, name: str) -> list[str]:
    """Message ids of the events that are kept of a storm; one that is kept twice is there twice."""
    return list(
        session.scalars(text("SELECT message_id FROM events WHERE message_id LIKE :name"), {"name": f"{name}-%"})
    )
