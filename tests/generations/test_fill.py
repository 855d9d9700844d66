"""Filling a build in bulk: all of it, whatever stops it in between, and never more than a page at a time."""

from collections.abc import Callable

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.repository import delete_product
from backend.db import session_scope
from backend.generations import fill, index_writer
from backend.generations.audit import compare
from backend.generations.features import EmbedStage
from backend.generations.fill import fill_from_features
from backend.generations.index_writer import Written
from backend.generations.ingest import never
from backend.generations.models import IndexRow
from backend.generations.repository import Build
from backend.ml.encoder import Encoder
from backend.vector_index import VectorIndex
from tests.generations.conftest import Shop, picture

PRODUCTS = 7


class Crash(Exception):
    """Stands for the death of the process at this point."""


@pytest.fixture
def embed(sessions: sessionmaker[Session], shop: Shop, tiny_encoder: Encoder, build: Build) -> Callable[[], None]:
    def run() -> None:
        stage = EmbedStage(sessions, shop.blobs, tiny_encoder, tokens="off", batch=8, max_pixels=10**6)
        stage.run([build], more=lambda: False, stop=lambda: False, on_stored=lambda _: None)

    return run


@pytest.fixture
def full(shop: Shop, embed: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ("PAGE", "LITE_PAGE"):
        monkeypatch.setattr(fill, size, 2)
    for place in range(PRODUCTS):
        shop.put(f"p{place}", pictures=(picture(place),))
    embed()


def assert_agrees(sessions: sessionmaker[Session], index: VectorIndex, build: Build) -> None:
    with session_scope(sessions) as session:
        report = compare(session, index, build)
    assert report.agrees, report
    assert report.products == PRODUCTS


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("stretch_s", [0.0, 60.0])
def test_writes_all_that_is_due_once(
    sessions: sessionmaker[Session], index: VectorIndex, build: Build, stretch_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "STRETCH_S", stretch_s)
    told: list[Written] = []
    assert fill_from_features(sessions, index, build, never, told.append) == Written(PRODUCTS, rows=2 * PRODUCTS)
    assert sum(told, Written()) == Written(PRODUCTS, rows=2 * PRODUCTS)
    assert_agrees(sessions, index, build)
    assert fill_from_features(sessions, index, build, never) == Written()


@pytest.mark.usefixtures("full")
def test_leaves_what_has_no_features_and_removes_what_was_deleted(
    sessions: sessionmaker[Session], shop: Shop, index: VectorIndex, build: Build
) -> None:
    fill_from_features(sessions, index, build, never)
    waiting = shop.put("late", pictures=(picture(99),))
    with session_scope(sessions) as session:
        delete_product(session, "p3")
    assert fill_from_features(sessions, index, build, never) == Written(1, removed=1)
    with session_scope(sessions) as session:
        recorded = set(session.scalars(select(IndexRow.product)))
    assert waiting not in recorded
    assert len(recorded) == PRODUCTS - 1


@pytest.mark.usefixtures("full")
def test_goes_on_where_it_was_stopped(sessions: sessionmaker[Session], index: VectorIndex, build: Build) -> None:
    asked = iter([False, True, True])
    first = fill_from_features(sessions, index, build, lambda: next(asked))
    assert 0 < first.products < PRODUCTS
    rest = fill_from_features(sessions, index, build, never)
    assert (first + rest).products == PRODUCTS
    assert_agrees(sessions, index, build)


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("step", ["_upsert", "_delete_gone"])
def test_repairs_what_a_crash_left(
    sessions: sessionmaker[Session], index: VectorIndex, build: Build, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = getattr(index_writer, step), iter(range(100))

    def dying(*arguments: object) -> object:
        if next(calls) == 2:
            raise Crash
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(index_writer, step, dying)
        with pytest.raises(Crash):
            fill_from_features(sessions, index, build, never)
    fill_from_features(sessions, index, build, never)
    assert_agrees(sessions, index, build)
