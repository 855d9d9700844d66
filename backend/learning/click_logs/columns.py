"""A click log on the disk: a .npy file a column, and what is not a column as JSON. It is read as memory maps."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, BinaryIO, get_type_hints

import numpy as np
import orjson
from numpy.typing import NDArray

from backend.ml.clicks.click_log import Asked, ClickLog, Coins, Context, Judgements, Lists, Rows

ABOUT = "about.json"
_TABLES: dict[str, type[Any]] = {"lists": Lists, "rows": Rows, "coins": Coins, "judgements": Judgements}


class Column:
    """A .npy file that grows: what is appended is on the disk, and the header says at the end how much it is."""

    def __init__(self, path: Path, dtype: np.dtype[Any], *, width: int | None = None) -> None:
        self._out: BinaryIO = path.open("wb")
        self._dtype, self._width = dtype, width
        self.length = 0
        self._write_header()

    def append(self, values: NDArray[Any]) -> None:
        """Add ``values`` (n,), or (n, width)."""
        np.asarray(values, dtype=self._dtype).tofile(self._out)
        self.length += len(values)

    def close(self) -> None:
        """Say how long it is."""
        self._out.seek(0)
        self._write_header()
        self._out.close()

    def _write_header(self) -> None:
        # numpy pads headers to multiples of 64: any length of up to 20 digits takes the same room
        shape = (self.length,) if self._width is None else (self.length, self._width)
        np.lib.format.write_array_header_1_0(
            self._out, {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        )


class Table:
    """Columns of one of the log's tables, written together.

    Args:
        folder: of the log.
        name: lists, rows, coins or judgements.
        only: the columns; None: all that it has.
    """

    def __init__(self, folder: Path, name: str, only: Collection[str] | None = None) -> None:
        self._columns = {
            column: Column(folder / f"{name}.{column}.npy", dtype)
            for column, dtype in dtypes(name).items()
            if only is None or column in only
        }

    def append(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Add rows to those columns that ``values`` names."""
        for name, column in values.items():
            self._columns[name].append(column)

    def close(self) -> None:
        """End all columns."""
        for column in self._columns.values():
            column.close()


def dtypes(table: str) -> dict[str, np.dtype[Any]]:
    """Type of each column of lists, rows, coins or judgements, as ``ClickLog`` has it."""
    hints = get_type_hints(_TABLES[table])
    # an annotation of NDArray is ndarray, of a shape and of dtype, of a type
    return {one.name: np.dtype(hints[one.name].__args__[1].__args__[0]) for one in fields(_TABLES[table])}


def write_about(
    folder: Path,
    *,
    keys: tuple[str, ...],
    kinds: tuple[str, ...],
    contexts: tuple[Context, ...],
    cohorts: tuple[str, ...],
    notes: Mapping[str, Any],
) -> None:
    """Keep what is not a column."""
    about = {
        "keys": keys,
        "kinds": kinds,
        "contexts": [asdict(one) for one in contexts],
        "cohorts": cohorts,
        "notes": dict(notes),
    }
    (folder / ABOUT).write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))


def load(folder: Path) -> ClickLog:
    """The log in ``folder``; its columns are memory maps.

    Raises:
        FileNotFoundError: it is not there, or not whole.
    """
    about = orjson.loads((folder / ABOUT).read_bytes())
    tables = {
        name: kind(**{one.name: mapped(folder / f"{name}.{one.name}.npy") for one in fields(kind)})
        for name, kind in _TABLES.items()
    }
    return ClickLog(
        asked=Asked(tuple(about["keys"]), tuple(about["kinds"]), mapped(folder / "asked.vectors.npy")),
        products=mapped(folder / "products.npy"),
        contexts=tuple(Context(**one) for one in about["contexts"]),
        cohorts=tuple(about["cohorts"]),
        notes=about["notes"],
        **tables,
    )


def replace_folder(made: Path, folder: Path) -> None:
    """Let ``made`` be ``folder`` from now on, whatever that was."""
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)


def mapped(path: Path) -> NDArray[Any]:
    """What is in a .npy file; an empty one cannot be mapped."""
    found = np.load(path, mmap_mode=None if _is_empty(path) else "r", allow_pickle=False)
    return np.asarray(found) if found.size == 0 else found


def _is_empty(path: Path) -> bool:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return 0 in shape
