"""How long a shop waits for the answer to a webhook while the workers embed at full load.

    python -m benchmarks.webhooks [--deliveries 600] [--pictures 6000] [--encoder demo]

Starts PostgreSQL, Redis, Milvus Lite, the API and a Celery worker as processes of their own, gives the worker more
pictures than it can embed in the time, and sends, in turns within one run, signed deliveries of products and posts of
the same bytes to an empty endpoint of the same API, which reads the body and answers. Prints a table; exits with 1
when the 95th percentile of the webhook's answer is more than 3 times the empty endpoint's, when the worker ran out of
pictures meanwhile, or when a delivery was lost.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpcore
import numpy as np
from fastapi import FastAPI, Request
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import connect, session_factory, session_scope
from backend.main import create_app
from backend.queue import EMBED_QUEUE, INGEST_DUE, Queue
from benchmarks.ingest import drawn
from benchmarks.search import answers, free_port, stack, timed, wait_until

MOST_TIMES = 3.0
WARM_UP = 8
SECRET = "a secret of the benchmark's own"

Times = dict[str, list[float]]


def with_an_empty_endpoint() -> FastAPI:
    """The API, and beside its routes one that does nothing."""
    app = create_app()

    @app.post("/empty")
    async def empty(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    return app


def main() -> None:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--deliveries", type=int, default=600, help="of each kind and line")
    arguments.add_argument("--pictures", type=int, default=6000, help="given to the worker before")
    arguments.add_argument("--encoder", default="demo")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, stack(Path(folder)) as started:
        environment = os.environ | started.environment
        environment |= {"MORELIKE_SHOPIFY_SECRET": SECRET, "MORELIKE_ENCODER": given.encoder}
        sessions = session_factory(connect(started.database))
        give_work(sessions, BlobStore(Path(folder) / "blobs"), given.pictures)
        with api(environment) as port, worker(environment):
            Queue(started.redis).nudge(INGEST_DUE)
            wait_until(lambda: count(sessions, "features") > 0, patience_s=180)
            failed = not measure(sessions, port, given.deliveries)
    print(f"\n{'failed' if failed else 'all within bounds'}")
    sys.exit(1 if failed else 0)


def measure(sessions: sessionmaker[Session], port: int, deliveries: int) -> bool:
    """Print the table; whether all that is claimed held."""
    held, sent, began = True, 0, time.perf_counter()
    embedded = count(sessions, "features")
    print("|             | empty p50 / p95 ms | webhook p50 / p95 ms | times p50 / p95 |")
    print("|-------------|--------------------|----------------------|-----------------|")
    for clients in (1, 4):
        times = interleaved(clients, deliveries, post("/empty", port), post("/v1/webhooks/shopify", port, start=sent))
        sent += len(times["webhook"]) + WARM_UP * clients
        empty, hook = (np.percentile(times[kind], (50, 95)) for kind in ("empty", "webhook"))
        shown = [f"{one[0]:8.2f} / {one[1]:7.2f}" for one in (empty, hook)]
        print(f"| {clients} client{'s' if clients > 1 else ' '}   | {shown[0]} | {shown[1]}   | ", end="")
        print(f"{hook[0] / empty[0]:5.2f} / {hook[1] / empty[1]:5.2f}  |", flush=True)
        held = held and hook[1] <= MOST_TIMES * empty[1]
    seconds = time.perf_counter() - began
    left = count(sessions, "product_images WHERE state = 'pending'") + unembedded(sessions)
    rate = (count(sessions, "features") - embedded) / seconds
    wait_until(lambda: count(sessions, "deliveries WHERE verdict = 'waiting'") == 0)
    applied = count(sessions, "deliveries WHERE verdict = 'applied'")
    print(f"\nembedded meanwhile {rate:.0f}/s, not yet {left}; deliveries {sent}, applied {applied}")
    return held and left > 0 and applied == sent


def interleaved(clients: int, calls: int, empty: Callable[[int], None], webhook: Callable[[int], None]) -> Times:
    """Milliseconds of both kinds of call: each client makes one of each by turns: both meet the same machine."""
    times: Times = {"empty": [], "webhook": []}
    kinds = (("empty", timed(empty)), ("webhook", timed(webhook)))

    def both(turn: int) -> None:
        for kind, call in kinds[:: 1 if turn % 2 else -1]:
            times[kind].append(call(turn))

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(both, range(WARM_UP * clients)))  # connections made
        for one in times.values():
            one.clear()
        list(pool.map(both, range(WARM_UP * clients, WARM_UP * clients + calls)))
    return times


def post(path: str, port: int, start: int = 0) -> Callable[[int], None]:
    """Send a signed delivery of a product to ``path``, a connection a thread; no two are alike."""
    local = threading.local()
    salt = time.time_ns() + start

    def call(turn: int) -> None:
        if not hasattr(local, "client"):
            local.client = httpcore.ConnectionPool()
        body = json.dumps(product(turn + salt % 10**9)).encode()
        signature = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha256).digest()).decode()
        headers = {
            "content-type": "application/json",
            "x-shopify-topic": "products/update",
            "x-shopify-hmac-sha256": signature,
            "x-shopify-webhook-id": f"{salt}-{turn}",
            "x-shopify-triggered-at": "2026-11-20T09:00:00.123456789Z",
        }
        answer = local.client.request("POST", f"http://127.0.0.1:{port}{path}", headers=headers, content=body)
        assert answer.status == 200, answer.content

    return call


def product(number: int) -> dict[str, object]:
    """A product as Shopify sends it, with twelve variants."""
    variants = [
        {
            "id": number * 100 + place,
            "title": f"Size {place}",
            "option1": f"Size {place}",
            "price": f"{10 + place}.00",
            "sku": f"SKU-{number}-{place}",
            "inventory_policy": "deny",
            "inventory_quantity": place,
            "inventory_management": "shopify",
            "admin_graphql_api_id": f"gid://shopify/ProductVariant/{number * 100 + place}",
        }
        for place in range(12)
    ]
    return {
        "id": number,
        "title": f"Cup {number}",
        "handle": f"cup-{number}",
        "body_html": "<p>" + "A cup for tea and coffee, thrown by hand. " * 20 + "</p>",
        "vendor": "Fable",
        "product_type": "Cups",
        "tags": "cup, gift, kitchen",
        "status": "active",
        "published_at": "2026-11-01T00:00:00Z",
        "updated_at": "2026-11-20T09:00:00Z",
        "options": [{"name": "Size", "position": 1}],
        "variants": variants,
        "images": [],
    }


def give_work(sessions: sessionmaker[Session], blobs: BlobStore, pictures: int) -> None:
    """Products with a picture each that no encoder has seen."""
    for start in range(0, pictures, 500):
        products = [
            ProductIn.model_validate(
                {"id": f"load-{n}", "title": f"load {n}", "images": [{"data": base64.b64encode(drawn(n)).decode()}]}
            )
            for n in range(start, min(start + 500, pictures))
        ]
        with session_scope(sessions) as session:
            upsert_products(session, products, blobs=blobs)


def unembedded(sessions: sessionmaker[Session]) -> int:
    """Pictures that are kept and that no encoder has seen yet."""
    return count(
        sessions,
        "product_images WHERE state = 'ready' AND NOT EXISTS "
        "(SELECT FROM features WHERE kind = 'image' AND subject = product_images.content_hash)",
    )


def count(sessions: sessionmaker[Session], what: str) -> int:
    """Rows of a table, with its condition."""
    with session_scope(sessions) as session:
        return int(session.execute(text(f"SELECT count(*) FROM {what}")).scalar_one())


@contextmanager
def worker(environment: dict[str, str]) -> Iterator[None]:
    """The real worker in a process of its own, as the stack starts it."""
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--pool", "threads", "-c", "6"]
    process = subprocess.Popen([*command, "-Q", EMBED_QUEUE, "--loglevel", "error"], env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def api(environment: dict[str, str]) -> Iterator[int]:
    """Port of the API with the empty endpoint, in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.webhooks:with_an_empty_endpoint", "--factory"]
    process = subprocess.Popen([*command, "--port", str(port), "--log-level", "error"], env=environment)
    try:
        wait_until(lambda: answers(port))
        yield port
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
