"""Calibration measures what random products reach, and going live with it is one flip."""

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.calibrate import Asked, measure, recalibrate, recalibrate_when_outgrown
from backend.generations.features import EmbedStage
from backend.generations.index_writer import write_due
from backend.generations.models import Generation, IndexBuild
from backend.generations.repository import Build
from backend.ml.encoder import Encoder
from backend.ml.feedback.fitted import Fitted
from backend.ml.head_files import dump_item_heads, dump_query_heads
from backend.ml.heads import Head, ItemHeads, QueryHeads
from backend.ml.scoring import Calibration, Scale, Side
from backend.vector_index import VectorIndex
from tests.generations.conftest import Shop, picture


def side(vectors: list[list[float]], products: list[int]) -> Side:
    return Side(np.array(vectors, dtype=np.float32).reshape(len(products), 2), np.array(products, dtype=np.int64))


def test_scales_are_those_of_cosines_to_other_products() -> None:
    """Captions a, b, c at 0, 90 and 180 degrees; images of a and b at 0 and 90.

    Words against captions of others: a-b 0, a-c -1, b-a 0, b-c 0, c-a -1, c-b 0: mean -1/3, deviation sqrt(2)/3.
    Words against images of others: a-b 0, b-a 0, c-a -1, c-b 0 (c has no image): mean -1/4, deviation sqrt(3)/4.
    Pictures against images of others: a-b 0, b-a 0: no spread, left as it is.
    Pictures against captions of others: a-b 0, a-c -1, b-a 0, b-c 0: mean -1/4, deviation sqrt(3)/4.
    """
    captions = side([[1, 0], [0, 1], [-1, 0]], [1, 2, 3])
    images = side([[1, 0], [0, 1]], [1, 2])
    found = measure(images, captions, 0.5)
    assert _close(found.text.caption, -1 / 3, 2**0.5 / 3)
    assert _close(found.text.image, -1 / 4, 3**0.5 / 4)
    assert found.image.image == Scale()
    assert _close(found.image.caption, -1 / 4, 3**0.5 / 4)
    assert found.caption_weight == 0.5


def test_words_and_picture_together_are_measured_on_products_that_have_both() -> None:
    """Only products 1 and 2 have both; each sum points where its parts do: 0 and 90 degrees."""
    captions = side([[1, 0], [0, 1], [-1, 0]], [1, 2, 3])
    images = side([[1, 0], [0, 1]], [1, 2])
    assert _close(measure(images, captions, 0.5).both.caption, -1 / 4, 3**0.5 / 4)


def test_queries_that_lie_elsewhere_are_measured_where_they_lie() -> None:
    """Words are turned by a quarter: a, b, c stand at 0, 90, 180 degrees and ask at 90, 180, 270.

    Against captions of others: a-b 1, a-c 0, b-a -1, b-c 1, c-a 0, c-b -1: mean 0, deviation sqrt(2/3). Pictures ask
    where they are, as before.
    """
    captions, images = side([[1, 0], [0, 1], [-1, 0]], [1, 2, 3]), side([[1, 0], [0, 1]], [1, 2])
    turned = side([[0, 1], [-1, 0], [0, -1]], [1, 2, 3])
    found = measure(images, captions, 0.5, Asked(turned, images))
    assert _close(found.text.caption, 0, (2 / 3) ** 0.5)
    assert found.image == measure(images, captions, 0.5).image


@pytest.mark.parametrize("missing", ["images", "captions"])
def test_catalogue_without_one_side_leaves_that_side_as_it_is(missing: str) -> None:
    full, empty = side([[1, 0], [0, 1], [0.6, 0.8]], [1, 2, 3]), side([], [])
    found = measure(empty, full, 0.5) if missing == "images" else measure(full, empty, 0.5)
    kind = found.text if missing == "images" else found.image
    assert (kind.image if missing == "images" else kind.caption) == Scale()
    assert (kind.caption if missing == "images" else kind.image) != Scale()


def _close(scale: Scale, mean: float, std: float) -> bool:
    return scale.mean == pytest.approx(mean, abs=1e-6) and scale.std == pytest.approx(std, abs=1e-6)


@pytest.fixture
def fill(
    sessions: sessionmaker[Session], shop: Shop, index: VectorIndex, build: Build, tiny_encoder: Encoder
) -> object:
    def to(first: int, last: int) -> None:
        for number in range(first, last):
            shop.put(f"p{number}", pictures=(picture(number),))
        stage = EmbedStage(sessions, shop.blobs, tiny_encoder, "off", 16, max_pixels=10**6)
        stage.run([build], more=lambda: False, stop=lambda: False, on_stored=lambda _: None)
        write_due(sessions, index, build, 1000)

    return to


def test_recalibrated_generation_goes_live_on_the_same_build(
    sessions: sessionmaker[Session], build: Build, fill: Callable[[int, int], None]
) -> None:
    with session_scope(sessions) as session:
        assert recalibrate(session, actor="test") is None, "an empty catalogue says nothing"
    fill(0, 24)
    with session_scope(sessions) as session:
        weights = Calibration(caption_weight=0.75, lexical_weight=2.5).to_json()
        session.execute(update(Generation).values(calibration=weights))
        made = recalibrate(session, actor="test")
    with session_scope(sessions) as session:
        generations = session.scalars(select(Generation).order_by(Generation.id)).all()
        assert [(g.state, g.index_build_id) for g in generations] == [("retired", build.id), ("live", build.id)]
        live = generations[1]
        assert (live.id, live.calibration["products"]) == (made, 24)
        calibration = Calibration.from_json(live.calibration)
        assert calibration.text.image != Scale()
        assert calibration.text.cut is not None
        assert (calibration.caption_weight, calibration.lexical_weight) == (0.75, 2.5), "what shoppers want is kept"
        fitted = Fitted.from_json(live.feedback)
        assert fitted.image_mean is not None
        assert fitted.image_mean.shape == (build.dim,)
        assert fitted.likes is None, "24 products are too few"


def test_it_is_measured_through_the_heads_of_the_generation_and_of_its_build(
    sessions: sessionmaker[Session], build: Build, fill: Callable[[int, int], None]
) -> None:
    """As numpy does from the raw features; the heads stay with the generation."""
    query, item = QueryHeads(head(1), head(2)), ItemHeads(head(3), head(4))
    fill(0, 24)
    with session_scope(sessions) as session:
        plain = recalibrate(session, actor="test")
        session.execute(update(IndexBuild).values(item_heads=dump_item_heads(item, build.encoder_id)))
        session.execute(update(Generation).values(query_heads=dump_query_heads(query, build.encoder_id)))
    with session_scope(sessions) as session:
        made = recalibrate(session, actor="test")
    with session_scope(sessions) as session:
        live = session.get_one(Generation, made)
        assert live.query_heads is not None
        raw = [_raw(session, statement) for statement in (_IMAGES, _CAPTIONS)]
        assert live.calibration != session.get_one(Generation, plain).calibration
        fitted = Fitted.from_json(live.feedback)
    items = [
        Side(item.adapt("image", raw[0].vectors), raw[0].products),
        Side(item.adapt("caption", raw[1].vectors), raw[1].products),
    ]
    asked = Asked(
        Side(query.adapt("text", raw[1].vectors), raw[1].products),
        Side(query.adapt("image", raw[0].vectors), raw[0].products),
    )
    expected = measure(*items, Calibration.identity().caption_weight, asked)
    found = Calibration.from_json(live.calibration)
    for kind in ("text", "image", "both"):
        for one, other in (
            (found.of(kind).image, expected.of(kind).image),
            (found.of(kind).caption, expected.of(kind).caption),
        ):
            assert (one.mean, one.std) == pytest.approx((other.mean, other.std), abs=1e-5)
    np.testing.assert_allclose(fitted.image_mean, items[0].vectors.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(fitted.caption_mean, items[1].vectors.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(fitted.words_mean, asked.texts.vectors.mean(axis=0), atol=1e-5)


def head(seed: int) -> Head:
    rng = np.random.default_rng(seed)
    shapes = ((32,), (32,), (8, 32), (8,), (32, 8))
    return Head(*(rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes))


def _raw(session: Session, statement: str) -> Side:
    """Rows in the order of products and of their own keys, as a build reads them."""
    rows = session.execute(text(statement)).all()
    return Side(np.stack([np.frombuffer(row.vector, "<f4") for row in rows]), np.array([row.product for row in rows]))


_IMAGES = """
    SELECT i.product, f.vector FROM product_images i JOIN features f ON f.kind = 'image' AND f.subject = i.content_hash
    ORDER BY i.product, i.id
"""
_CAPTIONS = """
    SELECT c.product, f.vector FROM captions c JOIN features f ON f.kind = 'text' AND f.subject = c.text_hash
    ORDER BY c.product, c.id
"""


def test_sweep_recalibrates_only_when_half_as_much_again_is_indexed(
    sessions: sessionmaker[Session], fill: Callable[[int, int], None]
) -> None:
    """Nothing below 20; then at 20; not at 29; at 30."""
    outcomes = []
    before = 0
    for count in (19, 20, 29, 30):
        fill(before, count)
        before = count
        with session_scope(sessions) as session:
            outcomes.append(recalibrate_when_outgrown(session, actor="sweep") is not None)
    assert outcomes == [False, True, False, True]
