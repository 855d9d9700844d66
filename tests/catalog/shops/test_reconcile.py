"""What webhooks missed is found and repaired, once, by one process, each night."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.importer import ImportOptions, PhotographsRefused
from backend.catalog.models import ImportRun
from backend.catalog.shops.client import ShopSilent
from backend.catalog.shops.reconcile import AlreadyReconciling, comparison, is_due, stopped_by
from backend.db import session_scope
from tests.catalog.shops.conftest import Catalogue, access
from tests.fixtures.shop_items import Variety
from tests.fixtures.shop_server import ShopServer

Subscribe = Callable[[ShopServer], None]


@pytest.fixture(params=["shopify", "woocommerce"])
def shop(request: pytest.FixtureRequest) -> ShopServer:
    found: ShopServer = request.getfixturevalue(request.param)
    return found


def trade(shop: ShopServer, first: int, last: int) -> None:
    """A day of a shop: edits of every second product, a tenth deleted, a tenth taken off sale, as many new ones."""
    for number in range(first, last + 1):
        if number % 10 == 1:
            shop.delete(number)
        elif number % 10 == 3:
            shop.edit(number, on_sale=False)
        elif number % 2 == 0:
            varieties = [replace(one, price="1.25", quantity=0) for one in shop.items[number].varieties]
            shop.edit(number, title=f"Edited {number}", varieties=varieties)
        if number % 10 == 5:
            shop.create(number + 10_000)


def test_a_day_of_webhooks_with_a_third_of_them_lost_is_repaired(
    shop: ShopServer, catalogue: Catalogue, subscribed: Subscribe
) -> None:
    shop.stock(60)
    catalogue.read(shop, keys=True)
    subscribed(shop)
    shop.lose = lambda _topic, number: number % 3 == 0
    trade(shop, 1, 60)
    verdicts = catalogue.apply(shop)
    lost = {number for _, number in shop.lost}
    assert (set(verdicts), len(lost)) == ({"applied"}, 16)
    shop.outages.extend([200, 503, 0, 429, 200, 502])
    report = catalogue.reconcile(shop)
    deleted = {number for topic, number in shop.lost if number not in {item.id for item in shop.sold()}}
    created = {number for number in lost if number > 10_000}
    assert report.problem is None
    assert report.counts["deleted"] == len(deleted)
    assert report.counts["created"] == len(created)
    assert report.counts["updated"] == len(lost - deleted - created)
    assert catalogue.alive() == [str(item.id) for item in shop.sold()]
    everything = {"unchanged": len(shop.sold())}
    assert catalogue.reconcile(shop).counts == everything
    assert catalogue.read(shop, keys=True, again=True).counts == everything  # webhooks and lists make the same products


def test_only_what_differs_is_fetched_whole(shopify: ShopServer, woocommerce: ShopServer, catalogue: Catalogue) -> None:
    woocommerce.stock(90)
    catalogue.read(woocommerce, keys=True)
    woocommerce.edit(3, title="Edited")
    woocommerce.requests.clear()
    catalogue.reconcile(woocommerce)
    assert sum("variations" in request for request in woocommerce.requests) == 1
    shopify.stock(90)
    catalogue.read(shopify, keys=True)
    shopify.requests.clear()
    catalogue.reconcile(shopify)
    assert len(shopify.requests) < 10


def test_a_variation_that_went_without_a_word_is_found(woocommerce: ShopServer, catalogue: Catalogue) -> None:
    woocommerce.stock(3)
    catalogue.read(woocommerce, keys=True)
    item = woocommerce.items[3]
    item.varieties = item.varieties[:2]  # WooCommerce leaves the product's time as it was
    assert catalogue.reconcile(woocommerce).counts == {"updated": 1, "unchanged": 2}
    assert [one.sku for one in catalogue.product("3").variants] == ["VA-3-S", "VA-3-M"]
    assert catalogue.reconcile(woocommerce).counts == {"unchanged": 3}


def test_a_webhook_that_arrives_while_the_list_is_read_wins(
    woocommerce: ShopServer, catalogue: Catalogue, subscribed: Subscribe
) -> None:
    woocommerce.stock(150)
    catalogue.read(woocommerce, keys=True)
    subscribed(woocommerce)
    seen = woocommerce.requests.append

    class Trading(list[str]):
        def append(self, request: str) -> None:
            seen(request)
            if "page=2" in request and 151 not in woocommerce.items:
                woocommerce.create(151)
                woocommerce.edit(1, title="Edited meanwhile")
                woocommerce.items[1].updated_at = datetime.now(UTC)
                catalogue.apply(woocommerce)

    woocommerce.requests = Trading()
    catalogue.reconcile(woocommerce)
    assert "151" in catalogue.alive()
    assert catalogue.product("1").title == "Edited meanwhile"


def test_another_shop_deletes_nothing(shopify: ShopServer, catalogue: Catalogue) -> None:
    shopify.stock(20)
    catalogue.read(shopify, keys=True)
    for number in range(1, 12):
        shopify.delete(number)
    assert "11 of 20 products" in str(catalogue.reconcile(shopify).problem)
    assert len(catalogue.alive()) == 20
    assert catalogue.reconcile(shopify, delete_many=True).counts == {"unchanged": 9, "deleted": 11}


def test_pictures_are_refused_while_the_demo_encoder_is_live(
    shopify: ShopServer, catalogue: Catalogue, sessions: sessionmaker[Session]
) -> None:
    shopify.stock(2)
    with pytest.raises(PhotographsRefused):
        catalogue.reconcile(shopify, encoder_drawings_only=True)
    with sessions() as session:
        assert "knows only drawings" in str(stopped_by(session.scalars(select(ImportRun)).one()))


def test_one_process_compares_and_a_failure_is_kept(
    shopify: ShopServer, catalogue: Catalogue, sessions: sessionmaker[Session]
) -> None:
    with comparison(sessions, access(shopify), ImportOptions()), pytest.raises(AlreadyReconciling):
        catalogue.reconcile(shopify)
    shopify.outages.extend([503] * 30)
    with pytest.raises(ShopSilent):
        catalogue.reconcile(shopify, patience_s=10.0)
    with sessions() as session:
        run = session.scalars(select(ImportRun)).one()
    assert (run.mode, run.source, run.finished_at is not None) == ("reconcile", shopify.base, True)
    assert "does not answer" in str(stopped_by(run))


NIGHT = datetime(2026, 11, 21, 3, 30, tzinfo=UTC)
STOPPED = [{"kind": "stopped", "expected": "The shop does not answer."}]


@pytest.mark.parametrize(
    ("runs", "now", "due"),
    [
        ([], NIGHT - timedelta(minutes=1), False),
        ([], NIGHT + timedelta(minutes=1), True),
        ([], NIGHT + timedelta(hours=2), False),  # the first one waits for its hour
        ([(-20, 0, [])], NIGHT + timedelta(minutes=1), True),
        ([(-20, 0, [])], NIGHT + timedelta(hours=9), True),  # nothing ran at night
        ([(0.1, 0.2, [])], NIGHT + timedelta(hours=9), False),
        ([(0.1, 0.2, [])], NIGHT + timedelta(hours=24.1), True),
        ([(0.1, 0.2, STOPPED)], NIGHT + timedelta(minutes=50), False),  # one try an hour
        ([(0.1, 0.2, STOPPED)], NIGHT + timedelta(hours=2), True),
        ([(0.1, 0.2, STOPPED), (1.2, 1.3, [])], NIGHT + timedelta(hours=3), False),
        ([(0.1, None, [])], NIGHT + timedelta(minutes=30), False),
        ([(0.1, None, [])], NIGHT + timedelta(hours=2), True),  # killed
    ],
)
def test_when_a_night_is_due(
    sessions: sessionmaker[Session],
    runs: list[tuple[float, float | None, list[dict[str, str]]]],
    now: datetime,
    *,
    due: bool,
) -> None:
    with session_scope(sessions) as session:
        for began, ended, rejected in runs:
            at = NIGHT + timedelta(hours=began)
            end = None if ended is None else NIGHT + timedelta(hours=ended)
            session.add(
                ImportRun(
                    source="https://s", format="x", mode="reconcile", rejected=rejected, started_at=at, finished_at=end
                )
            )
        session.flush()
        assert is_due(session, "03:30", now) is due
        assert is_due(session, "off", now) is False


def test_five_sizes_become_two(shop: ShopServer, catalogue: Catalogue) -> None:
    """Variants that go, come and change price are taken over by a comparison, too."""
    shop.stock(3)
    catalogue.read(shop, keys=True)
    shop.edit(3, varieties=[Variety(31, "NEW-S", "S", "2.00", 1), Variety(32, "NEW-XL", "XL", "3.00", 0)])
    assert catalogue.reconcile(shop).counts == {"updated": 1, "unchanged": 2}
    found = catalogue.product("3")
    assert [(one.sku, one.price, one.availability) for one in found.variants] == [
        ("NEW-S", 2.0, "in_stock"),
        ("NEW-XL", 3.0, "out_of_stock"),
    ]
