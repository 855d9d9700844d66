"""A little more like this: thumbs, words and boxes on the page, cards that glide and say why, and the way back."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from backend.search.explanations.schemas import EXPLAIN_EXAMPLE
from tests.browser.conftest import HOSTILE, OpenTab, Stack, search, settled, shown

pytestmark = pytest.mark.browser

FITS = "document.documentElement.scrollWidth <= innerWidth"


def turn(page: Page, act: Callable[[], object]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is sent and what is answered when ``act`` refines the list; the answer is shown then."""
    with page.expect_response("**/refine") as refined:
        act()
    answer: dict[str, Any] = refined.value.json()
    expect(page.locator(".grid > .card").first).to_have_attribute("data-product", answer["hits"][0]["product_id"])
    settled(page)
    return refined.value.request.post_data_json, answer


def thumb(page: Page, product_id: str, name: str) -> None:
    page.locator(f"[data-product='{product_id}'] .thumb-button.{name}").click()


def words(page: Page, text: str, within: str = ".session") -> None:
    page.locator(f"{within} .but-input").fill(text)
    page.keyboard.press("Enter")


def glides(page: Page) -> Callable[[], int]:
    """How often the cards began to glide from now on: it is over before a busy machine looks for it."""
    page.locator(".grid").evaluate(
        """grid => {
          window.glides = 0;
          new MutationObserver(() => { window.glides += grid.classList.contains("gliding"); })
            .observe(grid, {attributes: true, attributeFilter: ["class"]});
        }"""
    )
    return lambda: int(page.evaluate("window.glides"))


def steps(page: Page) -> list[str]:
    """The trail: `-` for a turn that is undone, `*` for the one that is shown, `+` for one before it."""
    return page.eval_on_selector_all(
        ".steps li",
        "all => all.map((one) => one.className === 'undone' ? '-' : one.querySelector('[aria-current]') ? '*' : '+')",
    )


def test_thumbs_are_one_turn_that_says_why_and_each_turn_can_be_gone_back_to(shop: Page) -> None:
    opening = shown(shop)
    liked, disliked = opening[5], opening[1]

    def judge() -> None:
        thumb(shop, liked, "like")
        thumb(shop, disliked, "dislike")

    began = glides(shop)
    sent, answer = turn(shop, judge)
    assert began() > 0
    assert sent["feedback"] == [{"product_id": liked, "value": 1}, {"product_id": disliked, "value": -1}]
    assert shown(shop) == [hit["product_id"] for hit in answer["hits"]]
    assert disliked not in shown(shop)
    expect(shop).to_have_url(re.compile(f"list={answer['query_id']}$"))
    moved = next(hit for hit in answer["hits"] if hit["because"] and (hit["previous_position"] or 0) > hit["position"])
    card = shop.locator(f"[data-product={moved['product_id']}]")
    expect(card.locator(".card-moved")).to_contain_text(f"{moved['previous_position']} → {moved['position']}")
    expect(card.locator(".card-why")).to_contain_text("because you liked")
    expect(shop.locator(".tray-item")).to_have_count(2)
    expect(shop.locator(f"[data-product={liked}] .like")).to_have_attribute("aria-pressed", "true")

    turn(shop, lambda: words(shop, "in blue"))
    assert steps(shop) == ["+", "+", "*"]
    shop.get_by_role("button", name="Undo").click()
    assert (steps(shop), shown(shop)) == (["+", "*", "-"], [hit["product_id"] for hit in answer["hits"]])
    shop.go_back()
    expect(shop.locator(".step[aria-current]")).to_contain_text("in blue")
    shop.reload()
    settled(shop)
    assert steps(shop) == ["+", "+", "*"]
    assert shop.get_by_role("group", name="Brand").locator(".option").count() > 1  # filters are still offered
    shop.locator(".step").first.click()
    settled(shop)
    assert (steps(shop), shown(shop)) == (["*", "-", "-"], opening)
    expect(shop).not_to_have_url(re.compile("list="))


def test_a_shared_list_opens_elsewhere_and_one_that_is_gone_is_searched_again(
    shop: Page, stack: Stack, open_tab: OpenTab
) -> None:
    turn(shop, lambda: thumb(shop, shown(shop)[3], "like"))
    other = open_tab().page
    other.goto(shop.url)
    settled(other)
    assert (shown(other), steps(other)) == (shown(shop), ["+", "*"])
    other.goto(f"{stack.url}/?q=a+chair&list=q_nosuchlist")
    expect(other.locator(".box-notice")).to_contain_text("no longer kept")
    expect(other).to_have_url(re.compile(r"\?q=a\+chair$"))


def test_filters_in_a_refined_list_leave_its_turn_alone(shop: Page) -> None:
    def judge() -> None:
        thumb(shop, shown(shop)[4], "like")
        words(shop, "in blue")

    turn(shop, judge)
    sent, answer = turn(shop, shop.get_by_label(re.compile("^Toys")).check)
    assert sent["filters"] == {"category": ["Toys"]}
    assert "feedback" not in sent
    assert (answer["refine"]["decision"], answer["refine"]["similarity_to_last"]) == ("held", 1)
    assert steps(shop) == ["+", "*"]
    expect(shop).to_have_url(re.compile(r"category=Toys&list="))


def test_a_product_page_refines_by_thumb_words_and_boxes(shop: Page) -> None:
    liked = shown(shop)[2]
    shop.locator(".card-link").nth(2).click()
    shop.locator(".product .thumb-button.like").click()
    sent, _ = turn(shop, lambda: shop.keyboard.press("Escape"))  # it waits until the results are back in sight
    assert sent["feedback"] == [{"product_id": liked, "value": 1}]

    product = shown(shop)[4]
    shop.locator(".card-link").nth(4).click()
    sent, _ = turn(shop, lambda: words(shop, "with stripes", ".product"))
    assert (sent["feedback"], sent["text"]) == ([{"product_id": product, "value": 1}], "with stripes")
    expect(shop.get_by_role("dialog")).to_be_hidden()

    product = shown(shop)[0]
    shop.locator(".card-link").first.click()
    shop.get_by_role("button", name="Mark a part").click()
    frame = shop.locator(".frame").bounding_box()
    assert frame
    at = lambda x, y: (frame["x"] + x * frame["width"], frame["y"] + y * frame["height"])  # noqa: E731
    shop.mouse.move(*at(0.2, 0.25))
    shop.mouse.down()
    shop.mouse.move(*at(0.6, 0.5), steps=3)
    shop.mouse.up()
    shop.get_by_role("button", name="Add a box").click()
    for key in ("ArrowLeft", "Shift+ArrowDown", "d"):
        shop.keyboard.press(key)
    sent, _ = turn(shop, shop.get_by_role("button", name="Show me").click)
    drawn, keyed = sent["feedback"]
    assert drawn["box"] == pytest.approx([0.2, 0.25, 0.6, 0.5], abs=0.01)
    assert (drawn["value"], drawn["product_id"], drawn["image"]) == (1, product, 0)
    assert (keyed["value"], keyed["box"]) == (-1, pytest.approx([0.33, 0.35, 0.73, 0.77]))
    expect(shop.locator(".step[aria-current] .part img")).to_have_count(1)


def test_a_turn_that_does_not_come_through_is_kept_and_can_be_tried_again(stack: Stack, open_tab: OpenTab) -> None:
    shop = open_tab().page
    shop.goto(stack.url)
    settled(shop)
    before = shown(shop)

    def refuse(route: Route) -> None:
        problem = '{"status": 503, "title": "Down", "detail": "the index does not answer"}'
        route.fulfill(status=503, headers={"Content-Type": "application/problem+json"}, body=problem)

    shop.route("**/refine", refuse, times=1)
    thumb(shop, before[3], "like")
    expect(shop.locator(".trouble")).to_contain_text("the index does not answer")
    assert shown(shop) == before
    expect(shop.locator(f"[data-product={before[3]}] .like")).to_have_attribute("aria-pressed", "true")
    sent, _ = turn(shop, shop.get_by_role("button", name="Try again").click)
    assert sent["feedback"] == [{"product_id": before[3], "value": 1}]
    expect(shop.locator(".trouble")).to_be_empty()
    assert shop.evaluate("document.querySelector('#shop').morelike.refiner.session.pending.size") == 0


def test_why_these_shows_what_each_product_weighed_and_where_was_looked(shop: Page) -> None:
    liked = shown(shop)[3]
    turn(shop, lambda: thumb(shop, liked, "like"))
    shop.get_by_role("button", name="Why these?").click()
    why = shop.locator(".why")
    expect(why).to_contain_text("moved by what you liked")
    expect(why.locator(".why-item")).to_contain_text("Towards it 100 %")
    shop.keyboard.press("Escape")
    explained = copy.deepcopy(EXPLAIN_EXAMPLE)
    explained["items"][0]["image"]["src"] = why.locator("img").get_attribute("src")
    shop.route("**/explain", lambda route: route.fulfill(json=explained))  # a summarizer takes long to train
    shop.get_by_role("button", name="Why these?").click()
    assert why.locator(".light").evaluate("one => [one.width, one.height, one.style.width]") == [2, 2, "100%"]
    expect(why.locator(".warm")).to_have_text("orange")
    why.get_by_role("switch").uncheck()
    expect(why.locator(".light")).to_have_css("opacity", "0")


def test_a_phone_refines_by_touch_without_scrolling_sideways(stack: Stack, open_tab: OpenTab) -> None:
    tab = open_tab(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, reduced_motion="reduce")
    page = tab.page
    page.goto(stack.url)
    settled(page)
    turn(page, page.locator(".thumb-button.like").nth(8).tap)
    assert page.locator(".gliding").count() == 0
    page.get_by_role("button", name="The list has followed").tap()
    expect(page.locator(".steps")).to_be_in_viewport()
    assert page.evaluate(FITS)
    page.locator(".card-link").first.tap()
    page.get_by_role("button", name="Mark a part").tap()
    page.get_by_role("button", name="Add a box").tap()
    page.get_by_role("button", name="Less of this").tap()
    assert page.evaluate(FITS)
    sent, _ = turn(page, page.get_by_role("button", name="Show me").tap)
    assert sent["feedback"][0]["value"] == -1
    assert tab.complaints == []


def test_markup_that_is_liked_or_said_is_text(shop: Page) -> None:
    search(shop, str(HOSTILE["variants"][0]["sku"]))
    turn(shop, lambda: shop.locator(".card").filter(has_text="Zyzzyva").locator(".like").click())
    turn(shop, lambda: words(shop, "<img src=x onerror='window.hacked = 1'>"))
    expect(shop.locator(".step[aria-current]")).to_contain_text("<img")
    expect(shop.locator(".tray-item")).to_have_attribute("title", re.compile("<script>"))
    assert shop.evaluate("window.hacked") is None
    assert shop.locator(".shop img[src='x']").count() == 0
