"""CSV and TSV: encoding, delimiter and header found out; rows whose fields do not fit the header rejected."""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.catalog.feeds.drafts import ROW_MAX_BYTES, FeedBroken, Row
from backend.catalog.schemas import Problem, Rejected, short

DELIMITERS = (",", ";", "\t", "|")

# one number for the process: a description of more than 128 KB is rare but real
csv.field_size_limit(ROW_MAX_BYTES)


@dataclass(frozen=True)
class Encoding:
    """How a file's bytes are text. ``broken_bytes`` are those that are not: their rows are rejected."""

    name: str
    broken_bytes: int = 0

    @property
    def note(self) -> str | None:
        """What should be told to the person who imports."""
        if self.name == "cp1252":
            return (
                "The file is not UTF-8: it was read as Windows-1252 (Latin-1). Save it as UTF-8 if letters look wrong."
            )
        if self.broken_bytes:
            return f"{self.broken_bytes} bytes are not UTF-8: the rows they stand in are rejected."
        return None


def encoding_of(path: Path) -> Encoding:
    """UTF-8 unless a byte-order mark or a file full of bytes that are not UTF-8 says otherwise."""
    with path.open("rb") as file:
        head = file.read(4)
        if head.startswith(codecs.BOM_UTF8):
            return Encoding("utf-8-sig")
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return Encoding("utf-16")
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        broken = letters = 0
        while chunk := file.read(2**20):
            text = decoder.decode(chunk)
            if not text.isascii():
                bad = sum("\udc80" <= character <= "\udcff" for character in text)
                broken += bad
                letters += sum(character > "\x7f" for character in text) - bad
    # one broken row must not turn every other one's letters into something else
    return Encoding("cp1252") if broken > letters else Encoding("utf-8", broken)


def delimiter_of(header: str) -> str:
    """The delimiter that parts ``header`` into most columns."""
    return max(
        DELIMITERS,
        key=lambda delimiter: (len(next(csv.reader([header], delimiter=delimiter), [])), -DELIMITERS.index(delimiter)),
    )


class Table:
    """Rows of a CSV or TSV file by the names of their columns."""

    def __init__(self, path: Path) -> None:
        self.encoding = encoding_of(path)
        errors = "replace" if self.encoding.name in ("cp1252", "utf-16") else "surrogateescape"
        self._raw = path.open("rb", buffering=0)
        buffered = io.BufferedReader(self._raw)
        self._text = io.TextIOWrapper(buffered, encoding=self.encoding.name, errors=errors, newline="")
        header = self._text.readline(ROW_MAX_BYTES)
        self.delimiter = delimiter_of(header)
        columns = next(csv.reader([header], delimiter=self.delimiter), [])
        self.columns = [column.strip() for column in columns]
        if not any(self.columns):
            raise FeedBroken("The file has no header line.", found=short(header), expected="names of columns")

    def position(self) -> int:
        """Bytes read so far."""
        return 0 if self._raw.closed else self._raw.tell()

    def rows(self) -> Iterator[Row | Rejected]:
        """Every row that is not empty, with the number of its first line in the file."""
        with self._text:
            reader = csv.reader(self._text, delimiter=self.delimiter, strict=True)
            while True:
                line = reader.line_num + 2  # the header is line 1
                try:
                    values = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    if "unexpected end" in str(error) or "limit" in str(error):
                        raise FeedBroken(
                            f"From line {line} on a quotation mark is open that is never closed.",
                            found=str(error),
                            expected='a closing "',
                        ) from error
                    yield Rejected(line, None, [Problem("", str(error), "fields quoted as in RFC 4180")])
                    continue
                if row := self._row(line, values):
                    yield row

    def _row(self, line: int, values: list[str]) -> Row | Rejected | None:
        if not any(value.strip() for value in values):
            return None
        if len(values) != len(self.columns):
            found = f"{len(values)} fields: {short(self.delimiter.join(values), 80)}"
            return Rejected(
                line, self._id(values), [Problem("", found, f"{len(self.columns)} fields as in the header")]
            )
        return Row(line, dict(zip(self.columns, values, strict=True)))

    def _id(self, values: list[str]) -> str | None:
        first = self.columns[0].strip().lower() in ("id", "handle", "sku", "product_id")
        return short(values[0]) if first and values and values[0] else None
