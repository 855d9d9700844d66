"""Whatever a feed holds, its import ends with a report that accounts for every row, and raises nothing."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.feeds.detect import open_feed
from backend.catalog.feeds.drafts import FeedBroken
from backend.catalog.importer import Importer, ImportOptions, ImportReport
from tests.fuzz.strategies import SHOPIFY_COLUMNS, altered, json_lines, rows, texts, values

FEEDS = Path(__file__).parent.parent / "catalog" / "feeds"
EXAMPLES = int(os.environ.get("MORELIKE_FUZZ_EXAMPLES", "40"))
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


class Shop:
    """Imports files into a real catalogue."""

    def __init__(self, sessions: sessionmaker[Session], folder: Path) -> None:
        self._sessions, self._folder, self._blobs = sessions, folder, BlobStore(folder / "blobs")

    def imported(self, name: str, content: bytes) -> ImportReport | None:
        """The report of importing ``content``; None where it is in no format at all."""
        path = self._folder / name
        path.write_bytes(content)
        try:
            feed = open_feed(path)
        except FeedBroken:
            return None
        return Importer(self._sessions, self._blobs, ImportOptions()).run(feed)


@pytest.fixture
def shop(sessions: sessionmaker[Session], tmp_path: Path) -> Shop:
    return Shop(sessions, tmp_path)


def accounted(report: ImportReport | None) -> int:
    """Rows that the report speaks of."""
    assert report is not None
    assert report.problem is None
    return sum(count for name, count in report.counts.items() if name != "images_missing")


@FUZZ
@given(found=rows())
def test_json_lines_of_any_values(shop: Shop, found: list[dict[str, Any]]) -> None:
    assert 1 <= accounted(shop.imported("f.jsonl", json_lines(found))) <= len(found)


@FUZZ
@example(found=[{"Handle": "p1", "Title": "t", "Image Src": "\x00"}])  # the report of it could not be kept
@given(found=rows(SHOPIFY_COLUMNS, texts))
def test_shopify_exports_of_any_text(shop: Shop, found: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in found for name in row) | {"Variant Price": None})
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, restval="")
    table.writeheader()
    table.writerows(found)
    report = shop.imported("f.csv", text.getvalue().encode("utf-8", "surrogatepass"))
    assert report is None or report.problem or accounted(report) <= 2 * len(found)


@FUZZ
@given(names=st.lists(texts, min_size=1, max_size=3), cells=st.lists(values, min_size=1, max_size=3))
def test_parquet_of_any_types(shop: Shop, names: list[str], cells: list[Any]) -> None:
    try:
        columns: dict[str, Any] = {
            "id": pa.array([f"p{n}" for n in range(len(cells))]),
            "title": pa.array(["t"] * len(cells)),
        }
        columns |= {name: pa.array(cells) for name in names if name not in columns}
        written = io.BytesIO()
        pq.write_table(pa.table(columns), written)
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError):
        return  # such a table cannot be written, so nobody can send it
    assert accounted(shop.imported("f.parquet", written.getvalue())) == len(cells)


ORIGINALS = {path.name: path.read_bytes() for path in sorted(FEEDS.iterdir()) if path.is_file()}


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_feed_that_was_cut_or_altered(shop: Shop, name: str) -> None:
    @FUZZ
    @given(content=altered([ORIGINALS[name]]))
    def try_it(content: bytes) -> None:
        report = shop.imported(name, content)
        assert report is None or report.problem or accounted(report) >= 0

    try_it()
