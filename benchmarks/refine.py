"""What a refinement costs beside a search.

    python -m benchmarks.refine [--products 10000] [--calls 300]

Builds a catalogue with made-up vectors in PostgreSQL and Milvus Lite, starts the real API as a process of its own, and
measures searches and refinements over HTTP in turns, so that drifts of the machine meet both alike; vectors of words
are cached for both. Prints a table; exits with 1 when a refinement's median is above 1.3 times that of the searches
beside it. What a summarizer adds is measured by benchmarks.summarizer.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpcore
import numpy as np
from redis import Redis

from backend.access.callers import Scope
from backend.access.keys import create_key
from backend.db import connect, session_factory, session_scope
from backend.search.vector_cache import VectorCache
from backend.vector_index import VectorIndex
from benchmarks.search import CHUNK, Stack, api, stack, stages
from benchmarks.synthetic import WEIGHTS_HASH, make_queries, write_catalogue

LIMIT = 24
MOST_RATIO = 1.3


@dataclass(frozen=True)
class Measured:
    """Milliseconds of searches and of refinements beside them."""

    name: str
    strategy: str
    search: list[float]
    refine: list[float]

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return float(np.median(self.refine) / np.median(self.search))

    def line(self) -> str:
        """This line of the table."""
        both = (f"{np.percentile(t, 50):6.2f} / {np.percentile(t, 95):6.2f}" for t in (self.search, self.refine))
        return f"| {self.name:28} | {self.strategy:10} | {' | '.join(both)} | {self.ratio:5.2f} |"


class Client:
    """One connection to the API with a server's key."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        self._pool = httpcore.ConnectionPool()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer; anything but 200 fails."""
        answer = self._pool.request(
            "POST", f"http://127.0.0.1:{self._port}{path}", headers=self._headers, content=json.dumps(body).encode()
        )
        assert answer.status == 200, answer.content
        found: dict[str, Any] = json.loads(answer.content)
        return found


def main() -> None:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--products", type=int, default=10_000)
    arguments.add_argument("--calls", type=int, default=300, help="of each kind and line")
    arguments.add_argument("--dim", type=int, default=256)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, stack(Path(folder)) as started:
        measured = list(measure(started, given.products, given.calls, given.dim))
    failed = [one.name for one in measured if one.ratio > MOST_RATIO]
    print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all within bounds'}")
    sys.exit(1 if failed else 0)


def measure(started: Stack, products: int, calls: int, dim: int) -> Iterator[Measured]:
    """Lines of the table, printed as they come."""
    sessions = session_factory(connect(started.database))
    with session_scope(sessions) as session:
        catalogue = write_catalogue(session, VectorIndex(started.milvus), products, dim, rows=1)
        key = create_key(session, name="bench", scope=Scope.SERVER, origins=[]).secret
    with session_scope(sessions) as session:
        session.connection().exec_driver_sql("ANALYZE")
    texts, vectors = make_queries(catalogue, 100)
    cache = VectorCache(Redis.from_url(started.redis))
    for words, vector in zip(texts, vectors, strict=True):
        cache.put(WEIGHTS_HASH, f"text:{words}", vector)
    print(f"{products} products, an image and a caption each, {dim} dimensions\n", flush=True)
    print("| refinement                   | strategy   | search p50 / p95 | refine p50 / p95 | ratio |")
    print("|------------------------------|------------|-----------------|-----------------|-------|")
    with api(started) as port:
        client = Client(port, key)
        first = [client.post("/v1/search", {"text": words, "limit": LIMIT}) for words in texts]
        second = [client.post(refinement(one), {"feedback": likes(one, 1, 0)}) for one in first]
        for name, parents, body in LINES:
            one = interleaved(name, client, texts, first if parents == 1 else second, body, calls)
            print(one.line(), flush=True)
            yield one
        print(f"\nmean ms of each stage: {stages(port)}")


def likes(one: dict[str, Any], liked: int, disliked: int) -> list[dict[str, Any]]:
    """The first products of an answer liked, those behind them disliked."""
    ids = [hit["product_id"] for hit in one["hits"]]
    judged = [(product_id, 1) for product_id in ids[:liked]]
    judged += [(product_id, -1) for product_id in ids[liked : liked + disliked]]
    return [{"product_id": product_id, "value": value} for product_id, value in judged]


Body = Callable[[dict[str, Any], str], dict[str, Any]]

LINES: tuple[tuple[str, int, Body], ...] = (
    ("one liked", 1, lambda one, _: {"feedback": likes(one, 1, 0)}),
    ("two liked, three disliked", 1, lambda one, _: {"feedback": likes(one, 2, 3)}),
    ("words", 1, lambda _, words: {"text": words}),
    ("words and a like, third turn", 2, lambda one, words: {"text": words, "feedback": likes(one, 1, 0)}),
    ("nothing said", 1, lambda *_: {}),
    ("the list itself: images", 1, lambda *_: {"policy": "prf"}),
    ("the list itself: captions", 1, lambda *_: {"policy": "grf"}),
    ("the classic form", 1, lambda *_: {"policy": "rocchio"}),
)


def refinement(one: dict[str, Any]) -> str:
    """Where an answer is refined."""
    return f"/v1/search/{one['query_id']}/refine"


def interleaved(
    name: str, client: Client, texts: list[str], parents: list[dict[str, Any]], body: Body, calls: int
) -> Measured:
    """Searches and refinements in turns of ``CHUNK`` calls."""
    strategies: dict[str, int] = {}
    turns = count()

    def search() -> None:
        client.post("/v1/search", {"text": texts[next(turns) % len(texts)], "limit": LIMIT})

    def refine() -> None:
        turn = next(turns)
        parent = parents[turn % len(parents)]
        answer = client.post(refinement(parent), body(parent, texts[(turn + 1) % len(texts)]) | {"limit": LIMIT})
        used = answer["refine"]["strategy"]
        strategies[used] = strategies.get(used, 0) + 1

    times: dict[Callable[[], None], list[float]] = {search: [], refine: []}
    for call in times:  # connections made, caches warm
        for _ in range(CHUNK):
            call()
    for _ in range(max(calls // CHUNK, 2)):
        for call, taken in times.items():
            taken += [timed(call) for _ in range(CHUNK)]
    return Measured(name, max(strategies, key=lambda used: strategies[used]), times[search], times[refine])


def timed(call: Callable[[], None]) -> float:
    """Milliseconds that ``call`` took."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
