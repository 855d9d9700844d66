"""The collector on a shop's own pages, with the shopper's consent and without, and where the network fails."""

import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select

from backend.db import session_scope
from backend.events.models import Event
from tests.browser.conftest import OpenTab, Serve, Stack, search, settled, shown
from tests.fixtures.stacks import PATIENCE_S

pytestmark = pytest.mark.browser

HEAD = '<!doctype html><html lang="en"><head><title>Mine</title><link rel="icon" href="data:,"></head><body>'
RESULTS = f"""{HEAD}<div id="shop"></div><script src="API/morelike.js" data-key="KEY" data-target="#shop"
 data-query="a mug" data-product-page="link" OPTIONS></script></body></html>"""
PRODUCT_PAGE = f"""{HEAD}<h1>PRODUCT</h1><script src="API/morelike.js" data-key="KEY" data-product="PRODUCT"></script>
</body></html>"""


def last_event(stack: Stack) -> int:
    with session_scope(stack.sessions) as session:
        return session.scalar(select(Event.id).order_by(Event.id.desc()).limit(1)) or 0


def arrived(stack: Stack, after: int, enough: Callable[[Sequence[Event]], bool]) -> Sequence[Event]:
    """The pages' events with an id above ``after``, once there are enough."""
    patience = time.monotonic() + PATIENCE_S
    while True:
        with session_scope(stack.sessions) as session:
            fresh = select(Event).where(Event.id > after, Event.source == "client").order_by(Event.id)
            found = session.scalars(fresh).all()
        if enough(found):
            return found
        assert time.monotonic() < patience, [(one.type, one.product_id) for one in found]
        time.sleep(0.05)


def having(*types: str) -> Callable[[Sequence[Event]], bool]:
    """Whether there is at least one event of each type."""
    return lambda found: set(types) <= {one.type for one in found}


def with_own_pages(page: Page, origin: str) -> None:
    """The shop has a page for each product, and says so in its catalogue."""

    def answer(route: Route) -> None:
        said = route.fetch()
        body: dict[str, Any] = said.json()
        for hit in body["hits"]:
            hit["product"]["url"] = f"{origin}/product?id={hit['product_id']}"
        route.fulfill(response=said, json=body)

    page.route("**/v1/search", answer)


def test_what_is_done_on_the_shops_own_pages_counts_for_the_list_it_came_from(
    serve: Serve, stack: Stack, open_tab: OpenTab
) -> None:
    before, tab = last_event(stack), open_tab()
    page = tab.page
    origin = serve(RESULTS.replace("OPTIONS", 'data-user="u1"'), {"/product": PRODUCT_PAGE})
    with_own_pages(page, origin)
    page.goto(origin)
    settled(page)
    product = shown(page)[1]
    page.locator(".card-link").nth(1).click()
    expect(page.locator("h1")).to_have_text(product)
    expect(page).to_have_url(f"{origin}/product?id={product}")  # without the list, so that a shared link has none
    page.wait_for_timeout(400)
    page.evaluate("(id) => Morelike.collector.addedToCart(id, {quantity: 2, price: 12.5, currency: 'EUR'})", product)
    page.go_back()
    settled(page)
    arrived(stack, before, having("click", "dwell", "add_to_cart", "return"))
    page.goto(f"{origin}/product?id=elsewhere")
    order = (
        "(id) => Morelike.collector.purchased({currency: 'EUR', items: [{productId: id, quantity: 2, price: 12.5}]})"
    )
    page.evaluate(order, product)
    page.evaluate("Morelike.collector.reworded('q_a', 'q_a')")  # the same list: nothing was left
    events = arrived(stack, before, having("purchase"))
    ours = [one for one in events if one.product_id == product and one.type != "exposure"]
    assert [one.type for one in ours] == ["click", "add_to_cart", "dwell", "return", "purchase"]
    (query_id,) = {one.query_id for one in ours}
    assert query_id is not None
    assert len({(one.shopper_id, one.session_id) for one in ours}) == 1
    assert ours[0].user_id is not None
    cart = ours[1]
    assert (cart.quantity, float(cart.price or 0), cart.currency) == (2, 12.5, "EUR")
    assert all((one.dwell_ms or 0) >= 400 for one in ours if one.type in ("dwell", "return"))
    assert tab.complaints == []


def kept(page: Page) -> set[str]:
    """Names of what the browser keeps for the page."""
    return set(page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]"))


def test_nothing_is_told_or_kept_before_the_shopper_agrees_nor_after_that_is_withdrawn(
    serve: Serve, stack: Stack, open_tab: OpenTab
) -> None:
    before, page = last_event(stack), open_tab().page
    searches: list[dict[str, Any]] = []
    told: list[str] = []
    page.on("request", lambda one: searches.append(one.post_data_json) if one.url.endswith("/v1/search") else None)
    page.on("request", lambda one: told.append(one.post_data or "") if "/v1/events" in one.url else None)
    page.goto(serve(RESULTS.replace('data-product-page="link"', "").replace("OPTIONS", 'data-collect="consent"')))
    settled(page)
    page.locator(".card-link").first.click()
    expect(page.locator(".mini").first).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_timeout(900)
    assert all(not {"shopper_id", "session_id", "user_id"} & set(one) for one in searches)
    assert (told, kept(page)) == ([], set())
    assert len(searches) == 2

    page.evaluate("Morelike.consent(true)")
    arrived(stack, before, having("exposure"))
    page.reload()
    settled(page)
    assert {"shopper_id", "session_id", "locale", "columns"} <= set(searches[-1])
    assert (searches[-1]["layout"], searches[-1]["surface"], searches[-1]["device"]) == ("grid", "web", "desktop")
    assert {"morelike-consent", "morelike-shopper", "morelike-session"} <= kept(page)

    page.evaluate("Morelike.consent(false)")
    so_far = len(told)
    page.reload()
    settled(page)
    page.wait_for_timeout(900)
    assert kept(page) == {"morelike-consent"}
    assert len(told) == so_far
    assert not {"shopper_id", "session_id"} & set(searches[-1])


def test_what_could_not_be_sent_is_sent_by_the_next_page_and_counts_once(stack: Stack, open_tab: OpenTab) -> None:
    before, page = last_event(stack), open_tab().page
    page.add_init_script("navigator.sendBeacon = () => false")  # one of a page that closes is not always routed
    page.route("**/v1/events*", lambda route: route.abort())
    page.goto(stack.url)
    settled(page)
    products = shown(page)
    with page.expect_event("requestfailed", lambda one: "/v1/events" in one.url):
        page.locator(".card-link").first.click()
    page.goto("about:blank")
    assert last_event(stack) == before
    page.unroute_all()
    page.goto(stack.url)
    events = arrived(stack, before, having("click", "dwell"))
    assert [(one.type, one.product_id) for one in events if one.type == "click"] == [("click", products[0])]
    settled(page)
    assert json.loads(page.evaluate("localStorage.getItem('morelike-unsent')") or "null") is None


def test_a_product_opened_in_a_tab_of_its_own_is_a_click_and_the_results_stay_in_sight(
    shop: Page, stack: Stack
) -> None:
    before, products = last_event(stack), shown(shop)
    with shop.context.expect_page() as opened:
        shop.locator(".card-link").nth(1).click(modifiers=["ControlOrMeta"])
    events = arrived(stack, before, having("click"))
    assert [(one.product_id) for one in events if one.type == "click"] == [products[1]]
    expect(opened.value.get_by_role("dialog")).to_be_visible()
    assert re.search("/product/", opened.value.url)


PAGE_IS_LEFT = "dispatchEvent(new PageTransitionEvent('pagehide')), JSON.parse(localStorage.getItem('morelike-unsent'))"


def test_what_no_beacon_took_is_kept_beside_what_another_tab_left(stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab().page
    page.add_init_script("delete Navigator.prototype.sendBeacon")
    page.route("**/v1/events*", lambda route: route.abort())
    page.goto(stack.url)
    settled(page)
    page.evaluate("localStorage.setItem('morelike-unsent', JSON.stringify([{message_id: 'of-another-tab'}]))")
    page.locator(".card-link").first.click()
    left = page.evaluate(PAGE_IS_LEFT)
    assert left[0] == {"message_id": "of-another-tab"}
    assert "click" in [one.get("type") for one in left]


def with_events_held(page: Page, lost: int) -> list[Route]:
    """Batches of events that wait for an answer; the first ``lost`` get none."""
    waiting: list[Route] = []
    seen: list[Route] = []

    def answer(route: Route) -> None:
        seen.append(route)
        if len(seen) <= lost:
            route.abort()
        else:
            waiting.append(route)

    page.route("**/v1/events*", answer)
    return waiting


def until_held(page: Page, waiting: list[Route]) -> None:
    patience = time.monotonic() + PATIENCE_S
    while not waiting:
        assert time.monotonic() < patience
        page.wait_for_timeout(50)


def test_what_is_tried_again_while_the_page_is_left_is_kept(stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab().page
    waiting = with_events_held(page, lost=1)
    page.goto(stack.url)
    settled(page)
    page.locator(".card-link").first.click()
    until_held(page, waiting)
    assert "click" in [one["type"] for one in page.evaluate(PAGE_IS_LEFT)]


def test_what_is_under_way_when_the_shopper_says_no_is_not_sent_again(stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab().page
    waiting = with_events_held(page, lost=0)
    page.goto(stack.url)
    settled(page)
    page.locator(".card-link").first.click()
    until_held(page, waiting)
    page.evaluate("Morelike.consent(false)")
    waiting[0].abort()
    page.wait_for_timeout(1500)  # a second after a failure it would be tried again
    assert len(waiting) == 1
    assert kept(page) == {"morelike-consent"}


def test_where_the_browser_keeps_nothing_more_the_shopper_has_one_name_and_may_still_say_no(
    stack: Stack, open_tab: OpenTab
) -> None:
    page = open_tab().page
    searches: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    page.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }")
    page.on("request", lambda one: searches.append(one.post_data_json) if one.url.endswith("/v1/search") else None)
    page.on(
        "request",
        lambda one: told.extend(json.loads(one.post_data or "")["batch"]) if "/v1/events" in one.url else None,
    )
    page.goto(stack.url)
    settled(page)
    with page.expect_request("**/v1/events*"):
        page.locator(".card-link").first.click()
    expect(page.locator(".mini").first).to_be_visible()
    assert len({(one["shopper_id"], one["session_id"]) for one in [*searches, *told]}) == 1
    page.evaluate("Morelike.consent(false)")
    so_far = len(told)
    page.keyboard.press("Escape")
    search(page, "a mug")
    page.wait_for_timeout(900)
    assert len(told) == so_far
    assert not {"shopper_id", "session_id"} & set(searches[-1])


def test_a_long_session_keeps_only_its_last_lists_in_memory(shop: Page) -> None:
    size = shop.evaluate(
        "() => { const {refiner} = document.querySelector('#shop').morelike;"
        " for (let n = 0; n < 300; n += 1) refiner.keep({query_id: `q_${n}`}, []);"
        " return [refiner.lists.size, refiner.lists.has('q_299')]; }"
    )
    assert size == [100, True]
