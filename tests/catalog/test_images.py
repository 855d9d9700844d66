"""Images are fetched once, retried with patience, parked with a reason, and never hold a product back."""

import base64
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore, content_hash
from backend.catalog.image_rows import list_images, retry_images
from backend.catalog.images import FetchLimits, FetchReport, fetch_due
from backend.catalog.models import Caption, ImageFile, Product, ProductImage
from backend.catalog.repository import delete_product, upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import session_scope
from backend.http import SafeFetcher
from tests.catalog.test_pictures import png_bomb
from tests.fixtures.hostile import Stranger, answer, endless, picture_bytes, redirect

LIMITS = FetchLimits(attempts=3, backoff_s=60.0)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def fetcher(stranger: Stranger) -> SafeFetcher:
    return SafeFetcher(allowed_hosts={stranger.host}, max_bytes=2**20, timeout_s=1.0)


def keep(sessions: sessionmaker[Session], blobs: BlobStore, product_id: str, *images: object) -> None:
    product = ProductIn.model_validate({"id": product_id, "title": f"Product {product_id}", "images": list(images)})
    with session_scope(sessions) as session:
        upsert_products(session, [product], blobs=blobs)


def images(sessions: sessionmaker[Session]) -> list[ProductImage]:
    with sessions() as session:
        return list(session.scalars(select(ProductImage).order_by(ProductImage.id)))


def make_due(sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions) as session:
        session.execute(text("UPDATE product_images SET due_at = now() WHERE state = 'pending'"))


def test_fetch_keeps_bytes_once_and_bumps_the_revision(
    sessions: sessionmaker[Session], blobs: BlobStore, fetcher: SafeFetcher, stranger: Stranger
) -> None:
    data = picture_bytes("JPEG", (64, 48))
    first, second = stranger.serve("/1.jpg", answer(data)), stranger.serve("/2.jpg", answer(data))
    keep(sessions, blobs, "p1", first)
    keep(sessions, blobs, "p2", second, {"data": base64.b64encode(data).decode()})
    assert fetch_due(sessions, blobs, fetcher, LIMITS) == FetchReport(claimed=3, ready=3)
    assert {(image.state, image.content_hash) for image in images(sessions)} == {("ready", content_hash(data))}
    with sessions() as session:
        file = session.scalars(select(ImageFile)).one()
        assert (file.format, file.width, file.height, file.bytes) == ("JPEG", 64, 48, len(data))
        assert dict(session.execute(select(Product.id, Product.revision)).all()) == {"p1": 2, "p2": 2}
    assert fetch_due(sessions, blobs, fetcher, LIMITS) == FetchReport()
    assert stranger.paths() == ["/1.jpg", "/2.jpg"] or stranger.paths() == ["/2.jpg", "/1.jpg"]


def test_hostile_bodies_are_parked_with_a_reason_and_the_product_stays(
    sessions: sessionmaker[Session], blobs: BlobStore, fetcher: SafeFetcher, stranger: Stranger
) -> None:
    good = picture_bytes()
    hostile = {
        "/bomb.png": (answer(png_bomb()), "more pixels than allowed"),
        "/page.png": (answer(b"<html>hello</html>", "image/png"), "not a picture"),
        "/page.html": (answer(b"<html>hello</html>", "text/html"), "not a picture"),
        "/cut.png": (answer(picture_bytes("PNG", (64, 64))[:80]), "cut off"),
        "/endless": (endless, "too large"),
        "/gone.png": (answer(b"", status="404 Not Found"), "404"),
        "/inside.png": (redirect("http://169.254.169.254/latest"), "not on the public internet"),
    }
    urls = [stranger.serve(path, behaviour) for path, (behaviour, _) in hostile.items()]
    urls += ["http://127.0.0.1:9/x.png", "http://10.1.2.3/x.png", stranger.serve("/good.png", answer(good))]
    keep(sessions, blobs, "p1", *urls)
    assert fetch_due(sessions, blobs, fetcher, LIMITS) == FetchReport(claimed=10, ready=1, parked=9)
    found = {image.source: image for image in images(sessions)}
    for path, (_, reason) in hostile.items():
        assert reason in str(found[stranger.url(path)].error), path
    assert found[stranger.url("/good.png")].state == "ready"
    with sessions() as session:
        assert session.scalars(select(Caption.text)).all() == ["Product p1"]
        assert list(blobs.root.rglob("?" * 64)) == [blobs.path(content_hash(good))]


def test_failures_that_may_pass_are_retried_with_doubling_pauses_then_parked(
    sessions: sessionmaker[Session], blobs: BlobStore, fetcher: SafeFetcher, stranger: Stranger
) -> None:
    keep(sessions, blobs, "p1", stranger.serve("/x.png", answer(b"", status="503 Service Unavailable")))
    for attempt, pause_s in ((1, 60), (2, 120)):
        assert fetch_due(sessions, blobs, fetcher, LIMITS) == FetchReport(claimed=1, retried=1)
        image = images(sessions)[0]
        assert (image.state, image.attempts) == ("pending", attempt)
        with sessions() as session:
            left = session.scalar(select(ProductImage.due_at - text("now()")))
        assert timedelta(seconds=pause_s - 10) < left <= timedelta(seconds=pause_s)
        assert fetch_due(sessions, blobs, fetcher, LIMITS) == FetchReport()  # not before its time
        make_due(sessions)
    assert fetch_due(sessions, blobs, fetcher, LIMITS) == FetchReport(claimed=1, parked=1)
    with session_scope(sessions) as session:
        page = list_images(session, "parked")
        assert (page.total, page.images[0].product_id, page.images[0].attempts) == (1, "p1", 3)
        assert "503" in str(page.images[0].error)

    stranger.serve("/x.png", answer(picture_bytes()))
    with session_scope(sessions) as session:
        assert retry_images(session, [page.images[0].id]) == 1
        assert retry_images(session) == 0
    assert fetch_due(sessions, blobs, fetcher, LIMITS) == FetchReport(claimed=1, ready=1)
    assert images(sessions)[0].error is None


def test_a_slow_server_holds_no_other_image_back(
    sessions: sessionmaker[Session], blobs: BlobStore, stranger: Stranger
) -> None:
    """The quick one is ready, for everybody, while the slow one still says nothing."""
    given_up = threading.Event()
    slow = stranger.serve("/slow.png", lambda _connection: given_up.wait(60) and None)
    keep(sessions, blobs, "p1", slow, stranger.serve("/quick.png", answer(picture_bytes())))
    fetcher = SafeFetcher(allowed_hosts={stranger.host}, timeout_s=60)
    fetching = threading.Thread(target=fetch_due, args=(sessions, blobs, fetcher, LIMITS))
    fetching.start()
    while images(sessions)[1].state != "ready" and fetching.is_alive():
        time.sleep(0.05)
    assert fetching.is_alive(), "the quick one was ready after the slow one only"
    given_up.set()
    fetching.join()
    assert [image.state for image in images(sessions)] == ["pending", "ready"]


def test_leased_images_are_left_alone_until_the_lease_ends(
    sessions: sessionmaker[Session], blobs: BlobStore, fetcher: SafeFetcher, stranger: Stranger
) -> None:
    """What a worker that was killed had leased is taken up once; two workers never fetch one image at once."""
    for number in range(20):
        keep(
            sessions, blobs, f"p{number}", stranger.serve(f"/{number}.png", answer(picture_bytes(size=(9, 9 + number))))
        )
    reports: list[FetchReport] = []
    workers = [
        threading.Thread(target=lambda: reports.append(fetch_due(sessions, blobs, fetcher, LIMITS, limit=10)))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert sum(report.ready for report in reports) == 20
    assert len(stranger.paths()) == len(set(stranger.paths())) == 20


def test_images_of_deleted_products_are_not_fetched(
    sessions: sessionmaker[Session], blobs: BlobStore, fetcher: SafeFetcher, stranger: Stranger
) -> None:
    keep(sessions, blobs, "p1", stranger.serve("/x.png", answer(picture_bytes())))
    with session_scope(sessions) as session:
        delete_product(session, "p1")
    assert fetch_due(sessions, blobs, fetcher, LIMITS) == FetchReport()
    assert stranger.requests == []


def test_an_image_that_was_removed_while_it_was_fetched_changes_nothing(
    sessions: sessionmaker[Session], blobs: BlobStore, stranger: Stranger
) -> None:
    arrived, go = threading.Event(), threading.Event()

    def late(connection: object) -> None:
        arrived.set()
        go.wait(120)
        answer(picture_bytes())(connection)  # type: ignore[arg-type]

    keep(sessions, blobs, "p1", stranger.serve("/x.png", late))
    fetcher = SafeFetcher(allowed_hosts={stranger.host}, timeout_s=5)
    fetching = threading.Thread(target=fetch_due, args=(sessions, blobs, fetcher, LIMITS))
    fetching.start()
    arrived.wait(120)
    keep(sessions, blobs, "p1")
    go.set()
    fetching.join(120)
    assert images(sessions) == []
    with sessions() as session:
        assert session.scalar(select(Product.revision)) == 2  # the removal alone


def test_bytes_that_are_gone_are_parked(
    sessions: sessionmaker[Session], blobs: BlobStore, fetcher: SafeFetcher
) -> None:
    keep(sessions, blobs, "p1", f"blob:{'0' * 64}")
    assert fetch_due(sessions, blobs, fetcher, LIMITS) == FetchReport(claimed=1, parked=1)
    assert "send it again" in str(images(sessions)[0].error)


def test_list_images_pages_through_all(sessions: sessionmaker[Session], blobs: BlobStore) -> None:
    keep(sessions, blobs, "p1", *(f"https://shop.example/{number}.png" for number in range(5)))
    with sessions() as session:
        first = list_images(session, "pending", limit=3)
        second = list_images(session, "pending", after=first.cursor or 0, limit=3)
    assert [len(first.images), len(second.images), first.total, second.cursor] == [3, 2, 5, None]
