"""Opening a feed: its format told by its name and its content."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from backend.catalog.feeds.columns import draft_of
from backend.catalog.feeds.drafts import FeedBroken, Item, Read, Row
from backend.catalog.feeds.groups import gathered
from backend.catalog.feeds.jsonl import JsonLines
from backend.catalog.feeds.merchant_xml import MerchantXml
from backend.catalog.feeds.parquet import Parquet
from backend.catalog.feeds.shopify import is_shopify, shopify_drafts
from backend.catalog.feeds.tables import Table
from backend.catalog.schemas import Rejected
from backend.errors import NotFound

Format = Literal["csv", "tsv", "shopify", "jsonl", "parquet", "merchant-tsv", "merchant-xml"]
FORMATS: tuple[str, ...] = get_args(Format)


@dataclass(frozen=True)
class Feed:
    """An open feed: its drafts, to be read once, and how far the reading got.

    Args:
        source: the file, or the shop.
        format: one of ``FORMATS``, or how the shop is read.
        drafts: what it says.
        position: how far it was read.
        size: what ``position`` is at the end, where that is known.
        notes: what is worth telling about it.
        as_of: the source's clock before it was read, where it is not a file.
        still_sold: asks the source which of some ids are for sale although the feed did not name them.
    """

    source: str
    format: str
    drafts: Iterator[Item]
    position: Callable[[], int]
    size: int | None
    notes: list[str] = field(default_factory=list)
    as_of: datetime | None = None
    still_sold: Callable[[Sequence[str]], set[str]] = lambda _ids: set()


def open_feed(path: Path, wanted: str | None = None) -> Feed:
    """The feed at ``path``, in the format ``wanted`` or in the one it shows.

    Raises:
        NotFound: no such file.
        FeedBroken: empty, or in none of the formats.
    """
    if not path.is_file():
        raise NotFound("There is no such feed.", found=str(path), expected="a file")
    if wanted is not None and wanted not in FORMATS:
        raise FeedBroken("No feed has this format.", found=wanted, expected=", ".join(FORMATS))
    if path.stat().st_size == 0:
        raise FeedBroken("The feed is empty.", found=str(path), expected="products")
    kind = wanted or _by_content(path)
    if kind == "jsonl":
        lines = JsonLines(path)
        return Feed(str(path), "jsonl", gathered(_mapped(lines.rows())), lines.position, path.stat().st_size)
    if kind == "parquet":
        parquet = Parquet(path)
        return Feed(str(path), "parquet", gathered(_mapped(parquet.rows())), parquet.position, parquet.total_rows)
    if kind == "merchant-xml":
        xml = MerchantXml(path)
        return Feed(str(path), "merchant-xml", gathered(_mapped(xml.rows())), xml.position, path.stat().st_size)
    return _open_table(path, kind)


def _open_table(path: Path, kind: str) -> Feed:
    table = Table(path)
    notes = [note] if (note := table.encoding.note) else []
    size = path.stat().st_size
    if kind == "shopify" or (kind == "table" and is_shopify(table.columns)):
        return Feed(str(path), "shopify", shopify_drafts(table.rows()), table.position, size, notes)
    names = {column.lower().replace(" ", "_").removeprefix("g:") for column in table.columns}
    shown: Format = "tsv" if table.delimiter == "\t" else "csv"
    if kind == "merchant-tsv" or (shown == "tsv" and {"image_link", "link"} <= names):
        shown = "merchant-tsv"
    return Feed(str(path), shown, gathered(_mapped(table.rows())), table.position, size, notes)


def _by_content(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        raise FeedBroken("This is an archive.", found=path.name, expected="the feed itself, unpacked")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"<?xml", b"<rss", b"<feed")) or path.suffix.lower() == ".xml":
        return "merchant-xml"
    if text.startswith(b"{") or path.suffix.lower() in (".jsonl", ".ndjson"):
        return "jsonl"
    if text.startswith(b"["):
        raise FeedBroken("This is a JSON array.", found=path.name, expected="JSON Lines: one object a line")
    return "table"


def _mapped(rows: Iterator[Row | Rejected]) -> Iterator[Read]:
    for row in rows:
        yield row if isinstance(row, Rejected) else draft_of(row)
