"""A file of pairs: what shoppers say and the product they mean, one pair a line, CSV or JSON lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.catalog.feeds.jsonl import JsonLines
from backend.catalog.feeds.tables import Table
from backend.catalog.schemas import Rejected
from backend.errors import NotFound, Unprocessable

TEXT_FIELDS = ("text", "query", "caption")
PRODUCT_FIELDS = ("product", "product_id", "sku", "id")
MOST_LETTERS = 2000
"""A longer text is no query, and no encoder reads as much."""


class PairsUnreadable(Unprocessable):
    """No file of pairs."""

    title = "Pairs cannot be read"


@dataclass(frozen=True)
class Said:
    """One pair as the file has it: its line, the text, and the id or SKU of the product."""

    line: int
    text: str
    product: str


@dataclass(frozen=True)
class LeftOut:
    """A line of which nothing is learned, and why."""

    line: int
    reason: str


class PairsFile:
    """A file of pairs, read in one pass.

    Args:
        path: ``.jsonl`` or ``.ndjson`` for JSON lines; everything else is a table with a header, CSV or TSV.

    Raises:
        NotFound: the file cannot be read.
        PairsUnreadable: a table without a column of texts or without one of products.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._size = path.stat().st_size
            self._file = JsonLines(path) if path.suffix.lower() in (".jsonl", ".ndjson") else Table(path)
        except OSError as error:
            raise NotFound("The pairs cannot be read.", found=str(path), expected=error.strerror) from error
        if isinstance(self._file, Table):
            self._require_columns(self._file.columns)

    @property
    def progress(self) -> tuple[int, int]:
        """Bytes read, of how many."""
        return min(self._file.position(), self._size), self._size

    def __iter__(self) -> Iterator[Said | LeftOut]:
        for row in self._file.rows():
            if isinstance(row, Rejected):
                problem = row.problems[0]
                yield LeftOut(row.line, f"found {problem.found}; expected {problem.expected}")
            else:
                yield _said(row.line, {str(name).strip().lower(): value for name, value in row.fields.items()})

    @staticmethod
    def _require_columns(columns: Sequence[str]) -> None:
        names = {column.lower() for column in columns}
        for fields in (TEXT_FIELDS, PRODUCT_FIELDS):
            if names.isdisjoint(fields):
                raise PairsUnreadable("The header lacks a column.", found=list(columns), expected=f"one of {fields}")


def products_named(session: Session, names: Sequence[str]) -> dict[str, set[int]]:
    """Numbers of the products that each of ``names`` is the id of; where it is none, of those it is a SKU of."""
    by_id = session.execute(_BY_ID, {"names": list(names)}).all()
    found: dict[str, set[int]] = {row.name: {row.number} for row in by_id}
    rest = {name.lower(): name for name in names if name not in found}
    for row in session.execute(_BY_SKU, {"names": list(rest)}):
        found.setdefault(rest[row.name], set()).add(row.number)
    return found


def _said(line: int, fields: dict[str, Any]) -> Said | LeftOut:
    words, product = _first(fields, TEXT_FIELDS), _first(fields, PRODUCT_FIELDS)
    if isinstance(product, int) and not isinstance(product, bool):
        product = str(product)
    for value, names in ((words, TEXT_FIELDS), (product, PRODUCT_FIELDS)):
        if not isinstance(value, str) or not value.strip():
            return LeftOut(line, f"no text under {' or '.join(names)}")
    if len(words) > MOST_LETTERS:
        return LeftOut(line, f"a text of {len(words):,} letters; expected at most {MOST_LETTERS:,}")
    if "\x00" in f"{words}{product}" or any("\ud800" <= letter <= "\udfff" for letter in f"{words}{product}"):
        return LeftOut(line, "bytes that are no text")
    return Said(line, " ".join(words.split()), product.strip())


def _first(fields: dict[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) not in (None, "")), None)


_BY_ID = text("SELECT id AS name, number FROM products WHERE deleted_at IS NULL AND id = ANY(:names)")

_BY_SKU = text("""
    SELECT DISTINCT lower(v.sku) AS name, v.product AS number FROM variants v JOIN products p ON p.number = v.product
    WHERE p.deleted_at IS NULL AND lower(v.sku) = ANY(:names)
""")
