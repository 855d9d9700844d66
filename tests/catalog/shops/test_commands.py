"""``morelike import https://…`` and ``morelike shop``, and the worker's night."""

import json
import threading
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from backend.catalog.models import ImportRun, Product
from backend.catalog.shops.client import BehindPassword
from backend.catalog.shops.opening import Access, open_shop
from backend.catalog.shops.reconcile import stopped_by
from backend.cli import app
from backend.queue import INGEST_DUE, RECONCILE
from backend.settings import Settings
from tests.catalog.shops.conftest import Catalogue
from tests.fixtures.shop_server import CLIENT_ID, CLIENT_SECRET, ShopServer
from workers import components as worker_components
from workers import reconciling, tasks
from workers.components import Components


@pytest.fixture
def command(
    database_url: str, redis_url: str, milvus_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CliRunner:
    """The command line, pointed at this test's stores."""
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "MILVUS_URI": milvus_uri}
    ours = {"MORELIKE_HOME": str(tmp_path / "home"), "MORELIKE_ENCODER": "local-dir:/none", "COLUMNS": "200"}
    for name, value in (stores | ours).items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def name_shop(shop: ShopServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORELIKE_SHOP_URL", shop.base)
    monkeypatch.setenv("MORELIKE_SHOP_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("MORELIKE_SHOP_CLIENT_SECRET", CLIENT_SECRET)


def test_import_of_an_address(
    command: CliRunner, shopify: ShopServer, catalogue: Catalogue, redis_url: str, tmp_path: Path
) -> None:
    shopify.stock(20)
    shopify.items[2].title = ""
    report = tmp_path / "report.jsonl"
    result = command.invoke(app, ["import", shopify.base, "--no-wait", "--report", str(report)])
    assert (result.exit_code, "19 created" in result.output) == (3, True), result.output
    assert "MORELIKE_SHOP_CURRENCY=EUR" in result.output  # webhooks would take the currency away again
    assert "--format csv" in command.invoke(app, ["import", shopify.base, "--format", "csv"]).output
    assert json.loads(report.read_text())["id"] == "2"
    assert len(catalogue.alive()) == 19
    assert Redis.from_url(redis_url).exists(f"nudge:{INGEST_DUE}")
    shopify.delete(1)
    again = command.invoke(app, ["import", shopify.base, "--no-wait", "--mode", "full-sync", "--again"])
    assert ("1 deleted" in again.output, "18 unchanged" in again.output) == (True, True), again.output


def test_credentials_are_for_the_shop_that_is_named(
    command: CliRunner, shopify: ShopServer, woocommerce: ShopServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_shop(shopify, monkeypatch)
    monkeypatch.setenv("MORELIKE_SHOP_URL", "https://named.example")
    woocommerce.stock(1)
    other = command.invoke(app, ["import", woocommerce.base, "--no-wait"])
    assert other.exit_code == 0, other.output
    assert not any("/wc/v3/" in request for request in woocommerce.requests)
    shopify.is_open = False
    with pytest.raises(BehindPassword):
        open_shop(Access.of(Settings(), shopify.base))


def test_reconcile_and_status(
    command: CliRunner, woocommerce: ShopServer, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed = command.invoke(app, ["shop", "reconcile", "--no-wait"])
    assert (unnamed.exit_code, "MORELIKE_SHOP_URL is not set" in unnamed.output) == (1, True)
    name_shop(woocommerce, monkeypatch)
    woocommerce.stock(12)
    done = command.invoke(app, ["shop", "reconcile", "--no-wait"])
    assert (done.exit_code, "12 created" in done.output) == (0, True), done.output
    monkeypatch.setenv("MORELIKE_SHOP_PATIENCE_S", "0")
    woocommerce.outages.append(503)
    assert command.invoke(app, ["shop", "reconcile", "--no-wait"]).exit_code == 1
    status = command.invoke(app, ["shop", "status"]).output
    assert ("12 created" in status, "does not answer" in status, "03:30" in status) == (True, True, True), status
    assert len(catalogue.alive()) == 12


@pytest.mark.parametrize("kind", ["shopify", "woocommerce"])
def test_connect_subscribes_once(
    command: CliRunner, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop: ShopServer = request.getfixturevalue(kind)
    name_shop(shop, monkeypatch)
    assert "MORELIKE_PUBLIC_URL is not set" in command.invoke(app, ["shop", "connect"]).output
    monkeypatch.setenv("MORELIKE_PUBLIC_URL", "https://search.shop.example/")
    if kind == "woocommerce":
        assert "MORELIKE_WOOCOMMERCE_SECRET is not set" in command.invoke(app, ["shop", "connect"]).output
        monkeypatch.setenv("MORELIKE_WOOCOMMERCE_SECRET", "a long random text")
    first = command.invoke(app, ["shop", "connect"])
    assert first.exit_code == 0, first.output
    made = list(shop.hooks)
    assert {address for _, address in made} == {f"https://search.shop.example/v1/webhooks/{kind}"}
    assert {topic.split((kind == "shopify" and "/") or ".")[1] for topic, _ in made} >= {
        "deleted" if kind == "woocommerce" else "delete"
    }
    assert "subscribed before" in command.invoke(app, ["shop", "connect"]).output
    assert shop.hooks == made


@pytest.fixture
def made(request: pytest.FixtureRequest, woocommerce: ShopServer, monkeypatch: pytest.MonkeyPatch) -> Components:
    """A worker's components whose shop is to be compared now."""
    request.getfixturevalue("command")
    name_shop(woocommerce, monkeypatch)
    made = Components(Settings())
    monkeypatch.setattr(worker_components, "_made", [made])
    monkeypatch.setattr(reconciling, "is_due", lambda session, _at, _now: not session.scalars(select(ImportRun)).all())
    return made


def test_the_task_compares_when_it_is_due(
    made: Components, woocommerce: ShopServer, sessions: sessionmaker[Session], redis_url: str
) -> None:
    woocommerce.stock(5)
    for _ in range(2):  # a message that comes twice does nothing twice
        tasks.reconcile.apply().get()
    with sessions() as session:
        run = session.scalars(select(ImportRun)).one()
        assert (run.mode, run.format, run.counts) == ("reconcile", "woocommerce", {"created": 5})
        assert len(session.scalars(select(Product)).all()) == 5
    assert Redis.from_url(redis_url).exists(f"nudge:{INGEST_DUE}")
    assert reconciling.reconcile_is_due(made) is False


def test_a_worker_that_shuts_down_does_not_wait_for_the_shop(
    made: Components, woocommerce: ShopServer, sessions: sessionmaker[Session]
) -> None:
    woocommerce.outages.extend([503] * 20)
    stopping = threading.Event()
    threading.Timer(0.5, stopping.set).start()
    reconciling.reconcile(made, stopping)
    with sessions() as session:
        assert "shuts down" in str(stopped_by(session.scalars(select(ImportRun)).one()))


def test_no_shop_is_compared_where_none_is_named(made: Components, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MORELIKE_SHOP_URL")
    assert reconciling.reconcile_is_due(Components(Settings())) is False
    assert made.settings.shop_url is not None
    assert RECONCILE in {task.name for task in (tasks.reconcile, tasks.sweep)}
