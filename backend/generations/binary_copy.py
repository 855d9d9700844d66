"""PostgreSQL's binary COPY: rows of bytes as they lie in memory, where text would be twice as long and be parsed."""

import io
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.orm import Session

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)

_COUNT, _LENGTH = struct.Struct("!h"), struct.Struct("!i")


def read_rows(session: Session, query: str, values: Mapping[str, Any]) -> Iterator[list[bytes | None]]:
    """Rows of ``query`` (parameters as ``%(name)s``) in the transaction of ``session``, each value as sent, or None."""
    connection: Any = session.connection().connection.dbapi_connection
    out = io.BytesIO()
    with connection.cursor() as cursor:
        # COPY takes no parameters of its own: the driver writes them into the query
        bound = cursor.mogrify(query, values).decode()
        cursor.copy_expert(f"COPY ({bound}) TO STDOUT (FORMAT binary)", out)
    return _rows(out.getvalue())


def _rows(data: bytes) -> Iterator[list[bytes | None]]:
    if data[: len(HEADER)] != HEADER:
        raise ValueError(f"{data[: len(HEADER)]!r} found; expected the header of binary COPY")
    at = len(HEADER)
    while (count := _COUNT.unpack_from(data, at)[0]) >= 0:
        at += _COUNT.size
        row: list[bytes | None] = []
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            row.append(data[at : at + length] if length >= 0 else None)
            at += max(length, 0)
        yield row
