"""Fifty shoppers refine at once while the API is killed and another generation goes live: none notices the others."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from backend.db import connect, session_factory, session_scope
from backend.generations.calibrate import recalibrate
from tests.fixtures.stacks import RunningStack, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1500)]

SESSIONS = 50
TURNS = 10
COLOURS = ("red", "green", "blue", "orange", "grey")
PRODUCTS = 200


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_dir: Path) -> Iterator[RunningStack]:
    running = RunningStack(
        tmp_path_factory.mktemp("sessions") / "home", tiny_encoder_dir, MORELIKE_RATE_LIMIT_PER_MINUTE="0"
    )
    try:
        running.start()
        yield running
    finally:
        running.finish()


@dataclass
class Shopper:
    """One session: its own words, likes and dislikes."""

    client: httpx.Client
    number: int
    lists: list[dict[str, Any]] = field(default_factory=list)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer, asked for again while the API is away."""
        began = time.monotonic()
        while time.monotonic() - began < 300:
            try:
                answer = self.client.post(path, json=body)
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if answer.status_code == 503:
                time.sleep(0.2)
                continue
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found
        raise AssertionError(f"no answer to {path} within 300 s")

    def turn(self, number: int) -> dict[str, Any]:
        """What is said in this turn: words now and then, one product liked, one disliked."""
        liked, disliked = (self.number * 7 + number * 3) % PRODUCTS, (self.number * 11 + number * 5 + 1) % PRODUCTS
        said = {"feedback": [{"product_id": f"p{liked}", "value": 1}, {"product_id": f"p{disliked}", "value": -1}]}
        return said | ({"text": f"a {COLOURS[(self.number + number) % 5]} cup"} if number % 3 == 0 else {})

    def disliked(self) -> set[str]:
        """All that this shopper did not like in the end."""
        grades: dict[str, float] = {}
        for number in range(1, TURNS):
            for one in self.turn(number)["feedback"]:
                grades[one["product_id"]] = one["value"]
        return {product_id for product_id, grade in grades.items() if grade < 0}

    def go(self) -> None:
        """The whole session."""
        self.lists = [self.post("/v1/search", {"text": f"{COLOURS[self.number % 5]} cup", "limit": 100})]
        for number in range(1, TURNS):
            self.lists.append(self.refine(number))

    def refine(self, number: int) -> dict[str, Any]:
        """This turn, said of the list before."""
        path = f"/v1/search/{self.lists[number - 1]['query_id']}/refine"
        return self.post(path, self.turn(number) | {"limit": 100})


def shown(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(hit["product_id"], round(hit["score"], 4)) for hit in answer["hits"]]


def test_sessions_go_on_through_a_kill_and_a_flip_and_know_nothing_of_each_other(stack: RunningStack) -> None:
    feed = [
        {"id": f"p{n}", "title": "Cup", "captions": [f"a {COLOURS[n % 5]} cup number {n}"]} for n in range(PRODUCTS)
    ]
    assert stack.call("/v1/products:batch", feed, "POST")[0] == 200
    wait_for(lambda: stack.call("/v1/search", {"limit": 1})[1]["total"] == PRODUCTS, "all products are kept")
    wait_for(lambda: found(stack) == PRODUCTS, "all products are found")
    known = json.loads((stack.home / "run" / "stack.json").read_text())
    key = json.loads((stack.home / "keys.json").read_text())["storefront"]
    sessions = session_factory(connect(known["database_url"]))
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.port}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
        limits=httpx.Limits(max_connections=SESSIONS),
    ) as client:
        shoppers = [Shopper(client, number) for number in range(SESSIONS)]
        with ThreadPoolExecutor(SESSIONS) as pool:
            running = [pool.submit(shopper.go) for shopper in shoppers]
            wait_for(lambda: sum(len(shopper.lists) for shopper in shoppers) > 2 * SESSIONS, "all are under way")
            psutil.Process(stack.pids()["api"]).kill()
            wait_for(lambda: sum(len(shopper.lists) for shopper in shoppers) > 5 * SESSIONS, "they went on")
            with session_scope(sessions) as session:
                assert recalibrate(session, actor="test") is not None
            redis.Redis.from_url(known["redis_url"]).flushdb()
            for one in running:
                one.result()
        check(shoppers, client)


def check(shoppers: list[Shopper], client: httpx.Client) -> None:
    """Each chain is whole, keeps its generation, and is the same when its turns are said again, alone."""
    latest = shoppers[0].post("/v1/search", {"text": "cup"})["generation"]
    assert {one.lists[0]["generation"] for one in shoppers} != {latest}, "the flip came in the middle"
    everyone = set().union(*(shopper.disliked() for shopper in shoppers))
    for shopper in shoppers:
        assert [one["turn"] for one in shopper.lists] == list(range(1, TURNS + 1))
        assert [one["parent_id"] for one in shopper.lists[1:]] == [one["query_id"] for one in shopper.lists[:-1]]
        assert len({one["generation"] for one in shopper.lists}) == 1
        last = {hit["product_id"] for hit in shopper.lists[-1]["hits"]}
        assert not last & shopper.disliked()
        assert last & (everyone - shopper.disliked()), "what others dislike is still there"
        for number in (3, 6, 9):
            again = shopper.refine(number)
            assert shown(again) == shown(shopper.lists[number]), (shopper.number, number)
            assert again["refine"] == shopper.lists[number]["refine"]
        kept = client.get(f"/v1/search/{shopper.lists[-1]['query_id']}").json()
        assert shown(kept) == shown(shopper.lists[-1])


def found(stack: RunningStack) -> int:
    """Products that a search by words finds."""
    status, answer = stack.call("/v1/search", {"text": "cup", "limit": 100})
    return int(answer["total"]) if status == 200 else 0
