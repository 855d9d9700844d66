"""The connections of the query path: probed when idle, not when they worked a moment ago."""

import time

import pytest
from sqlalchemy import create_engine, text

from backend import db
from backend.db import connect


def test_one_that_died_while_idle_is_replaced(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "PROBE_AFTER_S", 0.05)
    engine = connect(database_url, single_statements=True)
    with engine.connect() as connection:
        killed = connection.scalar(text("SELECT pg_backend_pid()"))
    with connect(database_url).connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": killed})
    time.sleep(0.2)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != killed
    engine.dispose()


def test_a_statement_is_committed_by_itself(database_url: str) -> None:
    engine = connect(database_url, single_statements=True)
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO unit_keys (secret) VALUES ('x')"))
    with create_engine(engine.url).connect() as other:
        assert other.scalar(text("SELECT count(*) FROM unit_keys")) == 1
    engine.dispose()
