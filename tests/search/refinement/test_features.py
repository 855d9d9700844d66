"""Vectors of products: remembered while a product has the same pictures and captions, and never beyond that."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select, update

from backend.catalog.models import Feature, Product, ProductImage
from backend.db import session_scope
from backend.generations.serving import Serving
from backend.search.refinement.features import ItemVectors
from tests.search.conftest import COLOURS, Shop, png


@pytest.fixture(scope="module")
def numbers(shop: Shop) -> dict[str, int]:
    pictures = {"two": [png(COLOURS["red"]), png(COLOURS["blue"])], "one": [png(COLOURS["green"])]}
    shop.add({"id": "two"}, {"id": "one"}, {"id": "none"}, pictures=pictures)
    with session_scope(shop.sessions) as session:
        return {row.id: row.number for row in session.execute(select(Product.id, Product.number))}


def products(shop: Shop, remembered: int = 10) -> ItemVectors:
    return ItemVectors(shop.sessions.kw["bind"], remembered)


def forget_vectors(shop: Shop) -> None:
    """What is read from PostgreSQL from now on is nothing like what was read before."""
    with session_scope(shop.sessions) as session:
        session.execute(update(Feature).values(vector=np.zeros(32, dtype="<f4").tobytes()))


@pytest.fixture
def vectors(shop: Shop) -> dict[tuple[str, str], bytes]:
    """Features by kind and hash; they are as they were again after the test."""
    with session_scope(shop.sessions) as session:
        return {(row.kind, row.subject): row.vector for row in session.scalars(select(Feature))}


@pytest.fixture(autouse=True)
def _restored(shop: Shop, vectors: dict[tuple[str, str], bytes]) -> Iterator[None]:
    yield
    with session_scope(shop.sessions) as session:
        for row in session.scalars(select(Feature)):
            row.vector = vectors[row.kind, row.subject]


def test_rows_follow_a_product_s_pictures_and_a_product_without_one_has_none(
    shop: Shop, serving: Serving, numbers: dict[str, int], vectors: dict[tuple[str, str], bytes]
) -> None:
    found = products(shop).of(serving, ["two", "none", "never heard of"])
    assert set(found) == {"two", "none"}
    assert found["none"].images.shape == (0, 32)
    assert [vectors["image", one] for one in found["two"].pictures] == [row.tobytes() for row in found["two"].images]
    assert found["two"].number == numbers["two"]


def test_what_was_read_once_is_not_read_again_by_id_or_by_number(
    shop: Shop, serving: Serving, numbers: dict[str, int]
) -> None:
    known = products(shop)
    before = known.of(serving, ["one", "two"])
    forget_vectors(shop)
    after = known.of(serving, ["two", "one"])
    assert all(after[one] is before[one] for one in ("one", "two"))
    assert known.numbered(serving, np.array([numbers["two"]]))["two"] is before["two"]
    assert not products(shop).of(serving, ["two"])["two"].images.any(), "who does not remember reads what is there"


def test_a_picture_that_goes_or_changes_places_is_seen_at_once(
    shop: Shop, serving: Serving, numbers: dict[str, int]
) -> None:
    known = products(shop)
    red, blue = known.of(serving, ["two"])["two"].images
    swapped = select(ProductImage).filter_by(product=numbers["two"]).order_by(ProductImage.position.desc())
    with session_scope(shop.sessions) as session:
        first, second = session.scalars(swapped)
        first.position, second.position = 5, 6
    np.testing.assert_array_equal(known.of(serving, ["two"])["two"].images, [blue, red])
    with session_scope(shop.sessions) as session:
        session.scalars(swapped).first().state = "parked"  # type: ignore[union-attr]
    np.testing.assert_array_equal(known.of(serving, ["two"])["two"].images, [blue])


@pytest.mark.usefixtures("numbers")
def test_only_so_many_are_remembered_and_a_build_does_not_answer_for_another(shop: Shop, serving: Serving) -> None:
    known = products(shop, remembered=1)
    for product_id in ("two", "one"):
        known.of(serving, [product_id])
    forget_vectors(shop)
    assert known.of(serving, ["one"])["one"].images.any(), "the one read last is remembered"
    assert not known.of(serving, ["two"])["two"].images.any()
    another = replace(serving, build_id=serving.build_id + 1)
    both = products(shop, remembered=2)
    assert both.of(serving, ["one"])["one"] is not both.of(another, ["one"])["one"]
    assert both.of(serving, ["one"])["one"] is both.of(serving, ["one"])["one"]
