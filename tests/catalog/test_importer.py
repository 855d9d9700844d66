"""An import accounts for every row, can be repeated, and never deletes what it could not read."""

import csv
import json
import random
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from backend.blobs import BlobStore
from backend.catalog.feeds.detect import open_feed
from backend.catalog.feeds.pictures import open_pictures
from backend.catalog.images import FetchLimits, fetch_due
from backend.catalog.importer import Importer, ImportOptions, ImportReport, PhotographsRefused, photographs_refused
from backend.catalog.models import ImportRun, Product, ProductImage
from backend.catalog.reads import get_product
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn
from backend.cli import app
from backend.db import session_scope
from backend.http import SafeFetcher
from backend.queue import INGEST_DUE
from tests.catalog.test_feeds import FEEDS
from tests.fixtures.hostile import picture_bytes


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def write(tmp_path: Path, *rows: dict[str, Any] | str, name: str = "feed.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def run(sessions: sessionmaker[Session], blobs: BlobStore, path: Path, **options: Any) -> ImportReport:
    return Importer(sessions, blobs, ImportOptions(**options)).run(open_feed(path))


def alive(sessions: sessionmaker[Session]) -> list[str]:
    with sessions() as session:
        return list(session.scalars(select(Product.id).where(Product.deleted_at.is_(None)).order_by(Product.id)))


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": f"p{number}", "title": f"Product {number}"} for number in numbers]


def test_ten_thousand_rows_with_one_in_a_hundred_broken(
    sessions: sessionmaker[Session], blobs: BlobStore, tmp_path: Path
) -> None:
    """Written down beforehand: which rows are broken, and how."""
    breakages: list[dict[str, Any]] = [
        {"price": "cheap"},
        {"title": ""},
        {"availability": "perhaps"},
        {"currency": "EURO"},
    ]
    random.seed(3)
    broken = set(random.sample(range(10_000), 100))
    lines = [
        json.dumps(
            {"id": f"p{i}", "title": f"Product {i}", "price": i % 90} | (breakages[i % 4] if i in broken else {})
        )
        for i in range(10_000)
    ]
    notes: list[dict[str, Any]] = []
    importer = Importer(sessions, blobs, ImportOptions(currency="eur"), note=notes.append)
    report = importer.run(open_feed(write(tmp_path, *lines)))
    assert (report.counts["created"], report.counts["rejected"], report.problem) == (9900, 100, None)
    assert {note["id"] for note in notes} == {f"p{i}" for i in broken}
    assert {note["line"] for note in notes} == {i + 1 for i in broken}
    assert {(note["field"], note["found"]) for note in notes} == {
        ("price", "cheap"),
        ("title", None),
        ("availability", "perhaps"),
        ("currency", "EURO"),
    }
    with sessions() as session:
        run_row = session.scalars(select(ImportRun)).one()
        assert run_row.counts == {"created": 9900, "rejected": 100}
        assert (len(run_row.rejected), run_row.finished_at is not None) == (100, True)
        assert session.scalar(select(func.count()).select_from(Product).where(Product.currency == "EUR")) == 9900


def test_importing_again_changes_nothing(sessions: sessionmaker[Session], blobs: BlobStore, tmp_path: Path) -> None:
    path = write(tmp_path, *rows(1, 2, 3))
    assert run(sessions, blobs, path).counts == {"created": 3}
    assert run(sessions, blobs, path).counts == {"unchanged": 3}
    with sessions() as session:
        assert session.scalars(select(Product.revision)).all() == [1, 1, 1]


def test_full_sync_deletes_what_a_whole_feed_does_not_name(
    sessions: sessionmaker[Session], blobs: BlobStore, tmp_path: Path
) -> None:
    run(sessions, blobs, write(tmp_path, *rows(1, 2, 3, 4, 5)))
    broken = {"id": "p2", "title": "T", "price": "cheap"}  # rejected, but named: it stays as it was
    report = run(sessions, blobs, write(tmp_path, *rows(1, 4, 6), broken), mode="full-sync")
    assert report.counts == {"unchanged": 2, "created": 1, "rejected": 1, "deleted": 2}
    assert alive(sessions) == ["p1", "p2", "p4", "p6"]


def test_full_sync_refuses_to_delete_more_than_half(
    sessions: sessionmaker[Session], blobs: BlobStore, tmp_path: Path
) -> None:
    run(sessions, blobs, write(tmp_path, *rows(1, 2, 3, 4, 5)))
    path = write(tmp_path, *rows(1, 2))
    assert "3 of 5 products" in str(run(sessions, blobs, path, mode="full-sync").problem)
    assert len(alive(sessions)) == 5
    assert run(sessions, blobs, path, mode="full-sync", delete_many=True).problem is None
    assert alive(sessions) == ["p1", "p2"]


@pytest.mark.parametrize("tail", ['{"id": "p2", "tit', "not json at all"])
def test_full_sync_deletes_nothing_when_a_row_cannot_be_read(
    sessions: sessionmaker[Session], blobs: BlobStore, tmp_path: Path, tail: str
) -> None:
    run(sessions, blobs, write(tmp_path, *rows(1, 2, 3)))
    report = run(sessions, blobs, write(tmp_path, *rows(1, 3), tail), mode="full-sync")
    assert "without a readable id" in str(report.problem)
    assert alive(sessions) == ["p1", "p2", "p3"]


def test_full_sync_deletes_nothing_when_the_feed_breaks_off(
    sessions: sessionmaker[Session], blobs: BlobStore, tmp_path: Path
) -> None:
    run(sessions, blobs, write(tmp_path, *rows(1, 2, 3)))
    xml = "<rss><item><id>p1</id><title>New title</title></item><item><id>p9</id><tit"
    report = run(sessions, blobs, write(tmp_path, xml, name="feed.xml"), mode="full-sync")
    assert "behind item 1" in str(report.problem)
    assert report.counts == {"updated": 1}  # what was read before it broke is kept
    assert alive(sessions) == ["p1", "p2", "p3"]


def test_a_product_changed_while_the_feed_is_read_stays_as_it_is(
    sessions: sessionmaker[Session], blobs: BlobStore, tmp_path: Path
) -> None:
    importer = Importer(sessions, blobs, ImportOptions(mode="full-sync", delete_many=True))
    later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    changed = [ProductIn(id=name, title="From a webhook", updated_at=later) for name in ("p1", "p2")]  # type: ignore[arg-type]
    with session_scope(sessions) as session:
        upsert_products(session, changed, blobs=blobs)
    report = importer.run(open_feed(write(tmp_path, *rows(1))))
    assert report.counts == {"stale": 2}  # p1 by its row, p2 by the deletion
    assert alive(sessions) == ["p1", "p2"]


def test_pictures_beside_the_feed_are_kept_and_missing_ones_told(
    sessions: sessionmaker[Session], blobs: BlobStore, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.png", picture_bytes())
    feed = write(tmp_path, "id,title,image\n1,One,a.png\n2,Two,none.png\n3,Three,../../etc/passwd", name="feed.csv")
    notes: list[dict[str, Any]] = []
    options = ImportOptions(pictures=open_pictures(tmp_path / "images.zip", 10**6))
    report = Importer(sessions, blobs, options, note=notes.append).run(open_feed(feed))
    assert report.counts == {"created": 3, "images_missing": 2}
    assert [(note["line"], note["kind"], note["found"]) for note in notes] == [
        (3, "image_missing", "none.png"),
        (4, "image_missing", "../../etc/passwd"),
    ]
    assert fetch_due(sessions, blobs, SafeFetcher(), FetchLimits()).ready == 1
    with sessions() as session:
        assert session.scalars(select(ProductImage.state)).all() == ["ready"]


def test_shopify_feed_end_to_end(sessions: sessionmaker[Session], blobs: BlobStore) -> None:
    report = run(sessions, blobs, FEEDS / "shopify.csv", currency="EUR")
    assert report.counts == {"created": 2, "skipped": 1}
    with sessions() as session:
        scarf = get_product(session, "wool-scarf")
    assert scarf is not None
    assert (scarf.price, scarf.currency, scarf.availability) == (29.9, "EUR", "in_stock")
    assert scarf.captions == ["orange scarf folded", "a scarf on a hook"]
    assert len(scarf.images) == 4


def test_merchant_feed_end_to_end(sessions: sessionmaker[Session], blobs: BlobStore) -> None:
    report = run(sessions, blobs, FEEDS / "merchant.xml")
    assert report.counts == {"created": 2, "rejected": 1}
    with sessions() as session:
        toy = get_product(session, "TOY")
        assert session.scalar(text("SELECT count(*) FROM variants WHERE lower(sku) = 'toy-l'")) == 1
    assert toy is not None
    assert (toy.price, toy.currency, toy.availability) == (9.99, "EUR", "in_stock")


@pytest.mark.parametrize(("name", "created"), [("products.jsonl", 3), ("shopify-products.csv", 2)])
def test_examples_are_imported_whole(
    sessions: sessionmaker[Session], blobs: BlobStore, name: str, created: int
) -> None:
    report = run(sessions, blobs, Path(__file__).parents[2] / "examples" / name, currency="EUR")
    assert (report.counts["created"], report.counts["rejected"], report.problem) == (created, 0, None)


def test_photographs_are_refused_with_the_command_that_helps(
    sessions: sessionmaker[Session], blobs: BlobStore, tmp_path: Path
) -> None:
    feed = write(tmp_path, {"id": "p1", "title": "T", "images": ["https://shop.example/1.jpg"]})
    with pytest.raises(PhotographsRefused, match="morelike encoder fetch"):
        run(sessions, blobs, feed, encoder_drawings_only=True)
    assert alive(sessions) == []
    assert run(sessions, blobs, feed, encoder_drawings_only=True, source_is_demo=True).counts == {"created": 1}
    assert run(sessions, blobs, write(tmp_path, *rows(2)), encoder_drawings_only=True).counts == {"created": 1}


@pytest.mark.parametrize(
    ("drawings_only", "has_images", "is_demo", "refused"),
    [(True, True, False, True), (True, True, True, False), (True, False, False, False), (False, True, False, False)],
)
def test_rule_for_photographs(drawings_only: bool, has_images: bool, is_demo: bool, refused: bool) -> None:
    said = photographs_refused(encoder_drawings_only=drawings_only, has_images=has_images, source_is_demo=is_demo)
    assert said is refused


@pytest.fixture
def command(
    database_url: str, redis_url: str, milvus_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CliRunner:
    """The command line, pointed at this test's stores."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("MILVUS_URI", milvus_uri)
    monkeypatch.setenv("MORELIKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MORELIKE_ENCODER", "demo")
    return CliRunner()


def test_command_imports_reports_and_says_by_its_exit_code(
    command: CliRunner, sessions: sessionmaker[Session], tmp_path: Path, redis_url: str
) -> None:
    feed = write(tmp_path, "id,title,price\n1,One,5\n2,Two,cheap", name="feed.csv")
    for report in (tmp_path / "report.jsonl", tmp_path / "report.csv"):
        result = command.invoke(app, ["import", str(feed), "--no-wait", "--currency", "EUR", "--report", str(report)])
        assert result.exit_code == 3, result.output
        assert "1 rejected" in result.output
        assert "line 3, product 2: price: found 'cheap'" in result.output
    assert json.loads((tmp_path / "report.jsonl").read_text())["found"] == "cheap"
    table = list(csv.DictReader((tmp_path / "report.csv").open()))
    assert [(row["line"], row["id"], row["kind"], row["field"]) for row in table] == [("3", "2", "rejected", "price")]
    assert alive(sessions) == ["1"]
    assert Redis.from_url(redis_url).exists(f"nudge:{INGEST_DUE}")
    assert command.invoke(app, ["import", str(write(tmp_path, *rows(1))), "--no-wait"]).exit_code == 0


def test_command_stops_before_photographs(command: CliRunner, sessions: sessionmaker[Session], tmp_path: Path) -> None:
    feed = str(write(tmp_path, {"id": "p1", "title": "T", "images": ["https://shop.example/1.jpg"]}))
    stopped = command.invoke(app, ["import", feed, "--no-wait"])
    assert stopped.exit_code == 1
    assert "morelike encoder fetch ViT-B-32:laion2b_s34b_b79k" in stopped.output
    assert alive(sessions) == []
    assert command.invoke(app, ["import", feed, "--no-wait", "--allow-demo-encoder"]).exit_code == 0


def test_command_says_when_the_feed_is_none(command: CliRunner, tmp_path: Path) -> None:
    missing = command.invoke(app, ["import", str(tmp_path / "none.csv"), "--no-wait"])
    assert (missing.exit_code, "no such feed" in missing.output) == (1, True)


def test_command_lists_parked_images_and_tries_them_again(
    command: CliRunner, sessions: sessionmaker[Session], blobs: BlobStore
) -> None:
    product = ProductIn.model_validate({"id": "p1", "title": "T", "images": ["https://a.example/1.jpg"]})
    with session_scope(sessions) as session:
        upsert_products(session, [product], blobs=blobs)
        session.execute(text("UPDATE product_images SET state = 'parked', error = 'answered 404'"))
    listed = command.invoke(app, ["images", "parked"])
    assert ("p1" in listed.output, "1 in all" in listed.output) == (True, True)
    assert "1 images will be tried again" in command.invoke(app, ["images", "retry"]).output
    with sessions() as session:
        assert session.scalars(select(ProductImage.state)).all() == ["pending"]
