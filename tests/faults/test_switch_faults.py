"""Whoever makes an index build dies by kill -9 at every step of it; whoever comes next takes it up where it stands."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.access.models import AuditEntry
from backend.blobs import BlobStore
from backend.catalog.images import FetchLimits
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import connect, session_factory, session_scope
from backend.generations import build as building
from backend.generations.audit import compare
from backend.generations.bootstrap import ensure_live
from backend.generations.build import Builder
from backend.generations.builds import start_build
from backend.generations.due import anything_due
from backend.generations.encoders import OpenEncoders
from backend.generations.ingest import Ingest
from backend.generations.models import Generation, IndexBuild, IndexRow
from backend.generations.repository import live_build, writable_builds
from backend.generations.retire import ALIASES
from backend.http import SafeFetcher
from backend.ml.encoder import Encoder
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.fixtures.encoders import TINY_CLIP, write_encoder
from tests.fixtures.stacks import PATIENCE_S
from tests.generations.conftest import picture
from tests.generations.test_adapters import begin_adapter

pytestmark = pytest.mark.faults

STEPS = ("open", "create", "backfill", "verify", "calibrate", "promote")
PRODUCTS = 40


@dataclass(frozen=True)
class Place:
    """Where a worker finds everything."""

    database_url: str
    milvus_uri: str
    encoder: str
    blobs: Path
    window: timedelta = timedelta(hours=1)

    def builder(self) -> Builder:
        sessions, index = session_factory(connect(self.database_url)), VectorIndex(self.milvus_uri)
        settings = Settings(encoder=self.encoder, device="cpu", torch_threads=1)

        def beside(encoder: Encoder) -> Ingest:
            blobs = BlobStore(self.blobs)
            return Ingest(sessions, blobs, SafeFetcher(), encoder, index, FetchLimits(), "off", 4, fetches=False)

        return Builder(sessions, index, OpenEncoders(settings), beside, self.window)


def work(place: Place, step: str, moment: str) -> None:
    """A worker that dies at ``moment`` of ``step``: before it, behind its first rows, or before its outcome commits."""
    do = Builder._do

    def deadly(self: Builder, build: IndexBuild, stop: building.Stop) -> bool:
        if build.step == step:
            if moment == "before":
                die()
            if moment == "uncommitted":
                event.listen(Session, "before_commit", die_if_it_moves)
            if moment == "amid":
                VectorIndex.upsert = dying_behind(VectorIndex.upsert)  # type: ignore[method-assign]
                VectorIndex.insert = dying_behind(VectorIndex.insert)  # type: ignore[method-assign]
        return do(self, build, stop)

    Builder._do = deadly  # type: ignore[method-assign]
    place.builder().advance(lambda: False)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_if_it_moves(session: Session) -> None:
    session.flush()
    if session.info.get("moved"):
        die()


def dying_behind(write: Callable[..., None]) -> Callable[..., None]:
    def write_and_die(*arguments: Any, **options: Any) -> None:
        write(*arguments, **options)
        die()

    return write_and_die


@event.listens_for(Session, "before_flush")
def see_moves(session: Session, *_: object) -> None:
    if any(isinstance(row, IndexBuild) for row in session.dirty):
        session.info["moved"] = True


@pytest.fixture
def place(
    database_url: str,
    sessions: sessionmaker[Session],
    milvus_uri: str,
    tiny_encoder: Encoder,
    tmp_path: Path,
) -> Iterator[Place]:
    """A live build of 40 products."""
    index, blobs = VectorIndex(milvus_uri), BlobStore(tmp_path / "blobs")
    with session_scope(sessions) as session:
        ensure_live(session, index, tiny_encoder)
        given = [
            {"id": f"p{n}", "title": f"p{n}", "images": [f"blob:{blobs.put(picture(n))}"]} for n in range(PRODUCTS)
        ]
        upsert_products(session, [ProductIn.model_validate(one) for one in given], blobs=blobs)
    Ingest(sessions, blobs, SafeFetcher(), tiny_encoder, index, FetchLimits(), "off", 16).run_due()
    other = write_encoder(tmp_path / "other", TINY_CLIP | {"embed_dim": 48}, seed=5)
    yield Place(database_url, milvus_uri, f"local-dir:{other}", tmp_path / "blobs")
    for alias in ALIASES:
        index.drop_alias(alias)
    with session_scope(sessions) as session:
        for build in session.scalars(select(IndexBuild)):
            for name in (build.image_collection, build.caption_collection):
                index.drop_collection(name)


@pytest.mark.parametrize("made_for", ["another encoder", pytest.param("item heads", marks=pytest.mark.slow)])
def test_kill_9_at_every_step_is_resumed(
    made_for: str, place: Place, sessions: sessionmaker[Session], tiny_encoder: Encoder
) -> None:
    workers = multiprocessing.get_context("forkserver")
    workers.set_forkserver_preload([__name__])
    if made_for == "item heads":
        number = begin_adapter(sessions, tiny_encoder)
    else:
        with session_scope(sessions) as session:
            number = start_build(session, place.encoder, promote=True, actor="test").id
    steps = STEPS[STEPS.index("create") :] if made_for == "item heads" else STEPS
    moments = [(step, moment) for step in steps for moment in ("before", "uncommitted")]
    moments.insert(moments.index(("backfill", "uncommitted")), ("backfill", "amid"))
    for step, moment in moments:
        worker = workers.Process(target=work, args=(place, step, moment))
        worker.start()
        worker.join(PATIENCE_S)
        assert worker.exitcode == -signal.SIGKILL, f"it died {moment} {step}: {worker.exitcode}"
        with session_scope(sessions) as session:
            build = session.get_one(IndexBuild, number)
            assert (build.step, build.error) == (step, None), f"killed {moment} {step}"
            assert live_build(session).id != number  # type: ignore[union-attr]
    place.builder().advance(lambda: False)
    check(place, sessions, number)


def check(place: Place, sessions: sessionmaker[Session], number: int) -> None:
    """Everything happened once, and both builds hold the catalogue."""
    index = VectorIndex(place.milvus_uri)
    with session_scope(sessions) as session:
        build = session.get_one(IndexBuild, number)
        assert (build.state, build.step, build.report["complaints"]) == ("ready", "done", [])
        assert live_build(session).id == number  # type: ignore[union-attr]
        made = session.scalar(select(func.count()).where(Generation.index_build_id == number))
        flips = session.scalar(select(func.count()).where(AuditEntry.action == "generation.live"))
        assert (made, flips) == (1, 2), (
            "one generation was made, and flipped to once; the first flip is the first start"
        )
        for one in writable_builds(session):
            report = compare(session, index, one)
            assert report.agrees, report
            assert report.rows == 2 * PRODUCTS
        assert not anything_due(session)


@pytest.mark.parametrize("moment", ["before", "amid"])
def test_kill_9_while_a_dropped_build_is_emptied_leaves_nothing_in_the_end(
    place: Place, sessions: sessionmaker[Session], moment: str
) -> None:
    with session_scope(sessions) as session:
        number = start_build(session, place.encoder, promote=True, actor="test").id
    place.builder().advance(lambda: False)
    workers = multiprocessing.get_context("forkserver")
    workers.set_forkserver_preload([__name__])
    over = Place(place.database_url, place.milvus_uri, place.encoder, place.blobs, window=timedelta(0))
    worker = workers.Process(target=empty, args=(over, moment))
    worker.start()
    worker.join(PATIENCE_S)
    assert worker.exitcode == -signal.SIGKILL
    with session_scope(sessions) as session:
        old = session.scalars(select(IndexBuild).where(IndexBuild.id != number)).one()
        assert (old.state, old.emptied_at) == ("dropped", None)
    over.builder().clear()
    index = VectorIndex(place.milvus_uri)
    with session_scope(sessions) as session:
        old = session.get_one(IndexBuild, old.id)
        assert old.emptied_at is not None
        assert not {old.image_collection, old.caption_collection} & index.collections()
        assert session.scalar(select(func.count()).where(IndexRow.index_build_id == old.id)) == 0


def empty(place: Place, moment: str) -> None:
    """A worker that dies when one of two collections is gone, or none."""
    drop = VectorIndex.drop_collection

    def deadly(self: VectorIndex, name: str) -> None:
        if moment == "amid":
            drop(self, name)
        die()

    VectorIndex.drop_collection = deadly  # type: ignore[method-assign]
    place.builder().clear()
