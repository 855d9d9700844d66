"""A shop drives the whole stack: read by night, told of by webhooks, some of them lost, and compared in the end."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.catalog.models import ImportRun, Product
from backend.catalog.shops.reconcile import stopped_by
from backend.db import connect, session_factory
from backend.generations.audit import compare
from backend.generations.backlog import count_due
from backend.generations.repository import live_build
from backend.vector_index import VectorIndex
from tests.fixtures.shop_server import CLIENT_ID, CLIENT_SECRET, SECRET, TOPICS, ShopServer
from tests.fixtures.stacks import RunningStack, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
PATIENCE_S = 2400.0


@contextmanager
def session_of(stack: RunningStack) -> Iterator[Session]:
    engine = connect(json.loads((stack.home / "run" / "stack.json").read_text())["database_url"])
    try:
        with session_factory(engine)() as session:
            yield session
    finally:
        engine.dispose()


def settings_for(shop: ShopServer) -> dict[str, str]:
    """Settings of a stack for ``shop``, whose hour came a minute ago."""
    return {
        "MORELIKE_SHOP_URL": shop.base,
        "MORELIKE_SHOP_CLIENT_ID": CLIENT_ID,
        "MORELIKE_SHOP_CLIENT_SECRET": CLIENT_SECRET,
        "MORELIKE_SHOP_CURRENCY": "EUR",
        "MORELIKE_SHOPIFY_SECRET": SECRET,
        "MORELIKE_WOOCOMMERCE_SECRET": SECRET,
        "MORELIKE_RECONCILE_AT": f"{datetime.now(UTC) - timedelta(minutes=1):%H:%M}",
        "MORELIKE_IMAGE_ALLOWED_HOSTS": json.dumps([urlsplit(shop.base).netloc]),
    }


def runs(stack: RunningStack) -> list[ImportRun]:
    with session_of(stack) as session:
        return list(session.scalars(select(ImportRun).order_by(ImportRun.id)))


def is_settled(stack: RunningStack) -> bool:
    """Nothing waits: no delivery, no picture, no product."""
    with session_of(stack) as session:
        due = count_due(session)
    return (due["deliveries"], due["images"], due["products"]) == (0, 0, 0)


def catalogue_of(stack: RunningStack) -> dict[str, tuple[str, float, str]]:
    """(title, price, availability) of what is on sale, by id."""
    with session_of(stack) as session:
        rows = session.execute(
            select(Product.id, Product.title, Product.price, Product.availability).where(Product.deleted_at.is_(None))
        ).all()
    return {row.id: (row.title, float(row.price), row.availability) for row in rows}


def shelves_of(shop: ShopServer) -> dict[str, tuple[str, float, str]]:
    """The same, as the shop has it."""
    return {
        str(item.id): (
            item.title,
            min(float(one.price) for one in item.varieties),
            "in_stock" if any(one.quantity for one in item.varieties) else "out_of_stock",
        )
        for item in shop.sold()
    }


def trade(shop: ShopServer, numbers: range) -> None:
    """A day of a shop, in no order: edits, deletions, products taken off sale, and new ones."""
    chance = random.Random(4)
    for number in chance.sample(numbers, len(numbers)):
        deed = chance.random()
        if deed < 0.1:
            shop.delete(number)
        elif deed < 0.2:
            shop.edit(number, on_sale=False)
        elif deed < 0.3:
            shop.create(number + 100_000)
        else:
            sold_out = [replace(one, price="1.25", quantity=0) for one in shop.items[number].varieties]
            shop.edit(number, title=f"Edited {number}", varieties=sold_out)


def reconciled(stack: RunningStack) -> dict[str, int]:
    """What `morelike shop reconcile` counted, as it says it."""
    program = str(Path(sys.executable).parent / "morelike")
    done = subprocess.run(
        [program, "shop", "reconcile", "--no-wait"],
        env=stack.environment | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"([\d,]+) (created|updated|unchanged|deleted|stale|rejected)\b", done.stderr)
    return {name: int(count.replace(",", "")) for count, name in found}


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("woocommerce", 60),
        pytest.param("shopify", 5000, marks=pytest.mark.slow),
        pytest.param("woocommerce", 5000, marks=pytest.mark.slow),
    ],
)
def test_a_shop_drives_the_whole(
    kind: str, count: int, request: pytest.FixtureRequest, tmp_path: Path, tiny_encoder_dir: Path
) -> None:
    shop: ShopServer = request.getfixturevalue(kind)
    shop.stock(count)
    shop.outages.extend([200, 503, 200, 0, 429, 200, 500])
    shop.per_second, shop.restored = 40.0, 20_000.0
    stack = RunningStack(tmp_path / "home", tiny_encoder_dir, **settings_for(shop))
    try:
        stack.start()
        wait_for(lambda: any(run.finished_at for run in runs(stack)), "the night reads the shop", PATIENCE_S)
        (night,) = runs(stack)
        assert (night.mode, stopped_by(night), night.counts) == ("reconcile", None, {"created": count})
        assert catalogue_of(stack) == shelves_of(shop)

        shop.hooks = [(topic, f"http://127.0.0.1:{stack.port}/v1/webhooks/{kind}") for topic in TOPICS[kind].values()]
        shop.lose = lambda _topic, number: number % 3 == 0
        trade(shop, range(1, count // 5))
        wait_for(lambda: is_settled(stack), "what arrived is applied, embedded and indexed", PATIENCE_S)
        differing = catalogue_of(stack).items() ^ shelves_of(shop).items()
        lost = {number for _, number in shop.lost}
        assert {int(number) for number, _ in differing} == lost

        shop.outages.extend([503, 200, 0, 429, 200, 502])
        sold = {item.id for item in shop.sold()}
        had = {number for number in lost if number < 100_000}
        found = {
            "created": len(lost - had),
            "updated": len(had & sold),
            "deleted": len(had - sold),
            "unchanged": len(sold) - len(lost & sold),
        }
        assert reconciled(stack) == {name: count for name, count in found.items() if count}
        assert catalogue_of(stack) == shelves_of(shop)
        wait_for(lambda: is_settled(stack), "what was repaired is embedded and indexed", PATIENCE_S)
        with session_of(stack) as session:
            build = live_build(session)
            assert build is not None
            uri = json.loads((stack.home / "run" / "stack.json").read_text())["milvus_uri"]
            audit = compare(session, VectorIndex(uri), build)
        assert (audit.products, audit.agrees) == (len(sold), True)
    finally:
        stack.finish()
