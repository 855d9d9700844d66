"""An API with a few routes whose only purpose is to be asked."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body
from starlette.testclient import TestClient

from backend.access.dependencies import AdminCaller, ServerCaller, SessionDep, StorefrontCaller
from backend.access.models import AuditEntry
from backend.db import connect, session_factory
from backend.errors import Conflict
from backend.logs import configure_logs
from backend.main import create_app
from backend.settings import Settings
from tests.fixtures.api import Keys, make_keys
from tests.fixtures.database import fresh_database

probe = APIRouter(prefix="/probe")


@probe.get("/open")
def see_open() -> str:
    return "open"


@probe.get("/storefront")
def see_storefront(caller: StorefrontCaller) -> str:
    return caller.name


@probe.get("/server")
def see_server(caller: ServerCaller) -> str:
    return caller.name


@probe.get("/admin")
def see_admin(caller: AdminCaller) -> str:
    return caller.name


@probe.post("/admin")
@probe.delete("/admin")
def change_admin(caller: AdminCaller) -> str:
    return caller.name


@probe.post("/echo")
def echo(body: Annotated[Any, Body()]) -> Any:
    return body


@probe.post("/conflict")
def conflict(session: SessionDep) -> None:
    session.add(AuditEntry(actor="a", action="b", subject="c"))
    session.flush()
    raise Conflict("after writing", found=1, expected=2)


@probe.post("/fails-at-commit")
def fails_at_commit(session: SessionDep) -> str:
    # a constraint that PostgreSQL checks at the end of the transaction only
    from sqlalchemy import text

    session.execute(text("CREATE TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    session.execute(text("INSERT INTO once VALUES (1), (1)"))
    return "written"


@probe.get("/broken")
def broken() -> None:
    raise RuntimeError("secret detail of the inside")


@pytest.fixture(scope="module")
def database_url(postgres_uri: str) -> Iterator[str]:
    """One database for a file of tests: they make keys of their own and do not meet."""
    with fresh_database(postgres_uri) as url:
        yield url


@pytest.fixture(scope="module")
def api_settings(
    database_url: str, redis_server: str, tiny_encoder_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """No route of these tests asks Milvus."""
    return Settings(
        home=tmp_path_factory.mktemp("home"),
        database_url=database_url,
        redis_url=redis_server,
        milvus_uri="http://127.0.0.1:1",
        encoder=f"local-dir:{tiny_encoder_dir}",
        request_max_bytes=2048,
        log_level="info",
    )


@pytest.fixture(scope="module")
def api(api_settings: Settings) -> Iterator[TestClient]:
    """A client that connects from elsewhere."""
    app = create_app(api_settings)
    app.include_router(probe)
    with TestClient(app, base_url="http://api.example", client=("203.0.113.9", 50000)) as client:
        yield client


@pytest.fixture(scope="module")
def visitor(api_settings: Settings) -> Iterator[TestClient]:
    """A browser on the machine of the demo."""
    app = create_app(api_settings.model_copy(update={"demo": True}))
    app.include_router(probe)
    with TestClient(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 50000)) as client:
        yield client


@pytest.fixture(scope="module")
def public_visitor(api_settings: Settings) -> Iterator[TestClient]:
    """As ``visitor``, of a demo that others reach through a tunnel."""
    app = create_app(api_settings.model_copy(update={"demo": True, "public_url": "https://demo.example"}))
    app.include_router(probe)
    with TestClient(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 50000)) as client:
        yield client


@pytest.fixture(scope="module")
def keys(database_url: str) -> Iterator[Keys]:
    engine = connect(database_url)
    yield make_keys(session_factory(engine))
    engine.dispose()


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """What has been logged since this test began."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        configure_logs("info", as_json=True)
    yield said.getvalue
    configure_logs("error", as_json=False)
