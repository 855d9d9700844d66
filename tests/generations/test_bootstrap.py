"""What the first start makes, what a later one finds, and which encoder may open which catalogue."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.access.models import AuditEntry
from backend.db import session_scope
from backend.errors import Conflict, NotFound
from backend.generations.audit import compare
from backend.generations.bootstrap import ensure_live
from backend.generations.encoders import DEMO_ENCODER, EncoderMismatch, open_encoder, register_encoder
from backend.generations.feature_store import SubjectFeatures, store_features
from backend.generations.index_writer import write_due
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.generations.promote import go_live
from backend.generations.repository import Build, writable_builds
from backend.generations.serving import NothingServes, ServingHolder
from backend.ml.encoder import Encoder
from backend.ml.scoring import Calibration
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.fixtures.encoders import TINY_CLIP, write_encoder
from tests.generations.conftest import Shop


@pytest.fixture(scope="module")
def other_encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    directory = write_encoder(tmp_path_factory.mktemp("other") / "other", TINY_CLIP, seed=2)
    return open_encoder(Settings(encoder=f"local-dir:{directory}", device="cpu", torch_threads=1))


@pytest.fixture
def live_builds(sessions: sessionmaker[Session], index: VectorIndex) -> Iterator[None]:
    """Drops whatever collections the test made."""
    yield
    with session_scope(sessions) as session:
        for build in session.scalars(select(IndexBuild)):
            index.drop_collection(build.image_collection)
            index.drop_collection(build.caption_collection)


def test_first_start_makes_a_live_identity_generation_and_a_second_changes_nothing(
    sessions: sessionmaker[Session], index: VectorIndex, tiny_encoder: Encoder, build: Build
) -> None:
    with session_scope(sessions) as session:
        assert ensure_live(session, index, tiny_encoder) == build
    with session_scope(sessions) as session:
        generation = session.scalars(select(Generation)).one()
        assert (generation.state, generation.query_heads) == ("live", None)
        assert Calibration.from_json(generation.calibration) == Calibration.identity()
        assert writable_builds(session) == [build]
    assert all(index.has_collection(name) for name in build.collections)


@pytest.mark.usefixtures("live_builds")
def test_collections_left_by_another_database_are_emptied(
    sessions: sessionmaker[Session], index: VectorIndex, tiny_encoder: Encoder
) -> None:
    index.create_collection("images_b1", 7)
    with session_scope(sessions) as session:
        build = ensure_live(session, index, tiny_encoder)
    assert build.image_collection == "images_b1"
    assert index.count("images_b1") == 0


def test_collections_that_milvus_lost_are_made_and_filled_again(
    sessions: sessionmaker[Session], index: VectorIndex, tiny_encoder: Encoder, build: Build, shop: Shop
) -> None:
    shop.put("p")
    with session_scope(sessions) as session:
        (key,) = shop.captions(session)
    vector = tiny_encoder.encode_texts(["p"])[0]
    store_features(sessions, build.encoder_id, "text", [SubjectFeatures(key, vector, None)])
    write_due(sessions, index, build, 10)
    index.drop_collection(build.image_collection)
    with session_scope(sessions) as session:
        ensure_live(session, index, tiny_encoder)
    assert write_due(sessions, index, build, 10).products == 1
    with session_scope(sessions) as session:
        assert compare(session, index, build).agrees


@pytest.mark.usefixtures("live_builds")
def test_other_encoder_takes_over_an_empty_catalogue(
    sessions: sessionmaker[Session], index: VectorIndex, build: Build, other_encoder: Encoder
) -> None:
    with session_scope(sessions) as session:
        made = ensure_live(session, index, other_encoder)
        assert made.encoder_id == other_encoder.id
        assert made.id != build.id
        assert writable_builds(session) == [made]
        states = session.scalars(select(Generation.state).order_by(Generation.id)).all()
        assert states == ["retired", "live"]


def test_other_encoder_over_products_is_refused_with_what_to_do(
    sessions: sessionmaker[Session], index: VectorIndex, build: Build, other_encoder: Encoder, shop: Shop
) -> None:
    shop.put("p")
    with pytest.raises(EncoderMismatch, match="morelike encoder switch") as refused, session_scope(sessions) as session:
        ensure_live(session, index, other_encoder)
    assert (refused.value.found, refused.value.expected) == (other_encoder.id, build.encoder_id)
    with session_scope(sessions) as session:
        assert session.scalar(select(func.count()).select_from(EncoderRecord)) == 1


def test_encoder_with_a_known_id_and_other_weights_is_refused(session: Session, tiny_encoder: Encoder) -> None:
    session.add(EncoderRecord(id=tiny_encoder.id, name="x", weights_hash="0" * 64, dim=tiny_encoder.dim))
    session.flush()
    with pytest.raises(EncoderMismatch, match="already known"):
        register_encoder(session, tiny_encoder)


def test_demo_encoder_is_found_by_path() -> None:
    assert Path(__file__).resolve().parents[2] / "backend" / "demo" / "encoder" == DEMO_ENCODER


def second_generation(sessions: sessionmaker[Session], state: str = "ready") -> int:
    with session_scope(sessions) as session:
        first = session.scalars(select(Generation)).one()
        generation = Generation(
            index_build_id=first.index_build_id, calibration={"caption_weight": 0.25}, code_version="1", state=state
        )
        session.add(generation)
        session.flush()
        return generation.id


@pytest.mark.usefixtures("build")
def test_going_live_is_one_flip_and_so_is_going_back(sessions: sessionmaker[Session]) -> None:
    second = second_generation(sessions)
    holder = ServingHolder(sessions)
    holder.refresh()
    first = holder.current.generation_id
    for chosen in (second, first, first):
        with session_scope(sessions) as session:
            go_live(session, chosen, actor="test")
        holder.refresh()
        assert holder.current.generation_id == chosen
    with session_scope(sessions) as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.actor == "test").order_by(AuditEntry.id)).all()
        assert [(e.subject, e.details["previous"]) for e in entries] == [(f"g{second}", first), (f"g{first}", second)]


@pytest.mark.usefixtures("build")
def test_generation_that_failed_cannot_go_live(sessions: sessionmaker[Session]) -> None:
    failed = second_generation(sessions, "failed")
    with pytest.raises(Conflict) as refused, session_scope(sessions) as session:
        go_live(session, failed, actor="test")
    assert refused.value.found == "failed"
    with pytest.raises(NotFound), session_scope(sessions) as session:
        go_live(session, 10**6, actor="test")


def test_generation_whose_build_was_dropped_cannot_go_live(sessions: sessionmaker[Session], build: Build) -> None:
    second = second_generation(sessions, "retired")
    with session_scope(sessions) as session:
        session.get_one(IndexBuild, build.id).state = "dropped"
    with pytest.raises(Conflict, match="build"), session_scope(sessions) as session:
        go_live(session, second, actor="test")


@pytest.mark.usefixtures("build")
def test_holder_follows_a_flip_and_keeps_serving_without_postgresql(
    sessions: sessionmaker[Session],
) -> None:
    seen: list[str] = []
    holder = ServingHolder(sessions, poll_s=0.05, on_swap=lambda serving: seen.append(serving.name))
    with pytest.raises(NothingServes):
        _ = holder.current
    holder.start()
    try:
        before = holder.current
        second = second_generation(sessions)
        with session_scope(sessions) as session:
            go_live(session, second, actor="test")
        _wait(lambda: holder.current.generation_id == second)
        assert holder.current.calibration.caption_weight == 0.25
        assert before.generation_id != second, "a request keeps what it took"
        sessions.configure(bind=None)
        _wait(lambda: True)
        assert holder.current.generation_id == second
    finally:
        holder.stop()
    assert seen == [before.name, f"g{second}"]


def _wait(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        time.sleep(0.05)
        if condition():
            return
    raise AssertionError("not within 5 s")
