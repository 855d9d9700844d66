"""Captions as the worker writes them: from a picture to words that find the product, whatever dies on the way."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend import queue
from backend.blobs import BlobStore
from backend.catalog.captioning.repository import current_plan
from backend.catalog.models import Product
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import session_scope
from backend.ml.encoder import Encoder
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.catalog.captioning.conftest import coloured
from tests.fixtures.captioners import SENTENCES
from tests.fixtures.hostile import picture_bytes
from tests.fixtures.openai_server import KEY, VISION_MODEL, OpenAIServer, Trouble
from tests.workers.test_tasks import Worker, done
from workers import components as worker_components
from workers import tasks
from workers.components import Components


@pytest.fixture
def settings(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    milvus_uri: str,
    tiny_encoder_dir: Path,
    openai_server: OpenAIServer,
) -> Iterator[Settings]:
    yield Settings.model_validate(
        {
            "home": tmp_path,
            "database_url": database_url,
            "redis_url": redis_url,
            "milvus_uri": milvus_uri,
            "encoder": f"local-dir:{tiny_encoder_dir}",
            "device": "cpu",
            "torch_threads": 1,
            "captioner": f"openai:{VISION_MODEL}",
            "captioner_url": openai_server.url,
            "captioner_key": KEY,
            "caption_per_minute": 0,
        }
    )
    index = VectorIndex(milvus_uri)
    for name in ("images_b1", "captions_b1"):
        index.drop_collection(name)


@pytest.fixture
def made(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Components:
    return components_of(settings, monkeypatch)


def components_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Components:
    made = Components(settings)
    monkeypatch.setattr(worker_components, "_made", [made])
    return made


def put(sessions: sessionmaker[Session], blobs: BlobStore, pictures: dict[str, bytes]) -> None:
    products = [
        ProductIn.model_validate({"id": name, "title": "Toy, Polyester", "images": [f"blob:{blobs.put(data)}"]})
        for name, data in pictures.items()
    ]
    with session_scope(sessions) as session:
        upsert_products(session, products, blobs=blobs)


def found_by(made: Components, encoder: Encoder, words: str) -> str:
    """The product whose caption is nearest to ``words``."""
    (hits,) = made.index.search("captions_b1", encoder.encode_texts([words]), 1)
    with session_scope(made.sessions) as session:
        return str(session.get_one(Product, next(iter(hits)).product).id)


def test_a_product_is_found_by_what_the_captioner_said_of_its_picture(
    made: Components, settings: Settings, tiny_encoder: Encoder
) -> None:
    put(made.sessions, BlobStore(settings.blob_dir), {f"p{red}": coloured(red) for red in range(5)})
    tasks.ingest_due.run()
    tasks.caption_due.run()
    tasks.ingest_due.run()
    assert done(made.sessions, made.index), "catalogue and index agree row by row"
    assert found_by(made, tiny_encoder, "a #185028 thing, turn 2") == "p3"


def test_a_coca_of_the_workers_own_captions_without_any_server(
    settings: Settings,
    taught_coca: Path,
    tiny_encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    openai_server: OpenAIServer,
) -> None:
    made = components_of(settings.model_copy(update={"captioner": f"coca:local-dir:{taught_coca}"}), monkeypatch)
    pictures = {words: picture_bytes(colour=colour, size=(40, 40)) for colour, words in SENTENCES.items()}
    put(made.sessions, BlobStore(settings.blob_dir), pictures)
    tasks.ingest_due.run()
    tasks.caption_due.run()
    tasks.ingest_due.run()
    assert {words: found_by(made, tiny_encoder, words) for words in pictures} == {words: words for words in pictures}
    assert openai_server.asked == []


def test_sweep_nudges_while_something_can_be_captioned_and_not_while_it_is_paused(
    made: Components, settings: Settings, redis_url: str, openai_server: OpenAIServer
) -> None:
    nudged = redis.Redis.from_url(redis_url)
    tasks.sweep.run()
    assert not nudged.exists(f"nudge:{queue.CAPTION_DUE}")
    put(made.sessions, BlobStore(settings.blob_dir), {"p1": coloured(1)})
    tasks.ingest_due.run()
    tasks.sweep.run()
    assert nudged.exists(f"nudge:{queue.CAPTION_DUE}")
    openai_server.troubles.append(Trouble(503))
    tasks.caption_due.run()
    tasks.sweep.run()
    assert not nudged.exists(f"nudge:{queue.CAPTION_DUE}")


def test_with_captioning_off_the_sweep_leaves_the_catalogue_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = components_of(settings.model_copy(update={"captioner": "off"}), monkeypatch)
    put(made.sessions, BlobStore(settings.blob_dir), {"p1": coloured(1)})
    tasks.ingest_due.run()
    tasks.sweep.run()
    tasks.caption_due.run()
    with session_scope(made.sessions) as session:
        assert current_plan(session) is None
        assert session.execute(text("SELECT count(*) FROM caption_marks")).scalar() == 0


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    started = Worker(settings)
    started.environment |= {
        "MORELIKE_CAPTIONER": settings.captioner,
        "MORELIKE_CAPTIONER_URL": settings.captioner_url,
        "MORELIKE_CAPTIONER_KEY": KEY,
        "MORELIKE_CAPTION_PER_MINUTE": "0",
    }
    yield started
    for process in started.processes:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.faults
def test_a_worker_that_is_killed_in_mid_captioning_loses_and_repeats_nothing_that_was_said(
    worker: Worker, settings: Settings, sessions: sessionmaker[Session], openai_server: OpenAIServer
) -> None:
    openai_server.delay_s = 0.1
    put(sessions, BlobStore(settings.blob_dir), {f"p{red}": coloured(red) for red in range(24)})
    first = worker.start_worker()
    worker.wait(lambda: captioned(sessions) >= 5, "it is in mid-captioning")
    first.send_signal(signal.SIGKILL)
    first.wait()
    said = captioned(sessions)
    assert said < 24
    with session_scope(sessions) as session:  # the leases of what it had claimed have ended
        session.execute(text("UPDATE generated_captions SET due_at = now() WHERE state = 'pending'"))
    openai_server.asked.clear()
    worker.start_worker()
    worker.wait(lambda: captioned(sessions) == 24, "the next one says the rest")
    assert len(openai_server.asked) == 2 * (24 - said)
    index = VectorIndex(settings.milvus_uri or "")
    worker.wait(lambda: done(sessions, index), "all of it is in the index")


def captioned(sessions: sessionmaker[Session]) -> int:
    with session_scope(sessions) as session:
        found = session.execute(text("SELECT count(*) FROM captions WHERE strpos(source, '@') > 0"))
        return int(found.scalar_one())
