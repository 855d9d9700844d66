"""The embed stage: once per content, whatever fails, whoever else works."""

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import content_hash
from backend.catalog.models import Caption, Feature, FeatureTokens, Product, ProductImage
from backend.db import session_scope
from backend.generations.encoders import register_encoder
from backend.generations.features import Embedded, EmbedStage, EncoderBroken
from backend.generations.models import IndexBuild
from backend.generations.repository import Build
from backend.ml.dual_encoder import ImagesBegun
from backend.ml.encoder import Encoder, ImageFeatures, TextFeatures
from backend.ml.tokens import PackedTokens, unpack_tokens
from backend.settings import TokenForm
from tests.generations.conftest import Shop, picture


class Counting:
    """The real encoder; counts what goes through it and refuses what it is told to."""

    def __init__(self, encoder: Encoder, refused: frozenset[int] = frozenset(), *, broken: bool = False) -> None:
        self.encoder = encoder
        self.id = encoder.id
        self.preprocess = encoder.preprocess
        self.stage_images = encoder.stage_images
        self.overlaps = encoder.overlaps
        self.images = self.texts = 0
        self.refused = refused
        self.broken = broken

    def begin_images(self, images: Any, *, tokens: bool) -> ImagesBegun:
        if self.broken or any(_mark(image) in self.refused for image in images):
            raise RuntimeError("planted failure")
        self.images += len(images)
        return self.encoder.begin_images(images, tokens=tokens)

    def encode_texts_with_tokens(self, texts: Sequence[str]) -> TextFeatures:
        if "bad caption" in texts:
            raise RuntimeError("planted failure")
        self.texts += len(texts)
        return self.encoder.encode_texts_with_tokens(texts)

    def encode_texts(self, texts: Sequence[str]) -> Any:
        return self.encode_texts_with_tokens(texts).vectors


def _mark(image: Any) -> int:
    return int(image.sum() * 1000) if hasattr(image, "sum") else 0


@pytest.fixture
def build(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> Build:
    """A build whose collections were not made: embedding needs none."""
    with session_scope(sessions) as session:
        register_encoder(session, tiny_encoder)
        names = {"image_collection": "i", "caption_collection": "c"}
        record = IndexBuild(encoder_id=tiny_encoder.id, state="ready", **names)
        session.add(record)
    return Build(record.id, tiny_encoder.id, tiny_encoder.dim, "i", "c", None)


def run(
    sessions: sessionmaker[Session], shop: Shop, build: Build, encoder: Any, tokens: TokenForm = "int8", batch: int = 4
) -> Embedded:
    total: list[Embedded] = []
    stage = EmbedStage(sessions, shop.blobs, encoder, tokens, batch, max_pixels=10**6)
    stage.run([build], more=lambda: False, stop=lambda: False, on_stored=total.append)
    return sum(total, Embedded())


def test_pixels_and_words_that_several_products_share_are_encoded_once(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder
) -> None:
    """12 products show 3 pictures and say 2 sentences; a second run has nothing to do."""
    for number in range(12):
        shop.put(f"p{number}", title=f"title {number % 2}", pictures=(picture(number % 3),))
    encoder = Counting(tiny_encoder)
    assert run(sessions, shop, build, encoder, batch=2) == Embedded(images=3, texts=2)
    assert run(sessions, shop, build, encoder) == Embedded()
    assert (encoder.images, encoder.texts) == (3, 2)


def test_stored_vectors_are_what_the_encoder_says(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder, session: Session
) -> None:
    shop.put("p", title="a red ball", pictures=(picture(7),))
    run(sessions, shop, build, tiny_encoder)
    text = session.scalars(select(Feature).where(Feature.kind == "text")).one()
    expected = tiny_encoder.encode_texts(["a red ball"])[0]
    np.testing.assert_allclose(np.frombuffer(text.vector, "<f4"), expected, atol=1e-6)
    assert text.encoder_id == tiny_encoder.id


@pytest.mark.parametrize(("form", "rows", "tolerance"), [("int8", 17, 0.02), ("fp16", 17, 2e-3), ("pooled", 1, 2e-3)])
def test_tokens_are_kept_in_the_form_asked_for(
    form: TokenForm,
    rows: int,
    tolerance: float,
    sessions: sessionmaker[Session],
    shop: Shop,
    build: Build,
    tiny_encoder: Encoder,
    session: Session,
) -> None:
    from backend.catalog.pictures import decode

    shop.put("p", pictures=(picture(7),))
    run(sessions, shop, build, tiny_encoder, form)
    kept = session.scalars(select(FeatureTokens).where(FeatureTokens.kind == "image")).one()
    expected = tiny_encoder.encode_images_with_tokens([decode(picture(7))]).tokens[0]
    expected = expected.mean(axis=0, keepdims=True) if form == "pooled" else expected
    found = unpack_tokens(PackedTokens(form, kept.count, kept.width, kept.data, kept.scales))  # type: ignore[arg-type]
    assert (kept.form, kept.count) == (form, rows)
    np.testing.assert_allclose(found, expected, atol=tolerance * float(np.abs(expected).max()))


def test_tokens_off_keeps_vectors_only(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder, session: Session
) -> None:
    shop.put("p", pictures=(picture(7),))
    run(sessions, shop, build, tiny_encoder, "off")
    assert session.scalar(select(func.count()).select_from(Feature)) == 2
    assert session.scalar(select(func.count()).select_from(FeatureTokens)) == 0


def test_image_that_the_encoder_refuses_parks_alone(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder, session: Session
) -> None:
    from backend.catalog.pictures import decode

    refused = frozenset({_mark(tiny_encoder.preprocess(decode(picture(3))))})
    numbers = [shop.put(f"p{number}", pictures=(picture(number),)) for number in range(8)]
    before = session.get_one(Product, numbers[3]).revision
    assert run(sessions, shop, build, Counting(tiny_encoder, refused)) == Embedded(images=7, texts=8, parked=1)
    parked = session.scalars(select(ProductImage).where(ProductImage.state == "parked")).one()
    assert parked.product == numbers[3]
    assert parked.error == "the encoder refused it: planted failure"
    session.expire_all()
    assert session.get_one(Product, numbers[3]).revision == before + 1


class Overlapping(Counting):
    """Keeps what it begins to itself until it is asked, as a GPU does, and finds some of it out only then."""

    def __init__(self, encoder: Encoder, refused: frozenset[int]) -> None:
        super().__init__(encoder)
        self.overlaps = True
        self.refused_late = refused
        self.begun = self.most_begun = 0

    def begin_images(self, images: Any, *, tokens: bool) -> Any:
        self.begun += 1
        self.most_begun = max(self.most_begun, self.begun)
        late = any(_mark(image) in self.refused_late for image in images)
        images_begun = super().begin_images(images, tokens=tokens)

        def result() -> ImageFeatures:
            self.begun -= 1
            features = images_begun.result()
            if late:
                features.vectors[-1] = np.nan
            return features

        return SimpleNamespace(result=result)


def test_device_that_works_by_itself_has_two_batches_and_what_fails_late_parks_alone(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder, session: Session
) -> None:
    from backend.catalog.pictures import decode

    refused = frozenset({_mark(tiny_encoder.preprocess(decode(picture(3))))})
    for number in range(40):
        shop.put(f"p{number}", pictures=(picture(number),))
    encoder = Overlapping(tiny_encoder, refused)
    assert run(sessions, shop, build, encoder) == Embedded(images=39, texts=40, parked=1)
    for first in range(100, 400, 40):  # on a busy machine no second batch may be prepared in time
        if encoder.most_begun == 2:
            break
        for number in range(first, first + 40):
            shop.put(f"p{number}", pictures=(picture(number),))
        run(sessions, shop, build, encoder)
    assert encoder.most_begun == 2
    parked = session.scalars(select(ProductImage).where(ProductImage.state == "parked")).one()
    assert parked.error == "the encoder refused it: vectors that are not finite numbers found; expected finite ones"
    vectors = session.execute(select(Feature.subject, Feature.vector).where(Feature.kind == "image")).all()
    stored = {subject: np.frombuffer(vector, "<f4") for subject, vector in vectors}
    data = picture(11)
    expected = tiny_encoder.encode_images([decode(data)])[0]
    np.testing.assert_allclose(stored[content_hash(data)], expected, atol=5e-3)


def test_image_whose_bytes_are_gone_or_broken_parks_alone(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder, session: Session
) -> None:
    gone, broken = shop.put("gone", pictures=(picture(1),)), shop.put("broken", pictures=(b"no picture",))
    shop.put("good", pictures=(picture(2),))
    shop.blobs.path(session.scalars(select(ProductImage.content_hash).filter_by(product=gone)).one()).unlink()
    assert run(sessions, shop, build, tiny_encoder) == Embedded(images=1, texts=3, parked=2)
    reasons = {image.product: image.error for image in session.scalars(select(ProductImage).filter_by(state="parked"))}
    assert "no longer kept" in reasons[gone]
    assert "not a picture" in reasons[broken]


def test_caption_that_the_encoder_refuses_is_left_out_and_says_why(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder, session: Session
) -> None:
    shop.put("p", title="good", captions=["bad caption"])
    assert run(sessions, shop, build, Counting(tiny_encoder)) == Embedded(texts=1, parked=1)
    errors = dict(session.execute(select(Caption.text, Caption.error)).all())  # type: ignore[arg-type]
    assert errors == {"good": None, "bad caption": "the encoder refused it: planted failure"}
    assert run(sessions, shop, build, Counting(tiny_encoder)) == Embedded()


def test_broken_encoder_parks_nothing(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder, session: Session
) -> None:
    shop.put("p", pictures=(picture(1),))
    with pytest.raises(EncoderBroken):
        run(sessions, shop, build, Counting(tiny_encoder, broken=True))
    assert session.scalars(select(ProductImage.state)).all() == ["ready"]


def test_workers_side_by_side_encode_nothing_twice(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder, session: Session
) -> None:
    for number in range(40):
        shop.put(f"p{number}", pictures=(picture(number),))
    workers = [Counting(tiny_encoder) for _ in range(3)]
    threads = [threading.Thread(target=run, args=(sessions, shop, build, worker)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(worker.images for worker in workers) == 40
    assert sum(worker.texts for worker in workers) == 40
    assert session.scalar(select(func.count()).select_from(Feature)) == 80


def test_claims_of_a_worker_that_failed_are_free_again(
    sessions: sessionmaker[Session], shop: Shop, build: Build, tiny_encoder: Encoder
) -> None:
    shop.put("p", pictures=(picture(1),))
    with pytest.raises(EncoderBroken):
        run(sessions, shop, build, Counting(tiny_encoder, broken=True))
    assert run(sessions, shop, build, tiny_encoder).images == 1
