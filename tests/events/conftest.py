"""An API over a database that the tests of one module share, and lists that it served."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.db import connect, session_factory, session_scope
from backend.events.models import ServedList, ServedPage
from backend.main import create_app
from backend.settings import Settings
from tests.fixtures.api import Keys, make_keys
from tests.fixtures.database import fresh_database

LIST = "q_7kX2mfbTQ3qVn0aJ8rYw"
"""A list that showed p1, p2 and p3."""


def keep_list(session: Session, query_id: str, shown: list[str]) -> None:
    served = {"query_id": query_id, "generation_id": 1, "request": {}, "total": len(shown), "total_is": "exact"}
    session.execute(insert(ServedList).values(served))
    page = {"query_id": query_id, "first_position": 1, "product_ids": shown, "scores": [0.0] * len(shown)}
    session.execute(insert(ServedPage).values(page))


@pytest.fixture(scope="module")
def shared_database(postgres_uri: str) -> Iterator[str]:
    with fresh_database(postgres_uri) as url:
        yield url


@pytest.fixture(scope="module")
def shared_sessions(shared_database: str) -> Iterator[sessionmaker[Session]]:
    engine = connect(shared_database)
    sessions = session_factory(engine)
    with session_scope(sessions) as session:
        keep_list(session, LIST, ["p1", "p2", "p3"])
    yield sessions
    engine.dispose()


@pytest.fixture(scope="module")
def shared_keys(shared_sessions: sessionmaker[Session]) -> Keys:
    return make_keys(shared_sessions)


@pytest.fixture(scope="module")
def shared_app(
    shared_database: str, redis_server: str, milvus_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> FastAPI:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        database_url=shared_database,
        redis_url=redis_server,
        milvus_uri=milvus_uri,
        log_level="error",
    )
    return create_app(settings)


@pytest.fixture(scope="module")
def client(shared_app: FastAPI) -> Iterator[TestClient]:
    with TestClient(shared_app, client=("203.0.113.9", 50000)) as client:
        yield client
