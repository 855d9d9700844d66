"""The tasks as Celery calls them, and the worker as a process of its own on a broker that forgets everything."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from backend import queue
from backend.blobs import BlobStore
from backend.catalog.models import Product
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import session_scope
from backend.generations.audit import compare
from backend.generations.due import anything_due
from backend.generations.models import Generation
from backend.generations.repository import live_build
from backend.learning.nightly.begin import NightAsked, begin_night
from backend.learning.nightly.runs import find_night
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.generations.conftest import picture
from workers import components as worker_components
from workers import tasks
from workers.app import app
from workers.beat import app as schedule
from workers.components import Components, NotConfigured
from workers.nights import nights_due


@pytest.fixture
def settings(
    tmp_path: Path, database_url: str, redis_url: str, milvus_uri: str, tiny_encoder_dir: Path
) -> Iterator[Settings]:
    yield Settings(
        home=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        milvus_uri=milvus_uri,
        encoder=f"local-dir:{tiny_encoder_dir}",
        device="cpu",
        torch_threads=1,
        sweep_interval_s=1,
        nightly_at="off",
    )
    index = VectorIndex(milvus_uri)
    for name in ("images_b1", "captions_b1"):
        index.drop_collection(name)


@pytest.fixture
def made(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Components:
    made = Components(settings)
    monkeypatch.setattr(worker_components, "_made", [made])
    return made


def put(sessions: sessionmaker[Session], blobs: BlobStore, first: int, last: int) -> None:
    products = [
        ProductIn.model_validate({"id": f"p{n}", "title": f"p{n}", "images": [f"blob:{blobs.put(picture(n))}"]})
        for n in range(first, last)
    ]
    with session_scope(sessions) as session:
        upsert_products(session, products, blobs=blobs)


def done(sessions: sessionmaker[Session], index: VectorIndex) -> bool:
    with session_scope(sessions) as session:
        build = live_build(session)
        return build is not None and not anything_due(session) and compare(session, index, build).agrees


def test_every_task_that_is_sent_by_name_is_there() -> None:
    names = {value for name, value in vars(queue).items() if name.isupper() and isinstance(value, str) and "." in value}
    assert {queue.INGEST_DUE, queue.SWEEP} <= names <= set(app.tasks)
    assert app.conf.task_acks_late
    assert {entry["task"] for entry in schedule.conf.beat_schedule.values()} <= names


def test_ingest_due_may_run_twice(made: Components, settings: Settings) -> None:
    put(made.sessions, BlobStore(settings.blob_dir), 0, 5)
    tasks.ingest_due.run()
    assert done(made.sessions, made.index)
    tasks.ingest_due.run()
    assert done(made.sessions, made.index)


def test_sweep_nudges_for_forgotten_work_only(made: Components, settings: Settings, redis_url: str) -> None:
    tasks.sweep.run()
    broker = redis.Redis.from_url(redis_url)
    assert broker.llen(queue.EMBED_QUEUE) == 0
    put(made.sessions, BlobStore(settings.blob_dir), 0, 1)
    tasks.sweep.run()
    tasks.sweep.run()
    assert broker.llen(queue.EMBED_QUEUE) == 1, "a nudge that waits already is not sent again"


def test_a_sweep_finds_a_night_that_nobody_works_on_and_the_task_ends_it(
    made: Components, settings: Settings, redis_url: str
) -> None:
    put(made.sessions, BlobStore(settings.blob_dir), 0, 1)
    tasks.ingest_due.run()
    with session_scope(made.sessions) as session:
        begin_night(session, settings, NightAsked("test"))
    tasks.sweep.run()
    assert redis.Redis.from_url(redis_url).llen(queue.TRAIN_QUEUE) == 1, "no embed task waits for it"
    tasks.nightly.run()
    with session_scope(made.sessions) as session:
        run = find_night(session, 1)
    assert (run.state, run.reason) == ("done", "No update tonight: nobody has searched yet.")
    assert not nights_due(made)
    left = settings.home / "nights" / "1" / "log"
    left.mkdir(parents=True)
    (left / "clicked.npy").write_bytes(b"x")
    assert nights_due(made), "what shoppers did outlived its night"
    tasks.nightly.run()
    assert not left.exists()
    assert not nights_due(made)


def test_sweep_recalibrates_a_catalogue_that_grew(made: Components, settings: Settings) -> None:
    put(made.sessions, BlobStore(settings.blob_dir), 0, 20)
    tasks.ingest_due.run()
    tasks.sweep.run()
    with session_scope(made.sessions) as session:
        live = session.query(Generation).filter_by(state="live").one()
        assert live.calibration["products"] == 20


def test_sweep_makes_collections_that_milvus_lost_and_their_products_due(made: Components, settings: Settings) -> None:
    put(made.sessions, BlobStore(settings.blob_dir), 0, 3)
    tasks.ingest_due.run()
    made.index.drop_collection("images_b1")
    tasks.sweep.run()
    tasks.ingest_due.run()
    assert done(made.sessions, made.index)


def test_worker_without_stores_says_which_are_missing() -> None:
    with pytest.raises(NotConfigured) as refused:
        Components(Settings(database_url="postgresql:///x", redis_url=None, milvus_uri=None))
    assert refused.value.found == "REDIS_URL, MILVUS_URI not set"


class Worker:
    """``celery worker`` and ``celery beat`` as the stack starts them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.environment = os.environ | {
            "MORELIKE_HOME": str(settings.home),
            "DATABASE_URL": str(settings.database_url),
            "REDIS_URL": str(settings.redis_url),
            "MILVUS_URI": str(settings.milvus_uri),
            "MORELIKE_ENCODER": settings.encoder,
            "MORELIKE_DEVICE": "cpu",
            "MORELIKE_TORCH_THREADS": "1",
            "MORELIKE_SWEEP_INTERVAL_S": "1",
            "MORELIKE_EMBED_BATCH": "4",
        }
        self.log = settings.home / "worker.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", module, *arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        run = ("worker", "--pool", "threads", "-c", "1", "--without-gossip", "--without-mingle", "--loglevel", "info")
        return self.start("workers.app", *run)

    def wait(self, condition: Callable[[], bool], what: str, patience_s: float = 300) -> None:
        until = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < until, f"{what}: {self.log.read_text()[-3000:]}"
            time.sleep(0.1)


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    started = Worker(settings)
    yield started
    for process in started.processes:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.faults
def test_emptied_redis_and_killed_worker_lose_nothing(
    worker: Worker, settings: Settings, sessions: sessionmaker[Session], redis_url: str, milvus_uri: str
) -> None:
    """The broker forgets queue, bindings and nudges; then the worker dies in mid-batch; then it is asked to stop."""
    index, blobs = VectorIndex(milvus_uri), BlobStore(settings.blob_dir)
    first = worker.start_worker()
    worker.start("workers.beat", "beat", "--pidfile", "")
    put(sessions, blobs, 0, 10)
    worker.wait(lambda: done(sessions, index), "the sweep finds the first products")
    redis.Redis.from_url(redis_url).flushall()
    put(sessions, blobs, 10, 20)
    worker.wait(lambda: done(sessions, index), "a sweep reaches the worker through an emptied broker")
    put(sessions, blobs, 20, 220)
    queue.Queue(redis_url).nudge(queue.INGEST_DUE)
    worker.wait(lambda: embedded(sessions) > 60, "it is in mid-batch")
    first.kill()
    first.wait()
    assert embedded(sessions) < 440
    second = worker.start_worker()
    worker.wait(lambda: done(sessions, index), "the next worker ends what the first began")
    with session_scope(sessions) as session:  # and one that is asked to stop ends soon, in the middle of its work
        session.execute(update(Product).values(revision=Product.revision + 1))
    second.send_signal(signal.SIGTERM)
    assert second.wait(120) == 0


def embedded(sessions: sessionmaker[Session]) -> int:
    from sqlalchemy import func, select

    from backend.catalog.models import Feature

    with session_scope(sessions) as session:
        return session.scalar(select(func.count()).select_from(Feature)) or 0


@pytest.mark.faults
def test_worker_processes_share_the_work_and_embed_nothing_twice(
    worker: Worker, settings: Settings, sessions: sessionmaker[Session], redis_url: str, milvus_uri: str
) -> None:
    """Two processes as on two GPUs, or on one that one cannot fill; each counts what went through its encoder."""
    worker.environment["MORELIKE_LOG_JSON"] = "true"
    logs = []
    for name in ("one", "two"):
        worker.log = settings.home / f"{name}.log"
        logs.append(worker.log)
        worker.start_worker()
    worker.start("workers.beat", "beat", "--pidfile", "")
    worker.wait(lambda: all(" ready." in log.read_text() for log in logs), "both are up")
    count, did = 0, [{"images": 0}]
    while not all(one["images"] > 0 for one in did) and count < 8 * 240:  # on a busy machine one may come too late
        put(sessions, BlobStore(settings.blob_dir), count, count + 240)
        count += 240
        queue.Queue(redis_url).nudge(queue.INGEST_DUE)
        worker.wait(lambda: done(sessions, VectorIndex(milvus_uri)), "all is in the index")
        worker.wait(lambda n=count: sum(ingested(log)["images"] for log in logs) >= n, "both have said what they did")
        did = [ingested(log) for log in logs]
    assert {kind: sum(one[kind] for one in did) for kind in ("images", "texts")} == {"images": count, "texts": count}
    assert embedded(sessions) == 2 * count
    assert all(one["images"] > 0 for one in did), did


def ingested(log: Path) -> dict[str, int]:
    """What a worker's lines say that it embedded."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    runs = [line for line in lines if line["event"] == "ingested"]
    return {kind: sum(run[kind] for run in runs) for kind in ("images", "texts")}
