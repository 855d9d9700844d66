"""Binary COPY as rows: each value the bytes that PostgreSQL keeps."""

import pytest
from sqlalchemy.orm import Session

from backend.generations import binary_copy
from backend.generations.binary_copy import read_rows


def test_rows_are_the_bytes_of_each_value(session: Session) -> None:
    query = "SELECT n, decode(repeat('00ff', 3), 'hex'), CASE n WHEN 2 THEN 'x%%' END FROM unnest(%(n)s::bigint[]) AS n"
    assert list(read_rows(session, query, {"n": [-1, 2]})) == [
        [b"\xff" * 8, b"\x00\xff" * 3, None],
        [b"\x00" * 7 + b"\x02", b"\x00\xff" * 3, b"x%"],
    ]
    assert list(read_rows(session, query, {"n": []})) == []


def test_what_is_no_copy_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the header"):
        list(binary_copy._rows(b"something else"))
