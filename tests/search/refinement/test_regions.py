"""Boxes on pictures: cut out upright, encoded once, and still there when their picture is not."""

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from redis import Redis
from sqlalchemy import delete
from sqlalchemy.orm import Session

from backend.blobs import content_hash
from backend.catalog.models import Feature
from backend.catalog.pictures import decode, upright_size
from backend.db import session_scope
from backend.generations.serving import Serving
from backend.ml.heads import Head, QueryHeads
from backend.search.query_encoders import QueryEncoders
from backend.search.query_vectors import PictureLimits
from backend.search.refinement.regions import DrawnBox, NoSuchPicture, PictureGone, RegionCrops, crop, find_pictures
from backend.search.vector_cache import VectorCache
from tests.search.conftest import COLOURS, Shop, png

HALVES = Image.new("RGB", (60, 40), COLOURS["red"])
HALVES.paste(COLOURS["blue"], (30, 0, 60, 40))


def as_png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def halves(shop: Shop) -> str:
    """Content hash of a picture that is red on the left and blue on the right."""
    shop.add({"id": "halves"}, pictures={"halves": [png(COLOURS["grey"]), as_png(HALVES)]})
    return shop.blobs.put(as_png(HALVES))


@pytest.fixture
def crops(shop: Shop, encoders: QueryEncoders, redis_url: str) -> RegionCrops:
    """With an empty cache."""
    cache = VectorCache(Redis.from_url(redis_url))
    return RegionCrops(encoders, cache, shop.sessions, shop.blobs, PictureLimits(1 << 20, 1 << 20))


@pytest.fixture
def session(shop: Shop) -> Iterator[Session]:
    with session_scope(shop.sessions) as session:
        yield session


def test_a_box_becomes_the_vector_of_the_pixels_it_holds(
    shop: Shop, crops: RegionCrops, serving: Serving, halves: str
) -> None:
    boxes = [DrawnBox(halves, (0.0, 0.0, 0.5, 1.0), 1.0), DrawnBox(halves, (0.5, 0.0, 1.0, 1.0), -0.5)]
    found = crops.regions(serving, boxes)
    expected = shop.encoder.encode_images([Image.new("RGB", (30, 40), COLOURS[side]) for side in ("red", "blue")])
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)
    assert found.grades.tolist() == [1.0, -0.5]


def test_what_a_box_holds_is_asked_through_the_head_of_pictures(
    shop: Shop, crops: RegionCrops, serving: Serving, halves: str
) -> None:
    """It is a query by picture; what is kept of it stays as the encoder gave it."""
    rng, dim = np.random.default_rng(4), serving.dim
    shapes = ((dim,), (dim,), (4, dim), (4,), (dim, 4))
    head = Head(*(rng.standard_normal(shape).astype(np.float32) for shape in shapes))
    box = [DrawnBox(halves, (0.0, 0.0, 0.5, 1.0), 1.0)]
    adapted = crops.regions(replace(serving, query_heads=QueryHeads(image=head)), box).vectors
    raw = crops.regions(replace(serving, query_heads=QueryHeads(text=head)), box).vectors
    np.testing.assert_allclose(raw, shop.encoder.encode_images([Image.new("RGB", (30, 40), COLOURS["red"])]), atol=1e-5)
    np.testing.assert_allclose(adapted, head(raw), atol=1e-6)
    assert (raw * adapted).sum() < 0.99


def test_a_box_that_was_encoded_is_known_when_its_picture_and_the_cache_are_gone(
    shop: Shop, crops: RegionCrops, serving: Serving, encoders: QueryEncoders, redis_url: str
) -> None:
    picture = shop.blobs.put(png(COLOURS["green"], 7))
    box = DrawnBox(picture, (0.1, 0.1, 0.9, 0.9), 1.0)
    before = crops.regions(serving, [box]).vectors
    shop.blobs.path(picture).unlink()
    Redis.from_url(redis_url).flushdb()
    emptied = VectorCache(Redis.from_url(redis_url))
    later = RegionCrops(encoders, emptied, shop.sessions, shop.blobs, PictureLimits(1 << 20, 1 << 20))
    np.testing.assert_array_equal(later.regions(serving, [box]).vectors, before)
    with pytest.raises(PictureGone, match="no longer kept"):
        later.regions(serving, [DrawnBox(picture, (0.2, 0.2, 0.8, 0.8), 1.0)])
    with session_scope(shop.sessions) as session:
        session.execute(delete(Feature).where(Feature.kind == "query"))


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((0.0, 0.0, 1.0, 1.0), (60, 40)),
        ((0.999, 0.999, 1.0, 1.0), (1, 1)),  # thinner than a pixel, in the last corner
        ((0.26, 0.26, 0.49, 0.49), (15, 10)),  # 15.6 to 29.4 and 10.4 to 19.6: every pixel that is touched
    ],
)
def test_a_crop_holds_every_pixel_that_the_box_touches(
    box: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    assert crop(HALVES, box).size == size


def test_pictures_are_found_by_their_place_and_a_place_too_far_says_what_there_is(
    session: Session, halves: str
) -> None:
    assert find_pictures(session.connection(), [("halves", 1), ("halves", 0)]) == [
        halves,
        content_hash(png(COLOURS["grey"])),
    ]
    with pytest.raises(NoSuchPicture) as caught:
        find_pictures(session.connection(), [("halves", 2)])
    assert (caught.value.found, caught.value.expected) == ({"product_id": "halves", "image": 2}, "an image below 2")
    with pytest.raises(NoSuchPicture) as caught:
        find_pictures(session.connection(), [("nothing", 0)])
    assert caught.value.expected == "a product with a picture"


def test_boxes_on_several_pictures_keep_their_order(
    shop: Shop, encoders: QueryEncoders, serving: Serving, halves: str, redis_url: str
) -> None:
    large = Image.new("RGB", (3000, 2000), COLOURS["green"])
    green = shop.blobs.put(as_png(large))
    whole = (0.0, 0.0, 1.0, 1.0)
    boxes = [DrawnBox(halves, (0.0, 0.0, 0.5, 1.0), 1.0), DrawnBox(green, whole, 1.0), DrawnBox(halves, whole, 0.5)]
    cache = VectorCache(Redis.from_url(redis_url))
    roomy = RegionCrops(encoders, cache, shop.sessions, shop.blobs, PictureLimits(1 << 24, 1 << 24))
    together = roomy.regions(serving, boxes).vectors
    alone = [roomy.regions(serving, [box]).vectors[0] for box in boxes]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(
        together[1], shop.encoder.encode_images([large.resize((32, 32))])[0], atol=1e-4, err_msg="a plain one"
    )


def test_boxes_steer_the_patches_they_touch_on_each_picture(
    crops: RegionCrops, serving: Serving, shop: Shop, halves: str
) -> None:
    grey = shop.blobs.put(png(COLOURS["grey"], 3))
    masks = crops.steer(
        serving,
        [
            DrawnBox(halves, (0.0, 0.0, 0.49, 1.0), 1.0),
            DrawnBox(halves, (0.51, 0.0, 1.0, 1.0), -1.0),
            DrawnBox(grey, (0.0, 0.0, 0.1, 0.1), 0.5),
            DrawnBox("f" * 64, (0.0, 0.0, 1.0, 1.0), 1.0),  # gone
        ],
    )
    assert masks.keys() == {halves, grey}
    # 60 x 40 pixels are seen from 1/6 to 5/6 of their width: the middle is the border of the second and third patch
    assert masks[halves][1:].reshape(4, 4).tolist() == [[1.0, 1.0, -1.0, -1.0]] * 4
    assert masks[grey][1:].reshape(4, 4)[0].tolist() == [0.5, 0.0, 0.0, 0.0]
    assert masks[grey][0] == 0.0, "the class token belongs to no box"


def test_the_size_of_a_picture_is_that_of_what_is_seen_upright() -> None:
    lying = Image.new("RGB", (60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    lying.save(out, "JPEG", exif=exif)
    assert upright_size(out.getvalue()) == decode(out.getvalue()).size == (40, 60)
    assert upright_size(as_png(lying)) == (60, 40)
