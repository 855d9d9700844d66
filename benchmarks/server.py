"""What the API adds to a real Milvus server, and how fast an index is rebuilt from the features PostgreSQL keeps.

    make test-milvus                # makes .venv-milvus with the server of the PyPI package milvus
    python -m benchmarks.server [--program .venv-milvus/bin/milvus-server] [--products 100000] [--dim 512]

Raw is pymilvus as its documentation shows it: for a search, ``MilvusClient.search`` on both collections side by side
with the limit, filter and breadth that the API asks for; for a rebuild, ``MilvusClient.insert`` of rows that lie ready
in memory, 1,000 a call. Both take turns with ours on one machine, so that what else runs there meets both alike.
Query vectors are cached; the API is a process of its own, asked by connections that stay open. Prints tables; exits
with 1 where a search adds more than 2 ms at the median with one client, where 8 clients get less than 0.8 of the raw
searches a second, or where a rebuild is slower than 0.8 of the raw insert.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any

import numpy as np
import orjson
import psutil
from pymilvus import MilvusClient
from redis import Redis
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.tags import tag
from backend.db import connect, session_factory, session_scope
from backend.generations.fill import fill_from_features
from backend.generations.index_content import read_contents
from backend.generations.models import IndexBuild
from backend.generations.repository import Build
from backend.generations.serving import Serving, load_serving
from backend.milvus_schema import search_params
from backend.search.candidates import DEPTH
from backend.search.vector_cache import VectorCache
from backend.vector_index import VectorIndex
from backend.vectors import VectorFilter, stored
from benchmarks.search import CHUNK, FILTERED, LIMIT, Stack, api, measure_recall, stack, stages, timed
from benchmarks.synthetic import ENCODER_ID, WEIGHTS_HASH, Synthetic, Vectors, make_queries, write_catalogue
from tests.fixtures.milvus_server import MilvusServer

MOST_ADDED_MS, LEAST_SHARE, LEAST_RECALL = 2.0, 0.8, 0.99
PIECE = 5_000
"""Products of a rebuild before it is the other's turn."""


@dataclass(frozen=True)
class Line:
    """One line of the table of searches: milliseconds of each call, and seconds that each kind took in all."""

    name: str
    clients: int
    times: dict[str, list[float]]
    busy: dict[str, float]
    recall: float

    @property
    def added(self) -> float:
        """Milliseconds that HTTP adds at the median."""
        return float(np.median(self.times["http"]) - np.median(self.times["raw"]))

    @property
    def share(self) -> float:
        """Searches a second over HTTP, as a share of the raw ones."""
        return self.busy["raw"] / self.busy["http"]

    @property
    def met(self) -> bool:
        """Whether this line is within its bounds."""
        return self.recall >= LEAST_RECALL and (
            self.added <= MOST_ADDED_MS if self.clients == 1 else self.share >= LEAST_SHARE
        )

    def __str__(self) -> str:
        raw, http = (f"{np.percentile(t, 50):.2f} / {np.percentile(t, 95):.2f}" for t in self.times.values())
        second = [len(self.times[kind]) / self.busy[kind] for kind in ("raw", "http")]
        return (
            f"| {self.name}, {self.clients} | {raw} | {http} | {self.added:.2f} | {second[0]:.0f} | {second[1]:.0f}"
            f" | {self.share:.2f} | {self.recall:.4f} |"
        )


def main() -> None:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", type=Path, default=Path(".venv-milvus/bin/milvus-server"))
    arguments.add_argument("--products", type=int, default=100_000)
    arguments.add_argument("--searches", type=int, default=1_600, help="of each kind and line")
    arguments.add_argument("--dim", type=int, default=512)
    given = arguments.parse_args()
    if not given.program.exists():
        sys.exit(f"{given.program} is not there: make test-milvus makes it, --program names another")
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        (Path(folder) / "server").mkdir()
        server = MilvusServer(Path(folder) / "server", str(given.program.absolute()))
        server.start()
        try:
            with stack(Path(folder), server.uri) as started:
                met = run(started, given.products, given.searches, given.dim)
        finally:
            server.kill()
    sys.exit(0 if met else 1)


def run(started: Stack, products: int, searches: int, dim: int) -> bool:
    """Both tables; whether everything is within its bounds."""
    sessions = session_factory(connect(started.database))
    index = VectorIndex(started.milvus)
    with session_scope(sessions) as session:
        catalogue = write_catalogue(session, index, products, dim, rows=1)
    with session_scope(sessions) as session:
        serving = load_serving(session)
        session.connection().exec_driver_sql("ANALYZE")
    assert serving is not None
    wait_finished(index, serving.image_collection, serving.caption_collection)
    texts, vectors = make_queries(catalogue, 200)
    cache = VectorCache(Redis.from_url(started.redis))
    for words, vector in zip(texts, vectors, strict=True):
        cache.put(WEIGHTS_HASH, f"text:{words}", vector)
    print(f"{products} products, an image and a caption each, {dim} dimensions, {DEPTH} rows a search\n", flush=True)
    print("| search, clients | raw p50 / p95 | HTTP p50 / p95 | added | raw/s | HTTP/s | share | recall |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    lines = list(search_lines(started, serving, catalogue, texts, vectors, searches))
    share = rebuild(started, sessions, index, dim, products)
    return all(line.met for line in lines) and share >= LEAST_SHARE


def wait_finished(index: VectorIndex, *names: str) -> None:
    """Wait until ``names`` are searched through their finished indexes."""
    for name in names:
        index.flush(name)
    calm = 0
    while calm < 3:  # a server merges its segments for a while yet
        time.sleep(5)
        calm = calm + 1 if all(index.is_finished(name) for name in names) else 0


def search_lines(
    started: Stack, serving: Serving, catalogue: Synthetic, texts: list[str], vectors: Vectors, searches: int
) -> Iterator[Line]:
    """Lines of the first table, printed as they come."""
    client = MilvusClient(started.milvus)
    shares = (1.0, 0.1)
    with api(started) as port:
        for (name, filters, keep), share in zip(FILTERED, shares, strict=True):
            recall = measure_recall(port, catalogue, texts[:50], vectors[:50], filters, keep)
            within = VectorFilter(in_stock=True, any_tags=tuple((tag(f, v),) for f, v in filters.items()))
            calls = {
                "raw": raw_search(client, serving, vectors, within, share),
                "http": http_search(port, texts, filters),
            }
            for clients in (1, 8):
                line = interleaved(name, clients, searches, calls, recall)
                print(line, flush=True)
                yield line
        print(f"\nmean ms of each stage of a search: {stages(port)}\n", flush=True)


def raw_search(
    client: MilvusClient, serving: Serving, vectors: Vectors, within: VectorFilter, share: float
) -> Callable[[int], None]:
    """The two calls of pymilvus that a search needs, side by side."""
    pool = ThreadPoolExecutor(16)
    asked = {
        "limit": DEPTH,
        "filter": within.expression(lite=False),
        "output_fields": ["product"],
        "search_params": {"metric_type": "IP", "params": search_params(DEPTH, share, lite=False)},
        "consistency_level": "Bounded",
    }

    def call(turn: int) -> None:
        query = [vectors[turn % len(vectors)]]
        beside = pool.submit(client.search, serving.caption_collection, query, **asked)
        assert len(client.search(serving.image_collection, query, **asked)[0]) == DEPTH
        beside.result()

    return call


def http_search(port: int, texts: list[str], filters: dict[str, Any]) -> Callable[[int], None]:
    """The same search over HTTP, a connection a thread."""
    local = threading.local()

    def call(turn: int) -> None:
        if not hasattr(local, "connection"):
            local.connection = HTTPConnection("127.0.0.1", port)
            local.connection.connect()
            local.connection.sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        body = json.dumps({"text": texts[turn % len(texts)], "filters": filters, "limit": LIMIT})
        local.connection.request("POST", "/v1/search", body, {"content-type": "application/json"})
        answer = local.connection.getresponse()
        assert answer.status == 200
        assert len(orjson.loads(answer.read())["hits"]) == LIMIT

    return call


def interleaved(name: str, clients: int, searches: int, calls: dict[str, Callable[[int], None]], recall: float) -> Line:
    """Both kinds of call in turns of ``CHUNK`` calls a client."""
    times: dict[str, list[float]] = {kind: [] for kind in calls}
    busy = dict.fromkeys(calls, 0.0)
    with ThreadPoolExecutor(clients) as pool:
        for call in calls.values():  # connections made, caches warm
            list(pool.map(call, range(200)))
        for chunk in range(max(searches // (CHUNK * clients), 2)):
            for kind, call in calls.items():
                began = time.perf_counter()
                turns = range(chunk * CHUNK * clients, (chunk + 1) * CHUNK * clients)
                times[kind] += pool.map(timed(call), turns)
                busy[kind] += time.perf_counter() - began
    return Line(name, clients, times, busy, recall)


def rebuild(started: Stack, sessions: sessionmaker[Session], index: VectorIndex, dim: int, products: int) -> float:
    """Fill a second build from stored features, in turns with raw inserts of the same rows; its share of their rate."""
    build = new_build(sessions, dim)
    raw_names = tuple(f"raw_{name}" for name in build.collections)
    for name in (*build.collections, *raw_names):
        index.create_collection(name, dim)
    client = MilvusClient(started.milvus)
    rows, took = {"raw": 0, "ours": 0}, {"raw": 0.0, "ours": 0.0}
    process, memory = psutil.Process(os.getpid()), []
    for first in range(1, products + 1, PIECE):
        ready = entities(sessions, build, range(first, first + PIECE))
        began = time.perf_counter()
        for name, side in zip(raw_names, ready, strict=True):
            for start in range(0, len(side), 1_000):
                client.insert(name, side[start : start + 1_000])
        took["raw"] += time.perf_counter() - began
        rows["raw"] += sum(map(len, ready))
        del ready
        began, goal = time.perf_counter(), rows["raw"]

        def count(written: Any) -> None:
            rows["ours"] += written.rows

        fill_from_features(sessions, index, build, lambda: rows["ours"] >= goal, count)  # noqa: B023
        took["ours"] += time.perf_counter() - began
        memory.append(process.memory_info().rss / 2**20)
    second = {kind: rows[kind] / took[kind] for kind in rows}
    print("| rebuild | rows | rows/s | share of raw | MiB held after the first tenth, most after it |")
    print("|---|---|---|---|---|")
    print(f"| raw insert | {rows['raw']} | {second['raw']:.0f} | | |")
    early, late = memory[len(memory) // 10], max(memory)
    share = second["ours"] / second["raw"]
    print(f"| from features | {rows['ours']} | {second['ours']:.0f} | {share:.2f} | {early:.0f}, {late:.0f} |")
    return share


def new_build(sessions: sessionmaker[Session], dim: int) -> Build:
    """A build beside the live one."""
    names = ("images_rebuilt", "captions_rebuilt")
    with session_scope(sessions) as session:
        record = IndexBuild(
            encoder_id=ENCODER_ID, image_collection=names[0], caption_collection=names[1], state="building"
        )
        session.add(record)
        session.flush()
        return Build(record.id, ENCODER_ID, dim, *names, None)


def entities(sessions: sessionmaker[Session], build: Build, numbers: range) -> list[list[dict[str, Any]]]:
    """Rows of the products ``numbers`` as pymilvus is given them, of images and of captions."""
    with session_scope(sessions) as session:
        contents = read_contents(session, build, list(numbers))
    return [
        [stored(row, build.dim, lite=False) for content in contents for row in side(content)]
        for side in (lambda content: content.images, lambda content: content.captions)
    ]


if __name__ == "__main__":
    main()
