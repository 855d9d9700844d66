"""From rows to the index, through all three stages at once, on real components."""

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.images import FetchLimits
from backend.catalog.models import Product, ProductImage
from backend.catalog.repository import delete_product, upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import session_scope
from backend.generations.audit import compare
from backend.generations.due import anything_due
from backend.generations.ingest import Ingest, IngestReport
from backend.generations.repository import Build
from backend.http import SafeFetcher
from backend.ml.encoder import Encoder
from backend.vector_index import IndexUnavailable, VectorIndex
from tests.generations.conftest import picture


@pytest.fixture
def make(
    sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, tiny_encoder: Encoder, build: Build
) -> Callable[..., Ingest]:
    assert build.encoder_id == tiny_encoder.id

    def ingest(index: VectorIndex = index) -> Ingest:
        return Ingest(sessions, blobs, SafeFetcher(), tiny_encoder, index, FetchLimits(), "int8", embed_batch=16)

    return ingest


def upsert(sessions: sessionmaker[Session], blobs: BlobStore, count: int, **fields: object) -> None:
    """``count`` products with a picture each, whose bytes lie in the blob store and are still to be fetched."""
    products = [
        ProductIn.model_validate({"id": f"p{n}", "title": f"product {n}", "images": [_stored(blobs, n)]} | fields)
        for n in range(count)
    ]
    with session_scope(sessions) as session:
        upsert_products(session, products, blobs=blobs)


def _stored(blobs: BlobStore, number: int) -> str:
    return f"blob:{blobs.put(picture(number))}"


def agrees(sessions: sessionmaker[Session], index: VectorIndex, build: Build) -> bool:
    with session_scope(sessions) as session:
        return compare(session, index, build).agrees and not anything_due(session)


def test_run_takes_products_from_upsert_to_index(
    make: Callable[..., Ingest], sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, build: Build
) -> None:
    upsert(sessions, blobs, 50)
    seen: list[IngestReport] = []
    report = make().run_due(on_progress=seen.append)
    assert (report.fetched, report.images, report.texts) == (50, 50, 50)
    assert report.products >= 50  # a product is written with its words first, and again with its picture
    assert seen[-1] == report
    assert (index.count(build.image_collection), index.count(build.caption_collection)) == (50, 50)
    assert agrees(sessions, index, build)


def test_run_with_nothing_due_does_nothing(make: Callable[..., Ingest]) -> None:
    assert make().run_due() == IngestReport()


def test_price_change_and_deletion_reach_the_index_and_embed_nothing(
    make: Callable[..., Ingest], sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, build: Build
) -> None:
    upsert(sessions, blobs, 10)
    make().run_due()
    upsert(sessions, blobs, 8, price=5, availability="out_of_stock")
    with session_scope(sessions) as session:
        delete_product(session, "p9")
    assert make().run_due() == IngestReport(products=9, removed=1, rows=16)
    assert agrees(sessions, index, build)


def test_image_that_cannot_be_fetched_leaves_its_product_found_by_words(
    make: Callable[..., Ingest], sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, build: Build
) -> None:
    with session_scope(sessions) as session:
        given = {"id": "p", "title": "p", "images": ["http://127.0.0.1:1/loopback.png"]}
        upsert_products(session, [ProductIn.model_validate(given)], blobs=blobs)
    report = make().run_due()
    assert (report.parked, report.images, report.texts) == (1, 0, 1)
    assert (index.count(build.image_collection), index.count(build.caption_collection)) == (0, 1)
    assert agrees(sessions, index, build)


def test_run_that_is_stopped_leaves_the_rest_due(
    make: Callable[..., Ingest], sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, build: Build
) -> None:
    upsert(sessions, blobs, 160)  # more than batches that are under way
    stop = threading.Event()

    def stop_early(report: IngestReport) -> None:
        if report.images:
            stop.set()

    assert make().run_due(stop.is_set, stop_early).images < 160
    make().run_due()
    assert agrees(sessions, index, build)


def test_embedding_goes_on_while_milvus_is_down_and_nothing_is_embedded_again(
    make: Callable[..., Ingest], sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, build: Build
) -> None:
    upsert(sessions, blobs, 20)
    with pytest.raises(IndexUnavailable):
        make(VectorIndex("http://127.0.0.1:9")).run_due()
    report = make().run_due()
    assert (report.images, report.texts, report.products) == (0, 0, 20)
    assert agrees(sessions, index, build)


def test_two_workers_at_once_end_in_agreement(
    make: Callable[..., Ingest], sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, build: Build
) -> None:
    upsert(sessions, blobs, 80)
    reports: list[IngestReport] = []
    workers = [threading.Thread(target=lambda: reports.append(make().run_due())) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range(20):  # and somebody changes prices meanwhile
        upsert(sessions, blobs, 10, price=number + 1)
    for worker in workers:
        worker.join()
    reports.append(make().run_due())
    assert sum(report.images for report in reports) == 80
    assert sum(report.texts for report in reports) == 80
    assert agrees(sessions, index, build)


def test_product_put_in_the_middle_of_an_import_does_not_wait_for_its_end(
    make: Callable[..., Ingest], sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, build: Build
) -> None:
    upsert(sessions, blobs, 300)
    order: list[str] = []
    added = threading.Event()

    def watch(report: IngestReport) -> None:
        if report.images and not added.is_set():
            added.set()
            with session_scope(sessions) as session:
                given = {"id": "late", "title": "late", "images": [_stored(blobs, 999)]}
                upsert_products(session, [ProductIn.model_validate(given)], blobs=blobs)
        if added.is_set() and "late" not in order:
            with session_scope(sessions) as session:
                ready = session.scalar(
                    select(ProductImage.state)
                    .join(Product, Product.number == ProductImage.product)
                    .where(Product.id == "late")
                )
            order.append("late" if ready == "ready" else "other")

    began = time.monotonic()
    make().run_due(on_progress=watch)
    assert added.is_set()
    assert "late" in order, f"{len(order)} reports in {time.monotonic() - began:.1f} s"
    assert agrees(sessions, index, build)
