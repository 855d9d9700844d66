"""A feed goes through the real stack while its parts are killed: catalogue and index agree at the end, row by row."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.models import Product, ProductImage
from backend.db import connect, session_factory, session_scope
from backend.generations.audit import compare
from backend.generations.due import anything_due
from backend.generations.models import IndexRow
from backend.generations.repository import live_build
from backend.vector_index import VectorIndex
from tests.fixtures.hostile import picture_bytes
from tests.fixtures.stacks import RunningStack, wait_for

pytestmark = pytest.mark.faults

COLOURS = 8


class PictureHost(BaseHTTPRequestHandler):
    """Serves a few small pictures; everything below /dead/ is gone."""

    def do_GET(self) -> None:
        dead = self.path.startswith("/dead/")
        body = b"" if dead else picture_bytes(colour=(int(self.path.rpartition("/")[2]) % COLOURS * 30, 90, 90))
        self.send_response(404 if dead else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def pictures() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), PictureHost)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_dir: Path, pictures: str) -> Iterator[RunningStack]:
    running = RunningStack(
        tmp_path_factory.mktemp("ingest") / "home",
        tiny_encoder_dir,
        MORELIKE_IMAGE_ALLOWED_HOSTS=json.dumps([pictures]),
        MORELIKE_EMBED_BATCH="8",
    )
    try:
        running.start()
        yield running
    finally:
        running.finish()


def stores(stack: RunningStack) -> tuple[sessionmaker[Session], VectorIndex, redis.Redis]:
    known = json.loads((stack.home / "run" / "stack.json").read_text())
    return (
        session_factory(connect(known["database_url"])),
        VectorIndex(known["milvus_uri"]),
        redis.Redis.from_url(known["redis_url"]),
    )


def feed(host: str, first: int, count: int) -> str:
    """NDJSON of ``count`` products: every hundredth has no title, every hundredth (another) a picture that is gone."""
    lines = []
    for n in range(first, first + count):
        product = {"id": f"p{n}", "title": f"product {n}", "price": n % 50, "images": [f"http://{host}/{n}"]}
        if n % 100 == 7:
            del product["title"]
        if n % 100 == 42:
            product["images"] = [f"http://{host}/dead/{n}"]
        lines.append(json.dumps(product))
    return "\n".join(lines)


def send(stack: RunningStack, body: str) -> dict[str, int]:
    """Post the feed; verdicts by status."""
    import urllib.request

    key = json.loads((stack.home / "keys.json").read_text())["server"]
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/x-ndjson",
        "Accept": "application/x-ndjson",
    }
    url = f"http://127.0.0.1:{stack.port}/v1/products:batch"
    with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=120) as answer:
        statuses = [json.loads(line)["status"] for line in answer.read().splitlines()]
    return {status: statuses.count(status) for status in set(statuses)}


def written(sessions: sessionmaker[Session]) -> int:
    try:
        with session_scope(sessions) as session:
            return session.scalar(select(func.count()).select_from(IndexRow).where(IndexRow.revision > 0)) or 0
    except OperationalError:
        return -1


def settled(sessions: sessionmaker[Session]) -> bool:
    try:
        with session_scope(sessions) as session:
            pending = session.scalar(select(func.count()).where(ProductImage.state == "pending"))
            return pending == 0 and not anything_due(session)
    except OperationalError:
        return False


def kill(stack: RunningStack, child: str) -> None:
    psutil.Process(stack.pids()[child]).kill()


def check(stack: RunningStack, count: int) -> None:
    """The planted numbers, and agreement row by row."""
    sessions, index, _ = stores(stack)
    with session_scope(sessions) as session:
        assert session.scalar(select(func.count()).select_from(Product)) == count - count // 100
        parked = session.scalars(select(ProductImage.source).where(ProductImage.state == "parked")).all()
        assert len(parked) == count // 100
        assert all("/dead/" in source for source in parked)
        assert session.scalar(text("SELECT count(*) FROM features WHERE kind = 'image'")) == COLOURS
        build = live_build(session)
        assert build is not None
        report = compare(session, index, build)
    assert report.agrees, report
    assert report.rows == 2 * (count - count // 100) - count // 100


def test_feed_survives_the_death_of_everything_it_goes_through(stack: RunningStack, pictures: str) -> None:
    """2,000 products; worker, Milvus, PostgreSQL die by kill -9 in the middle, in turn, and Redis is emptied."""
    sessions, _, broker = stores(stack)
    assert send(stack, feed(pictures, 0, 2000)) == {"created": 1980, "rejected": 20}
    seen = 0
    for fault in ("worker", "milvus", "postgres"):
        wait_for(lambda seen=seen: written(sessions) > seen, f"the run is under way before {fault} dies")
        if fault == "milvus":
            broker.flushall()
        kill(stack, fault)
        seen = max(seen, written(sessions))
        assert seen < 1980, f"all was written before {fault} died: nothing was interrupted"
    wait_for(lambda: settled(sessions), f"nothing is due: {written(sessions)} written")
    check(stack, 2000)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_feed_of_10000_products_ends_in_agreement(stack: RunningStack, pictures: str) -> None:
    """1 % broken rows, 1 % dead image URLs; runs behind the test above, over the 2,000 products of it."""
    sessions, _, _ = stores(stack)
    with session_scope(sessions) as session:
        before = session.scalar(select(func.count()).select_from(Product)) or 0
    verdicts = send(stack, feed(pictures, 0, 10_000))
    assert verdicts["rejected"] == 100
    assert verdicts["created"] == 9900 - before
    wait_for(lambda: settled(sessions), "nothing is due", 600)
    check(stack, 10_000)
