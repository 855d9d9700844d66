"""JSON Lines: one product a line, in the fields of the API or in columns by their aliases."""

from collections.abc import Iterator
from pathlib import Path

from pydantic_core import from_json

from backend.catalog.feeds.drafts import ROW_MAX_BYTES, Row
from backend.catalog.schemas import Problem, Rejected, short


class JsonLines:
    """Rows of a JSON Lines file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    def position(self) -> int:
        """Bytes read so far."""
        return 0 if self._file.closed else self._file.tell()

    def rows(self) -> Iterator[Row | Rejected]:
        """Every line that is not empty."""
        with self._file:
            number = 0
            while line := self._file.readline(ROW_MAX_BYTES):
                number += 1
                if not line.endswith(b"\n") and len(line) == ROW_MAX_BYTES:
                    self._skip_line()
                    yield _wrong(number, line, f"a line of at most {ROW_MAX_BYTES} bytes")
                    continue
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if line.strip():
                    yield _row(number, line)

    def _skip_line(self) -> None:
        while (rest := self._file.readline(ROW_MAX_BYTES)) and not rest.endswith(b"\n"):
            pass


def _row(number: int, line: bytes) -> Row | Rejected:
    try:
        value = from_json(line)
    except ValueError as error:
        return _wrong(number, line, f"a JSON object: {error}")
    return Row(number, value) if isinstance(value, dict) else _wrong(number, line, "a JSON object")


def _wrong(number: int, line: bytes, expected: str) -> Rejected:
    return Rejected(number, None, [Problem("", short(line[:400].decode("utf-8", "replace"), 120), expected)])
