"""The setup page, over a shop that has some of everything: deliveries, parked pictures, a switch under way."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect
from pydantic import SecretStr
from sqlalchemy import delete, select, update

from backend.access.callers import Scope
from backend.access.keys import create_key
from backend.blobs import BlobStore
from backend.catalog.models import ProductImage
from backend.catalog.repository import delete_product, upsert_products
from backend.catalog.schemas import ProductIn
from backend.catalog.shops.platform import Shop
from backend.catalog.webhooks.apply import Applier
from backend.catalog.webhooks.models import Delivery
from backend.db import session_scope
from backend.generations.builds import start_build
from backend.generations.models import Generation, IndexBuild
from backend.generations.promote import go_live
from backend.learning.models import NightlyRun
from tests.browser.conftest import SCRIPT, OpenTab, Stack, Tab, serving
from tests.fixtures.components import free_port
from tests.fixtures.nights import keep_night

pytestmark = pytest.mark.browser
SECRET = "webhook-secret"


@pytest.fixture(scope="module")
def house(stack: Stack) -> Iterator[Stack]:
    """The shop as its owner sees it: it takes webhooks, and some pictures could not be had."""
    settings = stack.settings.model_copy(update={"port": free_port(), "shopify_secret": SecretStr(SECRET)})
    blobs = BlobStore(settings.blob_dir)
    product = {"id": "own-1", "title": "Own", "images": ["https://127.0.0.1:1/own.jpg", f"https://x.example/?{SCRIPT}"]}
    with serving(settings, stack.sessions) as running:
        with session_scope(stack.sessions) as session:
            upsert_products(session, [ProductIn.model_validate(product)], blobs=blobs)
            session.execute(
                update(ProductImage)
                .where(ProductImage.source.like("https://%"))
                .values(state="parked", attempts=5, error=f"The server answered 404. {SCRIPT}")
            )
        for number, key in ((1, SECRET), (2, SECRET), (2, SECRET), (3, "another")):
            deliver(running, number, key)
        Applier(stack.sessions, blobs, Shop(None, None), on_written=lambda _session: None).run_due()
        yield running
        with session_scope(stack.sessions) as session:
            for gone in ("own-1", "1", "2"):
                delete_product(session, gone)
            session.execute(delete(Delivery))


def deliver(house: Stack, number: int, key: str) -> None:
    """A product of Shopify's, signed with ``key``."""
    body = json.dumps(
        {
            "id": number,
            "title": f"Delivered {SCRIPT}",
            "updated_at": "2026-11-20T09:00:00Z",
            "variants": [],
            "images": [],
        }
    ).encode()
    headers = {
        "X-Shopify-Topic": "products/update",
        "X-Shopify-Webhook-Id": f"delivery-{number}",
        "X-Shopify-Hmac-Sha256": base64.b64encode(hmac.new(key.encode(), body, hashlib.sha256).digest()).decode(),
    }
    answer = httpx.post(f"{house.url}/v1/webhooks/shopify", content=body, headers=headers)
    assert answer.status_code == (200 if key == SECRET else 401)


@pytest.fixture(scope="module")
def admin_key(stack: Stack) -> str:
    with session_scope(stack.sessions) as session:
        return create_key(session, name="owner", scope=Scope.ADMIN).secret


@pytest.fixture
def tab(house: Stack, open_tab: OpenTab) -> Iterator[Tab]:
    """The page as who sits at the demo's machine opens it; at the end it must not have complained."""
    tab = open_tab()
    tab.page.goto(f"{house.url}/setup")
    tab.page.locator("body.ready").wait_for()
    yield tab
    # a picture that cannot be had, and a 403 that asks for a key, are noted by the browser itself
    assert [said for said in tab.complaints if "Failed to load resource" not in said] == []


def check(page: Page, name: str) -> Any:
    return page.locator(f"[data-check={name}]")


def test_the_demo_is_shown_without_a_key_with_what_is_missing_and_the_next_command(admin_key: str, tab: Tab) -> None:
    page = tab.page
    expect(page.locator(".summary")).to_contain_text(re.compile(r"attention; \d+ of \d+ steps are done"))
    expect(check(page, "encoder")).to_contain_text("morelike encoder fetch")
    expect(check(page, "public_url")).to_contain_text("MORELIKE_PUBLIC_URL")
    expect(check(page, "webhook_secret")).to_have_class(re.compile("done"))
    expect(check(page, "verdicts")).to_contain_text("1 with a wrong signature")
    assert "problem" in (page.locator(".check").first.get_attribute("class") or "")
    expect(page.locator(".use")).to_contain_text("demo@")
    expect(page.locator(".use")).to_contain_text("drawings only")
    expect(page.locator(".keys")).to_contain_text(f"{admin_key[:12]}…")
    assert admin_key not in page.content()


def test_a_command_is_copied_and_a_folded_check_stays_folded(house: Stack, open_tab: OpenTab) -> None:
    page = open_tab(permissions=["clipboard-read", "clipboard-write"]).page
    page.goto(f"{house.url}/setup")
    page.get_by_role("button", name="Copy: morelike encoder fetch ViT-B-32:laion2b_s34b_b79k").click()
    assert page.evaluate("navigator.clipboard.readText()") == "morelike encoder fetch ViT-B-32:laion2b_s34b_b79k"
    check(page, "encoder").locator("summary").click()
    expect(check(page, "encoder").locator(".check-steps")).to_be_hidden()
    page.reload()
    page.locator("body.ready").wait_for()
    expect(check(page, "encoder").locator(".check-steps")).to_be_hidden()


def test_deliveries_are_filtered_and_looked_into(tab: Tab) -> None:
    page = tab.page
    rows = page.locator(".deliveries tbody tr")
    expect(rows).to_have_count(3)
    page.get_by_role("button", name=re.compile("^rejected")).click()
    expect(rows).to_have_count(1)
    rows.first.locator(".link").click()
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text("not signed")
    expect(sheet.get_by_role("button", name="Apply it again")).to_have_count(0)
    page.keyboard.press("Escape")
    page.locator(".deliveries").get_by_role("button", name=re.compile("^all")).click()
    page.get_by_label("Platform").select_option("generic")
    expect(page.locator(".deliveries")).to_contain_text("None of these.")
    page.get_by_label("Platform").select_option("shopify")
    expect(rows).to_have_count(3)


def test_a_delivery_is_applied_again_with_a_key_that_is_asked_for_then(tab: Tab, house: Stack, admin_key: str) -> None:
    page = tab.page
    row = page.locator(".deliveries tbody tr", has_text="repetition")
    row.locator(".link").click()
    sheet = page.get_by_role("dialog")
    expect(sheet.locator("pre").last).to_contain_text('"updated_at": "2026-11-20T09:00:00Z"')
    sheet.get_by_role("button", name="Apply it again").click()
    expect(sheet).to_contain_text("needs an admin key")
    sheet.get_by_label("Admin key", exact=True).fill(admin_key)
    sheet.get_by_role("button", name="Use this key").click()
    expect(page.locator(".toast")).to_contain_text("1 delivery will be applied again")
    expect(page.locator(".deliveries tbody")).to_contain_text("waiting")
    expect(page.locator(".key-shown")).to_contain_text("mk_adm_")
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("button", name="Use an admin key")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('morelike-admin-key')") is None
    assert house.url in page.url


def test_parked_pictures_show_their_reason_and_are_tried_again(house: Stack, open_tab: OpenTab, admin_key: str) -> None:
    page = open_tab().page
    page.goto(f"{house.url}/setup#key={admin_key}")
    page.locator("body.ready").wait_for()
    assert admin_key not in page.url
    pictures = page.locator(".picture")
    expect(pictures).to_have_count(2)
    expect(pictures.first).to_contain_text("The server answered 404.")
    pictures.first.scroll_into_view_if_needed()
    expect(pictures.first.locator(".preview.none")).to_be_visible()  # it cannot be had here either
    pictures.first.get_by_role("button", name="Try again: own-1").click()
    expect(page.locator(".toast")).to_contain_text("1 picture will be tried again")
    expect(pictures).to_have_count(1)


def test_a_switch_shows_its_progress_and_can_be_given_up(house: Stack, open_tab: OpenTab, admin_key: str) -> None:
    with session_scope(house.sessions) as session:
        build = start_build(session, "local-dir:/srv/encoders/real", promote=True, actor="test").id
    page = open_tab().page
    page.goto(f"{house.url}/setup#key={admin_key}")
    switch = page.locator(".switch")
    expect(switch).to_contain_text("Opening the encoder")
    expect(check(page, "encoder")).to_contain_text("A switch to local-dir:/srv/encoders/real is under way")

    def halfway(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        next(one for one in found["builds"] if one["id"] == build).update(
            {"step": "backfill", "progress": {"products": 76, "total": 152}}
        )
        route.fulfill(response=answer, json=found)

    page.route("**/v1/builds*", halfway)
    expect(switch.locator("progress")).to_have_attribute("value", "50")
    expect(switch).to_contain_text("76 of 152 products")
    page.unroute_all(behavior="wait")  # one may be on its way
    switch.get_by_role("button", name="Give it up").click()
    expect(page.locator(".toast")).to_contain_text("given up")
    expect(switch).to_be_hidden()
    with session_scope(house.sessions) as session:
        assert session.get_one(IndexBuild, build).state == "dropped"


def test_with_the_box_ticked_nothing_goes_live_without_a_guard(house: Stack, open_tab: OpenTab, admin_key: str) -> None:
    with session_scope(house.sessions) as session:
        live = session.scalars(select(Generation).where(Generation.state == "live")).one()
        other = Generation(
            index_build_id=live.index_build_id, calibration=live.calibration, code_version="1", state="ready"
        )
        session.add(other)
        session.flush()
        before, after = live.id, other.id
    page = open_tab().page
    page.goto(f"{house.url}/setup#key={admin_key}")
    page.get_by_text("Generations and builds").click()
    make_live = page.get_by_role("row", name=f"g{after} ").get_by_role("button", name="Make live")
    page.get_by_label("Guard what I make live").check()
    make_live.click()
    expect(page.locator(".toast")).to_contain_text("Nothing went live: guards are turned off.")  # as in this stack
    with session_scope(house.sessions) as session:
        assert session.get_one(Generation, before).state == "live"
    page.get_by_label("Guard what I make live").uncheck()
    make_live.click()
    expect(page.locator(".toast")).to_contain_text(f"g{after} is live.")
    with session_scope(house.sessions) as session:
        go_live(session, before, actor="test")


def test_elsewhere_it_asks_for_a_key_and_says_what_is_wrong_with_one(
    stack: Stack, open_tab: OpenTab, admin_key: str
) -> None:
    settings = stack.settings.model_copy(update={"port": free_port(), "demo": False})
    with serving(settings, stack.sessions) as running:
        page = open_tab().page
        page.goto(f"{running.url}/setup")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("this operation needs a key")
        alert.get_by_role("button", name="Use an admin key").click()
        page.get_by_label("Admin key", exact=True).fill(stack.key_for(running.url))
        page.keyboard.press("Enter")
        expect(alert).to_contain_text("may not do this")
        alert.get_by_role("button", name="Use an admin key").click()
        page.get_by_label("Admin key", exact=True).fill(admin_key)
        page.keyboard.press("Enter")
        expect(page.locator(".check").first).to_be_visible()
        expect(alert).to_be_empty()


def test_a_server_that_is_away_is_said_and_comes_back(tab: Tab) -> None:
    page = tab.page
    page.route("**/v1/setup", lambda route: route.abort())
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("does not answer")
    page.unroute("**/v1/setup")
    alert.get_by_role("button", name="Try again").click()
    expect(alert).to_be_empty()


def test_a_phone_has_everything_without_scrolling_sideways(house: Stack, open_tab: OpenTab) -> None:
    tab = open_tab(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = tab.page
    page.goto(f"{house.url}/setup")
    page.locator("body.ready").wait_for()
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(fits)
    page.locator(".deliveries tbody tr").first.tap()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate(fits)
    page.get_by_role("button", name="Close").tap()
    page.locator(".history summary").tap()
    assert page.evaluate(fits)
    small = page.eval_on_selector_all(
        "button, select, summary",
        """all => all.filter((one) => one.checkVisibility() && !one.matches(".link"))
                  .map((one) => one.getBoundingClientRect()).filter((box) => box.height < 34).length""",
    )
    assert small == 0


def test_markup_that_strangers_sent_is_text(tab: Tab) -> None:
    page = tab.page
    page.locator(".deliveries tbody tr .link").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert page.locator("main script, main img[src='x'], dialog script, dialog img[src='x']").count() == 0


def test_every_control_has_a_name_and_every_heading_its_place(tab: Tab) -> None:
    nameless = tab.page.eval_on_selector_all(
        "button, input, select, a, summary",
        """all => all.filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.[0]?.textContent.trim()))
                  .map((one) => one.outerHTML)""",
    )
    assert nameless == []
    levels = tab.page.eval_on_selector_all(
        "h1, h2, h3", "all => all.filter((one) => one.checkVisibility()).map((one) => one.tagName)"
    )
    assert levels[0] == "H1"
    assert levels.count("H1") == 1


def test_what_shoppers_do_stands_there_a_moment_later_and_what_was_refused_says_why(house: Stack, tab: Tab) -> None:
    page = tab.page
    stream = page.locator(".stream")
    send(house, {"message_id": "setup-1", "type": "click", "product_id": "<b>hacked</b>", "surface": "web"})
    expect(stream.locator("tbody tr").first).to_contain_text("click")
    expect(stream.locator("tbody tr").first).to_contain_text("<b>hacked</b> · on no known list")
    send(house, {"message_id": "setup-2", "type": "klick", "product_id": "p1", "shopper_id": "somebody"})
    page.get_by_role("button", name="refused").click()
    first = stream.locator("tbody tr").first
    expect(first).to_contain_text("klick")
    first.locator(".link").click()
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text('"message_id": "setup-2"')
    expect(sheet).not_to_contain_text("somebody")
    page.keyboard.press("Escape")
    expect(page.locator(".collected")).to_contain_text("know the list that they were done on")
    expect(page.locator(".collected")).to_contain_text("Running experiments")


def test_what_the_gates_wait_for_stands_there_with_the_last_night(stack: Stack, tab: Tab) -> None:
    with session_scope(stack.sessions) as session:
        number = keep_night(session, 1).id
    tab.page.reload()
    learning = tab.page.locator("#learning")
    expect(learning).to_contain_text("No update tonight: the interval includes 0.")
    expect(learning.locator(".wait").first).to_contain_text("312 of 2,000 satisfied clicks")
    expect(learning.locator(".wait").first).to_contain_text("about 41 days at this rate")
    expect(check(tab.page, "learning")).to_contain_text("312 of 2,000 satisfied clicks")
    with session_scope(stack.sessions) as session:
        session.execute(delete(NightlyRun).where(NightlyRun.id == number))


def test_an_answer_that_comes_after_another_filter_was_chosen_is_not_shown(tab: Tab) -> None:
    page, late = tab.page, list[Route]()

    def hold(route: Route) -> None:
        late.append(route)

    page.route("**/v1/events?*verdict=all", hold)
    with page.expect_request("**/v1/events?*verdict=all"):
        pass
    with page.expect_response("**/v1/events?*verdict=rejected"):
        page.get_by_role("button", name="refused").click()
    accepted = {"id": 1, "verdict": "accepted", "type": "too late", "received_at": "2026-11-21T09:00:00Z"}
    with page.expect_response("**/v1/events?*verdict=all"):
        late[0].fulfill(json={"events": [accepted]})
    page.wait_for_timeout(300)  # the next look would put it right
    assert "too late" not in page.locator(".stream").inner_text()


def send(house: Stack, event: dict[str, Any]) -> None:
    """An event, as a page of the shop's sends it."""
    answer = httpx.post(f"{house.url}/v1/events", json=[event], headers={"User-Agent": "Mozilla/5.0"})
    assert answer.status_code == 202
