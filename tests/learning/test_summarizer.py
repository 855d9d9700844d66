"""From a catalogue's stored features to a generation with a summarizer, over a real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.models import Caption, Product, ProductImage
from backend.db import session_scope
from backend.generations.bootstrap import with_summarizer
from backend.generations.encoders import register_encoder
from backend.generations.feature_store import SubjectFeatures, store_features
from backend.generations.models import EncoderRecord, Generation, IndexBuild, SummarizerRecord
from backend.generations.promote import go_live
from backend.generations.summarizers import SUMMARIZER_FILE, first_summarizer, store_summarizer, summarizer_for
from backend.learning.summarizer import NoGain, Trained, held_back, keep, promote, train_summarizer
from backend.learning.summarizer_data import TooLittleToLearn, read_catalogue
from backend.ml.encoder import Encoder
from backend.ml.metrics import Interval
from backend.ml.summarizer import AttentiveSummarizer, SummarizerConfig, dump_summarizer, load_summarizer
from backend.ml.summarizer_gain import Gain
from backend.ml.summarizer_training import TrainingPlan
from backend.ml.tokens import pack_tokens

PRODUCTS = 110
CPU = torch.device("cpu")
PLAN = TrainingPlan(epochs=2, batch=64, rate=3e-3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def live(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> int:
    """A live generation of the tiny encoder; its collections are none that anything reads."""
    with session_scope(sessions) as session:
        register_encoder(session, tiny_encoder)
        build = IndexBuild(
            encoder_id=tiny_encoder.id, image_collection="i", caption_collection="c", state="ready", step="done"
        )
        session.add(build)
        session.flush()
        generation = Generation(index_build_id=build.id, calibration={"x": 1}, code_version="1", state="ready")
        session.add(generation)
        session.flush()
        go_live(session, generation.id, actor="test")
        return generation.id


def stock(sessions: sessionmaker[Session], encoder: Encoder, count: int) -> None:
    """Products with a picture and two captions each, and features of both in the store."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(count, encoder.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    images, texts = [], []
    with session_scope(sessions) as session:
        for row in range(count):
            product = Product(id=f"p{row}", title="t", updated_at=datetime.now(UTC))
            session.add(product)
            session.flush()
            session.add(ProductImage(product=product.number, position=0, source=f"s{row}", state="ready"))
            session.flush()
            session.query(ProductImage).filter_by(source=f"s{row}").update({"content_hash": f"image{row}"})
            for place in range(2):
                subject = f"text{row}-{place}"
                session.add(Caption(product=product.number, source=f"given{place}", text=subject, text_hash=subject))
                words = np.tile(vectors[row], 2)[None, : encoder.word_width] * (1 + place)
                texts.append(SubjectFeatures(subject, vectors[row], pack_tokens(words, "int8")))
            patches = np.tile(vectors[row], 2)[None, : encoder.layout.width]
            images.append(SubjectFeatures(f"image{row}", vectors[row], pack_tokens(patches, "fp16")))
    store_features(sessions, encoder.id, "image", images)
    store_features(sessions, encoder.id, "text", texts)


def record_of(sessions: sessionmaker[Session], encoder: Encoder) -> EncoderRecord:
    with session_scope(sessions) as session:
        return session.get_one(EncoderRecord, encoder.id)


def trained(encoder: Encoder, low: float = 0.1) -> Trained:
    """Fresh weights, and a gain whose interval begins at ``low``."""
    network = AttentiveSummarizer(SummarizerConfig(encoder.word_width, encoder.layout.width, encoder.dim, 16, 2))
    return Trained(dump_summarizer(network, encoder.id), Gain(10, 0.5, 0.6, Interval(0.1, low, 0.2)), {"epochs": 2})


def test_a_catalogue_teaches_a_summarizer_that_becomes_a_generation(
    sessions: sessionmaker[Session], tiny_encoder: Encoder, live: int, tmp_path: Path
) -> None:
    stock(sessions, tiny_encoder, PRODUCTS)
    told: list[tuple[int, int]] = []
    encoder = record_of(sessions, tiny_encoder)
    held = read_catalogue(sessions, encoder, tmp_path, 1000, lambda done, total: told.append((done, total)))
    assert (len(held.pictures), len(held.captions), told[-1]) == (PRODUCTS, 2 * PRODUCTS, (PRODUCTS, PRODUCTS))
    assert np.allclose(held.pictures[held.owners], held.captions)  # as they were stocked: each with its own
    result = train_summarizer(held, tiny_encoder.id, PLAN, device=CPU)
    assert result.report["pictures"] == PRODUCTS - 20
    assert result.gain.before == 1.0  # its captions are its picture's vector: nothing is left to gain
    with session_scope(sessions) as session:
        number = keep(session, tiny_encoder.id, result, actor="test")
    with session_scope(sessions) as session:
        made, before = session.get_one(Generation, number), session.get_one(Generation, live)
        assert (made.state, made.index_build_id, made.calibration) == ("ready", before.index_build_id, {"x": 1})
        assert made.gate_report["summarizer"]["epochs"] == 2
        kept = session.get_one(SummarizerRecord, made.summarizer_id)
        assert load_summarizer(kept.weights).encoder_id == tiny_encoder.id


def test_too_few_products_are_refused(
    sessions: sessionmaker[Session], tiny_encoder: Encoder, live: int, tmp_path: Path
) -> None:
    assert live
    stock(sessions, tiny_encoder, 3)
    with pytest.raises(TooLittleToLearn) as refused:
        read_catalogue(sessions, record_of(sessions, tiny_encoder), tmp_path, 100, lambda *_: None)
    assert refused.value.found == "3 of 3 products"


@pytest.mark.usefixtures("live")
def test_it_goes_live_only_with_a_gain(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> None:
    for low, state in ((-0.01, "ready"), (0.01, "live")):
        result = trained(tiny_encoder, low)
        with session_scope(sessions) as session:
            number = keep(session, tiny_encoder.id, result, actor="test")
        try:
            with session_scope(sessions) as session:
                promote(session, number, result, actor="test")
        except NoGain:
            assert low < 0
        with session_scope(sessions) as session:
            assert session.get_one(Generation, number).state == state


@pytest.mark.usefixtures("live")
def test_the_same_weights_are_stored_once(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> None:
    weights = trained(tiny_encoder).weights
    with session_scope(sessions) as session:
        first = store_summarizer(session, tiny_encoder.id, weights, {})
        assert store_summarizer(session, tiny_encoder.id, weights, {}) == first


def test_a_build_begins_with_what_its_encoder_was_live_with_else_with_the_file(
    sessions: sessionmaker[Session], tiny_encoder: Encoder, tiny_encoder_dir: Path, live: int
) -> None:
    path = tiny_encoder_dir / SUMMARIZER_FILE
    with session_scope(sessions) as session:
        assert summarizer_for(session, tiny_encoder.id) is None
    for damaged in (b"no weights", dump_summarizer(AttentiveSummarizer(SummarizerConfig(8, 8, 8, 16, 2)), "other@1")):
        path.write_bytes(damaged)
        with session_scope(sessions) as session:
            assert summarizer_for(session, tiny_encoder.id) is None
    path.write_bytes(trained(tiny_encoder).weights)
    try:
        with session_scope(sessions) as session:
            found = summarizer_for(session, tiny_encoder.id)
            assert found is not None
            assert first_summarizer(session, tiny_encoder.id) is None  # it has one by now
        with session_scope(sessions) as session:
            other = store_summarizer(session, tiny_encoder.id, trained(tiny_encoder).weights, {})
            generation = with_summarizer(session, session.get_one(Generation, live), other)
            assert summarizer_for(session, tiny_encoder.id) == found  # not live yet
            go_live(session, generation, actor="test")
            assert summarizer_for(session, tiny_encoder.id) == other
    finally:
        path.unlink()


def test_one_in_ten_is_held_back_always_the_same() -> None:
    assert held_back(1000, 1).sum() == 100
    assert held_back(100, 1).sum() == 20
    assert np.array_equal(held_back(50, 3), held_back(50, 3))
