"""A crowd that shops in a process of its own, and what the page is told of it meanwhile."""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from backend.demo.shoppers.session import PAGE
from backend.errors import Unavailable
from backend.logs import get_logger

log = get_logger(__name__)

REMEMBERED = 240
"""Lists that are kept for pages that come to look; a page that looks seldom misses some."""

COUNTS = ("shown", "seen", "looked", "clicked", "satisfied")
PLACED = ("shown", "examined", "clicked")


@dataclass
class Shopping:
    """What a crowd has done so far.

    Args:
        expected: shoppers that come.
    """

    expected: int
    shoppers: int = 0
    lists: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    by_position: dict[str, list[int]] = field(default_factory=lambda: {name: [0] * PAGE for name in PLACED})
    report: dict[str, Any] | None = None
    error: str | None = None
    _recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _lock: Lock = field(default_factory=Lock, repr=False)

    def take(self, said: dict[str, Any]) -> None:
        """Take in one line of the crowd's."""
        with self._lock:
            if (done := said.get("list")) is not None:
                self.lists += 1
                for name in COUNTS:
                    value = done[name]
                    self.counts[name] += value if isinstance(value, int) else len(value)
                places = {"shown": range(done["shown"]), "examined": done["looked"], "clicked": done["clicked"]}
                for name in PLACED:
                    for place in places[name]:
                        self.by_position[name][place] += 1
                self._recent.append(done | {"number": self.lists})
            self.shoppers = max(self.shoppers, said.get("shoppers", 0))
            self.report = said.get("report", self.report)
            self.error = said.get("error", self.error)

    def since(self, number: int, most: int) -> list[dict[str, Any]]:
        """Lists behind ``number``, the newest of them, at most so many."""
        with self._lock:
            fresh = [one for one in self._recent if one["number"] > number]
        return fresh[-most:] if most else []

    def told(self) -> dict[str, Any]:
        """The counts, as the page shows them."""
        with self._lock:
            done = {"shoppers": self.shoppers, "expected": self.expected, "lists": self.lists}
            placed = {name: list(at) for name, at in self.by_position.items()}
            return done | self.counts | {"by_position": placed}


class CrowdProcess:
    """A running crowd; ``follow`` it to its end, or ``stop`` it from another thread."""

    def __init__(self, url: str, scenario: str, night: int, *, shoppers: int, products: int) -> None:
        asked = ("--shoppers", str(shoppers), "--products", str(products))
        self.shopping = Shopping(shoppers)
        self._stopped = False
        self._process = subprocess.Popen(  # noqa: S603  our own module; what varies are names and numbers
            [sys.executable, "-m", "backend.demo.learn.crowd", url, scenario, str(night), *asked],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def follow(self) -> dict[str, Any] | None:
        """Wait until everybody is done; the report, or None where it was stopped.

        Raises:
            Unavailable: the crowd could not shop, or died.
        """
        for said in self._lines():
            self.shopping.take(said)
        code = self._process.wait()
        if self._stopped:
            return None
        if self.shopping.report is None:
            why = self.shopping.error or f"the crowd's process ended with {code}"
            raise Unavailable("the simulated shoppers could not shop", found=why, expected="a shop that answers")
        return self.shopping.report

    def _lines(self) -> Iterator[dict[str, Any]]:
        out = self._process.stdout
        if out is None:
            return
        with out:
            for line in out:
                try:
                    yield json.loads(line)
                except json.JSONDecodeError:  # what a library prints, or a line that was cut by the end
                    log.warning("crowd_line_not_read", line=line[:200])

    def stop(self) -> None:
        """End it now; what was done stays done."""
        self._stopped = True
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
