"""Parquet: one product a row, read a batch at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.catalog.feeds.drafts import FeedBroken, Row
from backend.catalog.schemas import Rejected

BATCH_ROWS = 500


class Parquet:
    """Rows of a Parquet file."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._broken: tuple[type[Exception], ...] = (pa.ArrowException, OSError, ValueError, OverflowError)
        try:
            self._file = pq.ParquetFile(path)
        except self._broken as error:
            raise FeedBroken("This is not a Parquet file.", found=str(error)[:200], expected="Parquet") from error
        self.total_rows = self._file.metadata.num_rows
        self._read = 0

    def position(self) -> int:
        """Rows read so far."""
        return self._read

    def rows(self) -> Iterator[Row | Rejected]:
        """Every row, counted from 1."""
        batches = self._file.iter_batches(batch_size=BATCH_ROWS)
        while True:
            try:
                batch: list[dict[str, Any]] = next(batches).to_pylist()
            except StopIteration:
                return
            except self._broken as error:
                raise FeedBroken(
                    f"The file cannot be read behind row {self._read}.",
                    found=str(error)[:200],
                    expected="whole Parquet",
                ) from error
            for fields in batch:
                self._read += 1
                yield Row(self._read, fields)
