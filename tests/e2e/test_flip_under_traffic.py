"""A night lets live what it made while shoppers search without a pause: each answer is of one generation, whole."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from backend.db import session_scope
from backend.events.models import ServedList, ServedPage
from tests.e2e.loop import OPEN, Shop, open_shop
from tests.faults.test_switch_stack import stores
from tests.fixtures.stacks import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(3600)]

QUERIES = ("a red lamp", "a hat", "a blue backpack", "something soft", "a green vase", "a gift for a child")
CLIENTS = 3
BETWEEN_S = 0.1
"""Between two searches of a client: the night has to come to an end beside them."""

ALIKE = 1e-4
"""How far scores of the same vectors may lie apart, where others were encoded in the same batch."""


@dataclass(frozen=True)
class Answer:
    """One list as it was answered."""

    query_id: str
    generation: str
    hits: tuple[str, ...]
    scores: tuple[float, ...]


class Traffic:
    """What clients are answered who search, each over its own connection, and one who goes on refining one list."""

    def __init__(self, shop: Shop, root: Answer) -> None:
        self._shop, self._root = shop, root
        self.stopped = threading.Event()
        self.searched: list[list[tuple[str, Answer]]] = []
        self.refined: list[Answer] = []

    def search(self, number: int) -> None:
        """Search until it is stopped; any answer but 200 ends it with an error."""
        own: list[tuple[str, Answer]] = []
        self.searched.append(own)
        with opened(self._shop) as ask:
            for turn in count(number):
                words = QUERIES[turn % len(QUERIES)]
                own.append((words, searched(ask, words)))
                if self.stopped.wait(BETWEEN_S):
                    return

    def refine(self) -> None:
        """Say the same of the same list until it is stopped."""
        with opened(self._shop) as ask:
            while not self.stopped.wait(BETWEEN_S):
                self.refined.append(refined(ask, self._root))


def opened(shop: Shop) -> httpx.Client:
    headers = {"Authorization": f"Bearer {shop.key}"}
    return httpx.Client(base_url=shop.client.base_url, headers=headers, timeout=shop.client.timeout)


def searched(ask: httpx.Client, words: str) -> Answer:
    # of nobody: no coins are tossed for such a list, and no night counts it among those of its shoppers
    return read(ask.post("/v1/search", json={"text": words, "limit": 24}))


def refined(ask: httpx.Client, root: Answer) -> Answer:
    said = {"feedback": [{"product_id": root.hits[3], "value": 1}], "limit": 24}
    return read(ask.post(f"/v1/search/{root.query_id}/refine", json=said))


def read(answer: httpx.Response) -> Answer:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    hits = found["hits"]
    return Answer(
        found["query_id"],
        found["generation"],
        tuple(hit["product_id"] for hit in hits),
        tuple(hit["score"] for hit in hits),
    )


@contextmanager
def traffic_on(shop: Shop, root: Answer) -> Iterator[Traffic]:
    traffic = Traffic(shop, root)
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        clients: list[Future[None]] = [pool.submit(traffic.search, number) for number in range(CLIENTS)]
        clients.append(pool.submit(traffic.refine))
        try:
            yield traffic
        finally:
            traffic.stopped.set()
    for client in clients:
        client.result()


def test_a_night_goes_live_under_traffic_and_no_answer_mixes_two_generations(tmp_path: Path) -> None:
    with open_shop(tmp_path / "home", 500, **OPEN) as shop, opened(shop) as ask:
        first, before = shop.generation(), {words: searched(ask, words) for words in QUERIES}
        root = before[QUERIES[0]]
        as_refined = refined(ask, root)
        with traffic_on(shop, root) as traffic:
            night = shop.until_promoted()
            wait_for(lambda: shop.generation() == night["generation"], "searches follow the night")
            seen = [len(own) for own in traffic.searched]
            wait_for(lambda: all(len(own) > n + 5 for own, n in zip(traffic.searched, seen, strict=True)), "and go on")
        after = {words: searched(ask, words) for words in QUERIES}
        assert all(before[words].generation == first != after[words].generation for words in QUERIES)
        each_of_one_generation(traffic, before, after)
        each_as_recorded(shop, [one for own in traffic.searched for _, one in own] + traffic.refined)
        # a session that began before stays with what it began with
        for one in (*traffic.refined, refined(ask, root)):
            assert one.generation == first
            assert alike(one, as_refined)
        print(f"{sum(map(len, traffic.searched))} searches, {len(traffic.refined)} refinements, {night['id']}")


def each_of_one_generation(traffic: Traffic, before: dict[str, Answer], after: dict[str, Answer]) -> None:
    """Each answer is, hit by hit, what the generation that it names answers alone; each client changes over once."""
    for words in QUERIES:
        assert not alike(before[words], after[words]), f"{words!r} tells the two generations not apart"
    whole = {one.generation: answers for answers in (before, after) for one in answers.values()}
    for own in traffic.searched:
        assert [name for name, _ in groupby(one.generation for _, one in own)] == list(whole)
        for words, one in own:
            assert alike(one, whole[one.generation][words]), (words, one, whole[one.generation][words])


def each_as_recorded(shop: Shop, answers: list[Answer]) -> None:
    """The record of each list names the generation of its answer, and holds its hits."""
    sessions, _ = stores(shop.stack)
    rows = select(ServedList.query_id, ServedList.generation_id, ServedPage.product_ids).join(
        ServedPage, ServedPage.query_id == ServedList.query_id
    )

    def recorded() -> dict[str, tuple[str, tuple[str, ...]]]:
        with session_scope(sessions) as session:
            return {name: (f"g{generation}", tuple(hits)) for name, generation, hits in session.execute(rows)}

    wait_for(lambda: {one.query_id for one in answers} <= recorded().keys(), "all lists are written")
    found = recorded()
    assert all(found[one.query_id] == (one.generation, one.hits) for one in answers)


def alike(one: Answer, other: Answer) -> bool:
    return one.hits == other.hits and one.scores == pytest.approx(other.scores, abs=ALIKE)
