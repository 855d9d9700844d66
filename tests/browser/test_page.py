"""Product pages, the call that can be pasted, what is shown when things go wrong, phones, keyboards, hostile text."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response, Route, expect

from tests.browser.conftest import HOSTILE, OpenTab, Stack, kept_picture, search, settled, shown

pytestmark = pytest.mark.browser


def test_a_product_page_opens_shows_similar_ones_and_back_leads_to_the_results(shop: Page) -> None:
    before = shown(shop)
    shop.locator(".card-link").nth(2).click()
    dialog = shop.get_by_role("dialog")
    expect(shop).to_have_url(re.compile(rf"#/product/{before[2]}$"))
    expect(dialog.locator(".attributes")).to_contain_text("Colour")
    expect(dialog.locator(".mini").first).to_be_visible()
    assert dialog.locator(".stage img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    dialog.locator(".mini a").first.click()
    expect(shop).not_to_have_url(re.compile(before[2]))
    shop.go_back()
    expect(shop).to_have_url(re.compile(rf"#/product/{before[2]}$"))
    shop.go_back()
    expect(dialog).to_be_hidden()
    assert shown(shop) == before
    shop.go_forward()
    expect(dialog).to_be_visible()


def test_closing_a_product_page_leads_to_the_results_however_many_products_lie_between(shop: Page) -> None:
    shop.locator(".card-link").first.click()
    for _ in range(2):
        at = shop.url
        shop.locator(".mini a").first.click()
        expect(shop).not_to_have_url(at)
    shop.keyboard.press("Escape")
    expect(shop.get_by_role("dialog")).to_be_hidden()
    expect(shop).not_to_have_url(re.compile("product"))


def test_a_product_page_can_be_shared(shop: Page, stack: Stack) -> None:
    shop.goto(f"{stack.url}/#/product/demo-00005")
    expect(shop.locator("#product-title")).not_to_have_text("Looking…")
    shop.get_by_role("button", name="Back to the results").click()
    expect(shop.get_by_role("dialog")).to_be_hidden()
    assert shown(shop)


def has_facets(answer: Response) -> bool:
    """Whether the answer was to a search of the results, not of the strip on a product page."""
    return "facets" in answer.request.post_data_json


def test_more_like_this_on_a_product_page_searches(shop: Page) -> None:
    shop.locator(".card-link").first.click()
    with shop.expect_response(lambda answer: answer.url.endswith("/v1/search") and has_facets(answer)):
        shop.get_by_role("dialog").get_by_role("button", name="More like this").click()
    expect(shop.get_by_role("dialog")).to_be_hidden()
    expect(shop.locator(".box-chip")).to_have_count(1)


def test_a_product_that_is_gone_says_so(stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab().page
    page.goto(f"{stack.url}/#/product/no-such-thing")
    expect(page.get_by_role("dialog")).to_contain_text("there is no such product")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_call_that_is_shown_does_the_same_when_it_is_pasted(
    stack: Stack, open_tab: OpenTab, tmp_path: Path
) -> None:
    page = open_tab(permissions=["clipboard-read", "clipboard-write"]).page
    page.goto(stack.url)
    settled(page)
    search(page, 'a hat that isn\'t "wool" $HOME `id` \\')
    wanted, path = kept_picture(tmp_path, 43)
    for prepare in ("words", "picture"):
        if prepare == "picture":
            with page.expect_response("**/v1/search"):
                page.locator("input[type=file]").set_input_files(path)
            settled(page)
        page.get_by_role("button", name="The call").click()
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_text("Copied.")).to_be_visible()
        command = page.evaluate("navigator.clipboard.readText()")
        said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=300)
        assert [hit["product_id"] for hit in json.loads(said.stdout)["hits"]] == shown(page)
        page.keyboard.press("Escape")
    assert shown(page)[0] == wanted


def test_nothing_found_offers_to_take_filters_off(shop: Page) -> None:
    shop.get_by_label("to", exact=True).fill("0")
    with shop.expect_response("**/v1/search"):
        shop.keyboard.press("Enter")
    message = shop.locator(".message")
    expect(message).to_contain_text("Nothing fits all of this")
    expect(shop.locator(".status")).to_have_text("No products")
    message.get_by_role("button", name=re.compile("^Remove")).click()
    expect(shop.locator(".card").first).to_be_visible()


def fail_with(status: int, problem: dict[str, object], headers: dict[str, str] | None = None) -> object:
    """A route that answers the way the API does when it cannot."""

    def answer(route: Route) -> None:
        route.fulfill(
            status=status,
            headers={"Content-Type": "application/problem+json", **(headers or {})},
            body=json.dumps({"status": status, **problem}),
        )

    return answer


def test_a_failure_is_told_in_the_servers_words_and_can_be_tried_again(stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab().page
    page.route("**/v1/search", fail_with(503, {"title": "Down", "detail": "the index does not answer"}))
    page.goto(stack.url)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("the index does not answer")
    page.unroute("**/v1/search")
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator(".card").first).to_be_visible()
    expect(alert).to_have_count(0)


def test_a_rate_limit_is_waited_out(stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab().page
    page.route(
        "**/v1/search", fail_with(429, {"title": "Too many", "detail": "too often"}, {"Retry-After": "2"}), times=1
    )
    page.goto(stack.url)
    expect(page.get_by_role("alert")).to_contain_text(re.compile("goes on in [12] s"))
    expect(page.locator(".card-link").first).to_be_visible()


def test_offline_says_so_and_goes_on_when_the_connection_is_back(stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab().page
    page.goto(stack.url)
    settled(page)
    page.context.set_offline(True)
    page.locator(".box-input").fill("a chair")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("offline")
    page.context.set_offline(False)
    expect(page.locator(".card-link").first).to_be_visible()


def test_a_slow_answer_shows_shapes_then_says_that_it_takes_longer(stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab().page

    def slowly(route: Route) -> None:
        time.sleep(2.6)
        route.continue_()

    page.route("**/v1/search", slowly)
    page.goto(stack.url, wait_until="commit")
    expect(page.locator(".skeleton").first).to_be_visible()
    expect(page.locator(".status")).to_contain_text("Still looking")
    expect(page.locator(".card-link").first).to_be_visible()
    expect(page.locator(".skeleton")).to_have_count(0)


def test_an_answer_that_was_overtaken_is_not_shown(shop: Page) -> None:
    held: list[Route] = []
    shop.route("**/v1/search", lambda route: held.append(route) if not held else route.continue_())
    shop.locator(".box-input").fill("a lamp")
    shop.keyboard.press("Enter")
    search(shop, "a chair")
    found = shown(shop)
    held[0].continue_()
    shop.wait_for_timeout(400)
    assert shown(shop) == found
    expect(shop.locator(".box-input")).to_have_value("a chair")


def test_a_phone_has_everything_without_scrolling_sideways(stack: Stack, open_tab: OpenTab) -> None:
    tab = open_tab(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = tab.page
    page.goto(stack.url)
    settled(page)
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(fits)
    expect(page.locator(".filters")).to_be_hidden()
    page.get_by_role("button", name="Filters").tap()
    expect(page.locator(".filters")).to_be_visible()
    assert page.evaluate(fits)
    page.get_by_role("button", name="Filters").tap()
    page.locator(".card-similar").first.tap()
    expect(page.locator(".box-chip")).to_be_visible()
    settled(page)
    assert page.evaluate(fits)
    page.locator(".card-link").first.tap()
    box = page.get_by_role("dialog").bounding_box()
    assert box
    assert (box["x"], box["width"]) == (0, 390)
    assert tab.complaints == []
    small = page.eval_on_selector_all(
        ".shop button, .shop select, .shop .option",
        """all => all.filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect())
                  .filter((box) => box.height > 1 && box.height < 24).length""",
    )
    assert small == 0


def test_everything_can_be_reached_by_keyboard(shop: Page) -> None:
    focused = "document.querySelector('#shop').shadowRoot.activeElement?.className ?? ''"
    shop.keyboard.press("Tab")
    expect(shop.locator("body > .skip")).to_be_focused()
    shop.keyboard.press("/")
    expect(shop.locator(".box-input")).to_be_focused()
    shop.keyboard.press("Control+a")
    shop.keyboard.type("a chair / a lamp")
    with shop.expect_response(lambda answer: '"partial"' not in (answer.request.post_data or '"partial"')):
        shop.keyboard.press("Enter")
    settled(shop)
    expect(shop.locator(".box-input")).to_have_value("a chair / a lamp")
    for _ in range(60):
        shop.keyboard.press("Tab")
        if shop.evaluate(focused) == "card-link":
            break
    cards = shop.locator(".card-link")
    expect(cards.nth(0)).to_be_focused()
    shop.keyboard.press("ArrowRight")
    expect(cards.nth(1)).to_be_focused()
    columns = shop.locator(".grid").evaluate("grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length")
    shop.keyboard.press("ArrowDown")
    expect(cards.nth(1 + columns)).to_be_focused()
    shop.keyboard.press("Home")
    expect(cards.nth(0)).to_be_focused()
    shop.keyboard.press("Enter")
    expect(shop.get_by_role("dialog")).to_be_visible()
    shop.keyboard.press("Escape")
    expect(shop.get_by_role("dialog")).to_be_hidden()
    expect(cards.nth(0)).to_be_focused()


def test_every_control_has_a_name(shop: Page) -> None:
    nameless = shop.eval_on_selector_all(
        ".shop button, .shop input:not([hidden]), .shop select, .shop a, body > button, body > section button",
        """all => all.filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.[0]?.textContent.trim()))
                  .map((one) => one.outerHTML)""",
    )
    assert nameless == []
    assert shop.locator(".grid img").first.get_attribute("width")


def test_motion_stops_where_less_is_asked_for(stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab(reduced_motion="reduce").page
    page.goto(stack.url)
    settled(page)
    moving = "all => all.filter((one) => getComputedStyle(one).transitionDuration !== '0s').length"
    assert page.eval_on_selector_all(".shop *", moving) == 0


def test_markup_in_a_product_is_text_everywhere(shop: Page) -> None:
    search(shop, str(HOSTILE["variants"][0]["sku"]))  # a SKU is always found first
    card = shop.locator(".card").filter(has_text="Zyzzyva")
    expect(card.locator(".card-title")).to_have_text(str(HOSTILE["title"]))
    card.locator(".card-similar").evaluate("button => button.click()")
    expect(shop.locator(".box-chip")).to_contain_text("Zyzzyva")
    shop.go_back()
    settled(shop)
    shop.get_by_role("group", name="Brand").get_by_role("button", name="Show all").click()
    shop.get_by_role("group", name="Brand").locator("label", has_text="<script>").click()
    expect(shop.locator(".bar .chip")).to_contain_text("<script>")
    settled(shop)
    card.locator(".card-link").click()
    dialog = shop.get_by_role("dialog")
    expect(dialog.locator("h2")).to_have_text(str(HOSTILE["title"]))
    expect(dialog.locator(".captions")).to_contain_text("<script>")
    expect(dialog.locator(".mini").first).to_be_visible()
    shop.keyboard.press("Escape")
    shop.get_by_role("button", name="The call").click()
    assert shop.evaluate("window.hacked") is None
    assert shop.locator(".shop script, .shop img[src='x'], .call img, .shop svg[onload]").count() == 0


@pytest.mark.parametrize(
    "address",
    ["?q=%3Cimg%20src%3Dx%20onerror%3Dwindow.hacked%3D1%3E", "?like=javascript:window.hacked=1", "?image=javascript:1"],
)
def test_markup_in_the_address_is_text(stack: Stack, open_tab: OpenTab, address: str) -> None:
    page = open_tab().page
    page.goto(f"{stack.url}/{address}")
    page.locator(".grid .card-link, .message").first.wait_for()
    assert page.evaluate("window.hacked") is None
    assert page.locator(".shop img[src='x'], .shop [href^='javascript']").count() == 0
