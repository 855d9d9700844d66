"""Prepared statements: made once a connection, whatever they are given, and made again on a new one."""

import pytest
from sqlalchemy import Engine, text

from backend import prepared as module
from backend.db import connect
from backend.prepared import prepared


@pytest.fixture
def engine(database_url: str) -> Engine:
    return connect(database_url, pool_size=1, single_statements=True)


def kept(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) or 0)


def test_takes_parameters_by_name_as_often_as_they_stand(engine: Engine) -> None:
    statement = prepared(
        "SELECT CAST(:a AS int) + :a AS twice, CAST(:b AS text) AS b, '50 %' AS share, CAST(:n AS bigint[])"
    )
    with engine.connect() as connection:
        [row] = statement.rows(connection, {"a": 4, "b": "it's :a", "n": [1, 2], "unused": None})
    assert tuple(row) == (8, "it's :a", "50 %", [1, 2])
    assert row.twice == 8


def test_is_made_once_a_connection_and_again_on_the_next(engine: Engine) -> None:
    statement = prepared("SELECT CAST(:a AS int)")
    for value in (1, 2, None):
        with engine.connect() as connection:
            assert statement.rows(connection, {"a": value})[0][0] == value
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
    assert kept(engine) == 1
    with connect(str(engine.url.render_as_string(hide_password=False))).connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    engine.dispose()
    with engine.connect() as connection:
        assert statement.rows(connection, {"a": 3})[0][0] == 3


def test_a_connection_keeps_no_more_than_it_may(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PREPARED", 3)
    with engine.connect() as connection:
        for number in (*range(7), 0):
            assert prepared(f"SELECT {number}").rows(connection, {})[0][0] == number
    assert kept(engine) <= 3
