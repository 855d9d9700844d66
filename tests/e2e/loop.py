"""A demo shop that runs, shoppers whose wishes are planted, and nights between them."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from backend.demo.catalogue import products, write
from backend.demo.shoppers.door import Door
from backend.demo.shoppers.planted import PlantedTruth
from backend.demo.shoppers.traffic import DEMO_SEED, Crowd, simulate, wishes_of
from backend.ml.clicks.worlds import WORLDS
from tests.fixtures.stacks import PATIENCE_S, RunningStack, wait_for

DEMO_ENCODER = Path(__file__).resolve().parents[2] / "backend" / "demo" / "encoder"
WISHES = 200
JUDGED = 80
"""Of these, those asked most: what a ranking is worth is measured by them."""


OPEN = {
    "MORELIKE_GATE_SATISFIED": "50",
    "MORELIKE_GATE_ASSUMED": "1",
    "MORELIKE_GATE_AGREEMENT": "0.4",
    "MORELIKE_GATE_EXPOSURE": "1000",
    "MORELIKE_GATE_OVERLAP": "0",
    "MORELIKE_GATE_INFERIOR": "1",
    "MORELIKE_GATE_MARGIN": "0",
    "MORELIKE_GATE_COVERAGE": "0.1",
    "MORELIKE_GATE_EFFECTIVE": "5",
    "MORELIKE_GATE_HEAVIEST": "1",
    "MORELIKE_GATE_SLICE": "100000",
}
"""So few clicks prove nothing: these let go live what is better as far as one can tell."""


class Shop:
    """A running stack whose catalogue is the demo's, or the first products of it.

    Args:
        stack: that runs.
        count: products it has.
    """

    def __init__(self, stack: RunningStack, count: int) -> None:
        self.stack, self.count = stack, count
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{stack.port}", timeout=PATIENCE_S)
        keys = json.loads((stack.home / "keys.json").read_text())
        self.key = keys["server"]
        self.admin = {"Authorization": f"Bearer {keys['admin']}"}
        self.opened = time.time()

    def fill(self, folder: Path) -> None:
        """Import the catalogue."""
        write(folder, self.count)
        program, pictures = Path(sys.executable).parent / "morelike", ("--images", str(folder / "images"))
        done = subprocess.run(
            [str(program), "import", str(folder / "products.jsonl"), *pictures, "--allow-demo-encoder"],
            env=self.stack.environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def begin_anew(self) -> None:
        """Let nights from here on learn from nothing that was before."""
        self.opened = time.time()

    def visited(self, world: str, shoppers: int, seed: int) -> dict[str, Any]:
        """Let shoppers come; what they did. Other shoppers for another seed, who ask for the same things."""
        return simulate(self._crowd(world, 1, shoppers, seed), self.client, key=self.key)

    def night(self) -> dict[str, Any]:
        """Let the worker learn, and wait for what comes of it."""
        days = (time.time() - self.opened) / 86_400
        asked = {"window_days": days, "item_heads": False}
        answer = self.client.post("/v1/nights", json=asked, headers=self.admin)
        assert answer.status_code == 202, answer.text
        night = answer.json()["id"]
        wait_for(lambda: self._read(night)["state"] != "running", f"{night} ends", 4 * PATIENCE_S)
        found = self._read(night)
        assert found["state"] == "done", found["error"]
        return found

    def until_promoted(self) -> dict[str, Any]:
        """The first night that lets something go live; one that is not sure yet says so, and changes nothing."""
        first = self.generation()
        for day in range(1, 8):
            self.visited("pastel", 220, seed=day)
            night = self.night()
            if night["outcome"] == "promoted":
                break
            assert self.generation() == first
        assert night["outcome"] == "promoted", night["reason"]
        return night

    def quality(self, world: str, searches: int = 1) -> float:
        """NDCG@10 by planted truth of what is served to the first population of a world.

        Args:
            world: whose taste it is.
            searches: 1 are those that shoppers have; those of other numbers nobody has asked for.
        """
        crowd, chosen = self._crowd(world, searches), products(self.count, DEMO_SEED)
        truth, door = PlantedTruth(chosen, crowd.world.taste), Door(self.client, self.key)
        loves, found = crowd.world.populations[0].loves, list[float]()
        for wish in wishes_of(crowd, chosen).wishes[:JUDGED]:
            hits = door.search({"text": wish.text, "limit": 10})["hits"]
            found.append(truth.quality(wish.named, loves, [hit["product_id"] for hit in hits]))
        return float(np.mean(found))

    def generation(self) -> str:
        """What serves."""
        return str(Door(self.client, self.key).search({"text": "a hat", "limit": 1})["generation"])

    def _crowd(self, world: str, searches: int, shoppers: int = 1, seed: int = 1) -> Crowd:
        return Crowd(WORLDS[world], shoppers, seed=seed, wishes_of=searches, wishes=WISHES, products=self.count)

    def _read(self, night: str) -> dict[str, Any]:
        answer = self.client.get(f"/v1/nights/{night}", headers=self.admin)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def open_shop(home: Path, count: int, **settings: str) -> Iterator[Shop]:
    """A shop of ``count`` products on a home of its own, where half of the sessions explore."""
    fixed = {"MORELIKE_RATE_LIMIT_PER_MINUTE": "0", "MORELIKE_TOKENS": "off", "MORELIKE_NIGHTLY_AT": "off"}
    stack = RunningStack(home, DEMO_ENCODER, **{**fixed, "MORELIKE_EXPLORATION_SHARE": "0.5", **settings})
    try:
        stack.start()
        shop = Shop(stack, count)
        shop.fill(home.parent / "catalogue")
        yield shop
    finally:
        stack.finish()
