"""What a shopper does on the page reaches the database once, and moves what a refinement finds."""

import time
from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from backend.db import session_scope
from backend.events.models import Event, ServedPage
from backend.events.query_ids import day_of
from tests.browser.conftest import OpenTab, Stack, settled, shown

pytestmark = pytest.mark.browser


def arrived(stack: Stack, enough: Callable[[Sequence[Event]], bool], after: int) -> Sequence[Event]:
    """The page's events with an id above ``after``, once there are enough of them."""
    for _ in range(100):
        with session_scope(stack.sessions) as session:
            fresh = select(Event).where(Event.id > after, Event.source == "client", Event.type != "exposure")
            found = session.scalars(fresh.order_by(Event.id))
            events = found.all()
        if enough(events):
            return events
        time.sleep(0.05)
    pytest.fail(f"only these came: {[(one.type, one.product_id, one.dwell_ms) for one in events]}")


def last_event(stack: Stack) -> int:
    with session_scope(stack.sessions) as session:
        return session.scalar(select(Event.id).order_by(Event.id.desc()).limit(1)) or 0


def test_opening_looking_and_coming_back_are_told_once_with_the_list_they_belong_to(shop: Page, stack: Stack) -> None:
    before, products = last_event(stack), shown(shop)
    began = time.monotonic()
    shop.locator(".card-link").nth(1).click()
    expect(shop.locator(".mini").first).to_be_visible()
    shop.wait_for_timeout(400)
    shop.keyboard.press("Escape")
    expect(shop.get_by_role("dialog")).to_be_hidden()
    looked_ms = (time.monotonic() - began) * 1000
    events = arrived(stack, lambda found: len(found) >= 3, before)
    assert [(one.type, one.product_id) for one in events] == [
        (kind, products[1]) for kind in ("click", "dwell", "return")
    ]
    (query_id,) = {one.query_id for one in events}
    with session_scope(stack.sessions) as session:
        assert session.get_one(ServedPage, (query_id, day_of(query_id), 1)).product_ids == products
    assert len({one.session_id for one in events}) == 1
    for one in events[1:]:
        assert 400 <= (one.dwell_ms or 0) <= looked_ms + 1


def test_a_similar_product_counts_for_the_list_of_similar_ones_and_a_page_that_is_left_still_tells(
    shop: Page, stack: Stack
) -> None:
    before = last_event(stack)
    shop.locator(".card-link").first.click()
    shop.locator(".mini a").first.click()
    shop.wait_for_timeout(300)
    shop.goto("about:blank")
    events = arrived(stack, lambda found: [one.type for one in found].count("dwell") == 2, before)
    assert [one.type for one in events] == ["click", "dwell", "click", "dwell"]
    assert events[0].query_id == events[1].query_id != events[2].query_id == events[3].query_id


def test_a_similar_product_that_is_gone_back_to_still_counts_for_its_list(shop: Page, stack: Stack) -> None:
    before, results = last_event(stack), set(shown(shop))
    shop.locator(".card-link").first.click()
    expect(shop.locator(".mini").first).to_be_visible()
    similar = shop.eval_on_selector_all(".mini", "cards => cards.map((card) => card.dataset.product)")
    product = next(one for one in similar if one not in results)
    shop.locator(f'.mini[data-product="{product}"] a').click()
    expect(shop.locator(f'.mini[data-product="{product}"]')).to_have_count(0)
    shop.locator(".mini a").first.click()
    shop.wait_for_timeout(100)
    shop.go_back()
    shop.wait_for_timeout(300)
    shop.goto("about:blank")
    found = arrived(stack, lambda found: [one.product_id for one in found].count(product) == 3, before)
    events = [one for one in found if one.product_id == product]
    assert [one.type for one in events] == ["click", "dwell", "dwell"]
    assert len({one.query_id for one in events}) == 1


def test_a_page_that_was_told_not_to_tells_nothing(stack: Stack, open_tab: OpenTab) -> None:
    before, tab = last_event(stack), open_tab()
    tab.page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    sent: list[str] = []
    tab.page.on("request", lambda request: sent.append(request.url))
    tab.page.goto(stack.url)
    settled(tab.page)
    tab.page.locator(".card-link").first.click()
    expect(tab.page.locator(".mini").first).to_be_visible()
    tab.page.wait_for_timeout(400)
    tab.page.goto("about:blank")
    assert not [url for url in sent if "/v1/events" in url]
    assert last_event(stack) == before
