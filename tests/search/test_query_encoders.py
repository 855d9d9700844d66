"""An API process holds the encoders of all builds that are written, and serves none whose encoder it lacks."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.bootstrap import ensure_live
from backend.generations.encoders import register_encoder
from backend.generations.models import Generation, IndexBuild
from backend.generations.promote import go_live
from backend.generations.serving import EncoderKey, NothingServes, ServingHolder
from backend.ml.encoder import Encoder, load_encoder
from backend.search.encoder_thread import EncoderNotLoaded
from backend.search.query_encoders import QueryEncoders
from backend.vector_index import VectorIndex
from tests.fixtures.encoders import TINY_CLIP, write_encoder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    directory = write_encoder(tmp_path_factory.mktemp("encoders") / "other", TINY_CLIP, seed=6)
    return load_encoder(f"local-dir:{directory}", device="cpu", threads=1)


@pytest.fixture
def flipped(
    sessions: sessionmaker[Session], milvus_uri: str, tiny_encoder: Encoder, other: Encoder
) -> Iterator[Callable[[], int]]:
    """A live build of the tiny encoder beside a ready one of another; called, it goes live with that one."""
    index = VectorIndex(milvus_uri)
    with session_scope(sessions) as session:
        live = ensure_live(session, index, tiny_encoder)
        register_encoder(session, other)
        build = IndexBuild(encoder_id=other.id, image_collection="i9", caption_collection="c9", state="ready")
        session.add(build)
        session.flush()
        generation = Generation(index_build_id=build.id, calibration={}, code_version="1", state="ready")
        session.add(generation)
        session.flush()

    def flip() -> int:
        with session_scope(sessions) as session:
            go_live(session, generation.id, actor="test")
        return generation.id

    yield flip
    for name in live.collections:
        index.drop_collection(name)


def test_generation_is_served_from_when_its_encoder_is_loaded_and_the_one_before_until_then(
    sessions: sessionmaker[Session],
    flipped: Callable[[], int],
    tiny_encoder: Encoder,
    other: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, may_load = {tiny_encoder.id: tiny_encoder, other.id: other}, threading.Event()

    def load(key: EncoderKey) -> Encoder:
        assert key.id == tiny_encoder.id or may_load.wait(120)
        return known[key.id]

    encoders = QueryEncoders(load)
    holder = ServingHolder(sessions, poll_s=0.02, encoders=encoders)
    holder.start()
    try:
        first = holder.current.generation_id
        wait(lambda: encoders.has(tiny_encoder.id))
        second = flipped()
        time.sleep(0.3)
        assert holder.current.generation_id == first, "its encoder is not loaded"
        assert holder.check_following().generation_id == first, "and that is no fault for a while"
        monkeypatch.setattr("backend.generations.serving.BEHIND_S", 0.0)
        with pytest.raises(NothingServes, match="still being loaded"):
            holder.check_following()
        may_load.set()
        wait(lambda: holder.current.generation_id == second)
        assert holder.check_following().encoder_id == other.id
        assert encoders.has(tiny_encoder.id), "the way back keeps its encoder"
        with session_scope(sessions) as session:
            session.query(IndexBuild).filter_by(encoder_id=tiny_encoder.id).one().state = "dropped"
        wait(lambda: not encoders.has(tiny_encoder.id))
        with pytest.raises(EncoderNotLoaded):
            encoders.thread(tiny_encoder.id)
    finally:
        holder.stop()
        encoders.stop()


def test_encoders_are_loaded_one_after_the_other_and_a_failure_is_tried_again(
    tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[str] = []
    first_may = threading.Event()

    def load(key: EncoderKey) -> Encoder:
        calls.append(key.id)
        if key.id == "a":
            first_may.wait(120)
            return tiny_encoder
        if calls.count("b") == 1:
            raise OSError(f"{tmp_path} is empty")
        return tiny_encoder

    encoders, wanted = QueryEncoders(load), [EncoderKey("a", None), EncoderKey("b", None)]
    try:
        for _ in range(5):
            encoders.follow(wanted)
        assert calls == ["a"], "the live one first, alone"
        first_may.set()
        wait(lambda: encoders.has("a"))
        encoders.follow(wanted)
        wait(lambda: "is empty" in encoders.why_not("b"))
        encoders.follow(wanted)
        assert calls == ["a", "b"], "not at once"
        monkeypatch.setattr("backend.search.query_encoders.AGAIN_S", 0.0)
        encoders.follow(wanted)
        wait(lambda: encoders.has("b"))
    finally:
        encoders.stop()


def wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
