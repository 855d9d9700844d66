"""Rows of fixed width out of PostgreSQL as arrays: binary COPY read as it lies in memory, a block at a time."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from backend.generations.binary_copy import HEADER, TRAILER

AT_ONCE = 65_536
"""Rows of a block."""

INT2, INT4, INT8, REAL, TIME = "i2", "i4", "i8", "f4", "i8"
"""Types of columns; a time is microseconds since 2000-01-01."""

Records = NDArray[np.void]


def copy_out(
    session: Session,
    query: str,
    values: Mapping[str, Any],
    columns: Mapping[str, str],
    into: Callable[[Records], None],
) -> int:
    """Give the rows of ``query`` to ``into``, in blocks; how many there were.

    Args:
        session: in whose transaction it is read.
        query: its parameters are written ``%(name)s``; no value of a row may be null.
        values: of the parameters.
        columns: name and type of each column, as they are selected.
        into: takes records with these fields, in the byte order of this machine.

    Raises:
        ValueError: a row is not as ``columns`` say.
    """
    connection: Any = session.connection().connection.dbapi_connection
    sink = _Sink(columns, into)
    with connection.cursor() as cursor:
        # COPY takes no parameters of its own: the driver writes them into the query
        cursor.copy_expert(f"COPY ({cursor.mogrify(query, values).decode()}) TO STDOUT (FORMAT binary)", sink)
    return sink.end()


class _Sink:
    """A file that is only written to."""

    def __init__(self, columns: Mapping[str, str], into: Callable[[Records], None]) -> None:
        raw = [("count", ">i2")]
        for name, form in columns.items():
            raw += [(f"length of {name}", ">i4"), (name, f">{form}")]
        self._raw = np.dtype(raw)
        self._plain = np.dtype([(name, f"={form}") for name, form in columns.items()])
        self._into = into
        self._held = bytearray()
        self._enough = AT_ONCE * self._raw.itemsize
        self._headed = False
        self._rows = 0

    def write(self, data: bytes) -> int:
        self._held += data
        if len(self._held) > self._enough:
            self._give()
        return len(data)

    def end(self) -> int:
        self._give()
        if self._held != TRAILER:
            raise ValueError(f"{len(self._held)} bytes behind the last row found; expected the end of binary COPY")
        return self._rows

    def _give(self) -> None:
        if not self._headed:
            if self._held[: len(HEADER)] != HEADER:
                raise ValueError(f"{bytes(self._held[: len(HEADER)])!r} found; expected the header of binary COPY")
            del self._held[: len(HEADER)]
            self._headed = True
        count = len(self._held) // self._raw.itemsize
        if not count:
            return
        size = count * self._raw.itemsize
        raw = np.frombuffer(bytes(self._held[:size]), dtype=self._raw)
        del self._held[:size]
        self._check(raw)
        plain = np.empty(count, dtype=self._plain)
        for name in self._plain.names or ():
            plain[name] = raw[name]
        self._rows += count
        self._into(plain)

    def _check(self, raw: Records) -> None:
        names = self._plain.names or ()
        expected = {"count": len(names)} | {f"length of {name}": self._plain[name].itemsize for name in names}
        for name, wanted in expected.items():
            if (raw[name] != wanted).any():
                raise ValueError(f"{name}: found {set(raw[name].tolist()) - {wanted}}, expected {wanted}")
