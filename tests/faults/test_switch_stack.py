"""A running stack changes its encoder under search and product traffic, is killed in the middle, and goes back."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.models import ProductImage
from backend.db import connect, session_factory, session_scope
from backend.generations.audit import compare
from backend.generations.due import anything_due
from backend.generations.repository import writable_builds
from backend.ml.encoder import Encoder
from backend.queue import ADVANCE_BUILDS, Queue
from backend.vector_index import VectorIndex
from tests.fixtures.encoders import TINY_CLIP, write_encoder
from tests.fixtures.stacks import PATIENCE_S, RunningStack, wait_for
from tests.generations.conftest import picture
from tests.generations.test_adapters import kept

pytestmark = pytest.mark.faults

PRODUCTS = 240
QUERIES = ("a red lamp", "product number seven", "green shoes", "toy")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_dir: Path) -> Iterator[RunningStack]:
    running = RunningStack(
        tmp_path_factory.mktemp("switch") / "home",
        tiny_encoder_dir,
        MORELIKE_EMBED_BATCH="16",
        MORELIKE_RATE_LIMIT_PER_MINUTE="0",
    )
    try:
        running.start()
        yield running
    finally:
        running.finish()


@dataclass
class Traffic:
    """Shoppers who search a few times a second, so that the switch has the cores, and a shop that writes products."""

    stack: RunningStack
    answers: list[tuple[str, str, list[tuple[str, float]]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    written: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Traffic":
        self._threads = [threading.Thread(target=self._search, args=(n,)) for n in range(2)]
        self._threads.append(threading.Thread(target=self._write))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _search(self, number: int) -> None:
        with client(self.stack) as ask:
            while not self._stopped.wait(0.05):
                number += 1
                words = QUERIES[number % len(QUERIES)]
                # what is asked for is never written, so one generation has one answer
                body = {"text": words, "filters": {"brand": ["Still"]}, "lexical": False, "limit": 20}
                answer = ask.post("/v1/search", json=body)
                if answer.status_code != 200:
                    self.failures.append(answer.text)
                    continue
                found = answer.json()
                hits = [(hit["product_id"], round(hit["score"], 4)) for hit in found["hits"]]
                self.answers.append((found["generation"], words, hits))

    def met(self, ask: httpx.Client, build: int) -> None:
        """Wait until each query was answered by this build from here on, and products were written meanwhile."""
        answered, written = len(self.answers), self.written

        def seen() -> bool:
            new, generations = self.answers[answered:], uses(ask, build)
            return {words for by, words, _ in new if by in generations} == set(QUERIES) and self.written > written + 4

        wait_for(seen, f"each query is answered by build {build}")

    def _write(self) -> None:
        with client(self.stack) as ask:
            while not self._stopped.wait(0.2):
                self.written += 1
                product = {"id": f"w{self.written % 40}", "title": f"written {self.written}", "price": self.written}
                answer = ask.put(f"/v1/products/{product['id']}", json=product)
                if answer.status_code != 200:
                    self.failures.append(answer.text)


def client(stack: RunningStack) -> httpx.Client:
    key = json.loads((stack.home / "keys.json").read_text())["admin"]
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{stack.port}", headers=headers, timeout=PATIENCE_S)


def stores(stack: RunningStack) -> tuple[sessionmaker[Session], VectorIndex]:
    known = json.loads((stack.home / "run" / "stack.json").read_text())
    return session_factory(connect(known["database_url"])), VectorIndex(known["milvus_uri"])


def settled(sessions: sessionmaker[Session]) -> bool:
    with session_scope(sessions) as session:
        pending = session.scalars(select(ProductImage.id).where(ProductImage.state == "pending")).first()
        return pending is None and not anything_due(session)


def live(ask: httpx.Client) -> dict[str, Any]:
    return next(build for build in ask.get("/v1/builds").json()["builds"] if build["live"])


def uses(ask: httpx.Client, build: int) -> set[str]:
    """Generations of a build: the sweep may calibrate one anew at any time."""
    found = next(one for one in ask.get("/v1/builds").json()["builds"] if one["id"] == build)
    return {use["generation"] for use in found["used_by"]}


def generation_of(ask: httpx.Client) -> str:
    return str(ask.post("/v1/search", json={"text": "a red lamp", "limit": 1}).json()["generation"])


@pytest.mark.timeout(1800)
def test_encoder_is_changed_under_traffic_and_back(stack: RunningStack, tmp_path: Path) -> None:
    sessions, index = stocked(stack)
    other = write_encoder(tmp_path / "other", TINY_CLIP | {"embed_dim": 48}, seed=9)
    command = [str(Path(sys.executable).parent / "morelike"), "encoder", "switch", f"local-dir:{other}"]
    with client(stack) as ask, Traffic(stack) as traffic:
        old = live(ask)
        switch = subprocess.Popen(command, env=stack.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_for(lambda: halfway(ask), "the backfill is under way")
        psutil.Process(stack.pids()["worker"]).kill()
        said, _ = switch.communicate(timeout=800)
        assert switch.returncode == 0, said
        assert b"is live as g" in said
        new = live(ask)
        assert (new["id"], new["encoder"].partition("@")[0]) == (old["id"] + 1, "other")
        wait_for(lambda: generation_of(ask) in uses(ask, new["id"]), "searches follow")
        traffic.met(ask, new["id"])
        went_back_to = ask.post(f"/v1/generations/{generation_of(ask)}/rollback").json()["live"]
        assert went_back_to in uses(ask, old["id"])
        wait_for(lambda: generation_of(ask) in uses(ask, old["id"]), "searches go back")  # in s: benchmarks/switch.py
        traffic.met(ask, old["id"])
        by_new = uses(ask, new["id"])
    assert traffic.failures == []
    assert traffic.written > 20
    one_answer_each(traffic, by_new)
    all_agree(sessions, index)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_adapters_go_live_under_traffic_and_back(stack: RunningStack, tiny_encoder: Encoder) -> None:
    """One with heads for items, by a build of its own; then one for queries only, which shares the first build."""
    sessions, index = stocked(stack)
    queue = Queue(json.loads((stack.home / "run" / "stack.json").read_text())["redis_url"])
    with client(stack) as ask, Traffic(stack) as traffic:
        first = live(ask)["id"]
        adapted = f"g{kept(sessions, tiny_encoder, items=5)}"
        queue.nudge(ADVANCE_BUILDS)
        wait_for(lambda: generation_of(ask) == adapted, "searches follow the adapter")
        second, began = live(ask)["id"], replaced_by(ask, adapted)
        traffic.met(ask, second)
        asked = f"g{kept(sessions, tiny_encoder)}"
        wait_for(lambda: generation_of(ask) == asked, "searches follow the heads of queries")
        assert live(ask)["id"] == first != second
        traffic.met(ask, first)
        for before in (adapted, began):
            assert ask.post(f"/v1/generations/{generation_of(ask)}/rollback").json()["live"] == before
            wait_for(lambda back=before: generation_of(ask) == back, "searches go back")  # type: ignore[misc]
            time.sleep(1)
    assert traffic.failures == []
    assert {generation for generation, _, _ in traffic.answers} >= {began, adapted, asked}
    for new in (adapted, asked):
        one_answer_each(traffic, {new})
    all_agree(sessions, index)


def replaced_by(ask: httpx.Client, generation: str) -> str:
    """What was live before: the sweep may have calibrated it anew since."""
    listed = ask.get("/v1/generations").json()["generations"]
    return str(next(one["replaced"] for one in listed if one["id"] == generation))


def stocked(stack: RunningStack) -> tuple[sessionmaker[Session], VectorIndex]:
    """The stores of ``stack``, whose catalogue is there and indexed."""
    blobs = BlobStore(stack.home / "blobs")
    feed = [
        {"id": f"p{n}", "title": f"product {n}", "brand": "Still", "images": [f"blob:{blobs.put(picture(n))}"]}
        for n in range(PRODUCTS)
    ]
    assert stack.call("/v1/products:batch", feed)[0] == 200
    sessions, index = stores(stack)
    wait_for(lambda: settled(sessions), "the catalogue is indexed")
    return sessions, index


def all_agree(sessions: sessionmaker[Session], index: VectorIndex) -> None:
    """Wait until every build is up to date, and compare each with the catalogue, row by row."""
    wait_for(lambda: settled(sessions), "both builds are up to date")
    with session_scope(sessions) as session:
        for build in writable_builds(session):
            report = compare(session, index, build)
            assert report.agrees, report
            assert report.products > PRODUCTS


def halfway(ask: httpx.Client) -> bool:
    newest = ask.get("/v1/builds").json()["builds"][0]
    return newest["step"] == "backfill" and (newest["progress"] or {}).get("products", 0) > 20


def one_answer_each(traffic: Traffic, new: set[str]) -> None:
    """Every answer to one query under one generation is the same; those of the two encoders differ."""
    seen: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for generation, words, hits in traffic.answers:
        first = seen.setdefault((generation, words), hits)
        assert [name for name, _ in hits] == [name for name, _ in first], f"{generation} answered {words!r} in two ways"
        assert [score for _, score in hits] == pytest.approx([score for _, score in first], abs=2e-3)
    served = {generation for generation, _ in seen}
    assert served & new, served
    assert served - new, served
    for words in QUERIES:
        by_build = [[hits for (g, w), hits in seen.items() if w == words and (g in new) == is_new] for is_new in (0, 1)]
        assert by_build[0][0] != by_build[1][0], f"{words!r} is answered alike by two encoders"
