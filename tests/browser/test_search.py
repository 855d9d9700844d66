"""What a shopper does first: words, filters, similar products, pictures."""

import base64
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import is_partial, kept_picture, search, settled, shown

pytestmark = pytest.mark.browser
FLAGSHIP = "demo-00001"


def test_the_shop_opens_on_an_answer_and_says_what_keywords_would_have_found(shop: Page) -> None:
    assert FLAGSHIP in shown(shop)[:4]
    expect(shop.locator(".comparison")).to_have_text("A keyword search over the same titles finds nothing.")
    expect(shop.locator(".status")).to_have_text(re.compile(r"^(About )?\d+ products?$"))
    assert shop.locator(".card img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_words_are_searched_and_the_address_can_be_shared_and_reloaded(shop: Page) -> None:
    opening = shown(shop)
    search(shop, "a tall vase")
    found = shown(shop)
    assert found != opening
    expect(shop).to_have_url(re.compile(r"\?q=a\+tall\+vase$"))
    shop.reload()
    settled(shop)
    assert shown(shop) == found
    shop.go_back()
    settled(shop)
    assert shown(shop) == opening


def test_typing_is_answered_before_enter_and_not_recorded(shop: Page) -> None:
    with shop.expect_response("**/v1/search") as answer:
        shop.locator(".box-input").press_sequentially("cha", delay=10)
    assert answer.value.request.post_data_json["partial"] is True
    assert answer.value.json()["query_id"] is None
    assert "cha" not in shop.url


def test_who_stops_typing_to_look_has_searched_and_going_on_adds_no_step_back(shop: Page) -> None:
    opening = shown(shop)
    with shop.expect_response(lambda answer: answer.url.endswith("/v1/search") and not is_partial(answer)) as first:
        shop.locator(".box-input").fill("chair")
    settled(shop)
    expect(shop).to_have_url(re.compile(r"\?q=chair$"))
    with shop.expect_response(lambda answer: answer.url.endswith("/v1/search") and not is_partial(answer)) as second:
        shop.locator(".box-input").press_sequentially(" in blue", delay=10)
    settled(shop)
    expect(shop).to_have_url(re.compile(r"\?q=chair\+in\+blue$"))
    assert first.value.json()["query_id"] != second.value.json()["query_id"]
    assert shown(shop) == [hit["product_id"] for hit in second.value.json()["hits"]]
    expect(shop.locator(".box-input")).to_have_value("chair in blue")
    expect(shop.locator(".box-input")).to_be_focused()
    shop.go_back()
    settled(shop)
    assert shown(shop) == opening


def test_filters_narrow_say_so_in_the_address_and_come_off_again(shop: Page) -> None:
    search(shop, "")
    shop.get_by_role("group", name="Colour").get_by_role("button", name="Show all").click()
    with shop.expect_response("**/v1/search"):
        shop.get_by_role("checkbox", name="blue").check()
    settled(shop)
    expect(shop).to_have_url(re.compile("attributes.colour=blue"))
    with shop.expect_response("**/v1/search") as answer:
        shop.get_by_role("checkbox", name="green").check()  # a second value of the same filter widens it
    settled(shop)
    colours = {hit["product"]["attributes"]["colour"] for hit in answer.value.json()["hits"]}
    assert colours == {"blue", "green"}
    with shop.expect_response("**/v1/search"):
        shop.get_by_label("to", exact=True).fill("20")
        shop.keyboard.press("Enter")
    settled(shop)
    # what is shown, not what was answered: a search that another one overtakes is given up
    prices = shop.locator(".card-price .price").all_inner_texts()
    assert prices
    assert all(float(price.strip("€")) <= 20 for price in prices)
    shop.get_by_role("button", name="Remove: blue").click()
    expect(shop).not_to_have_url(re.compile("blue"))
    shop.get_by_role("button", name="Clear all").first.click()
    expect(shop).to_have_url(re.compile(r"\?q=$"))
    shop.go_back()
    settled(shop)
    expect(shop.get_by_role("checkbox", name="green")).to_be_checked()


def test_categories_open_into_their_inner_ones(shop: Page) -> None:
    search(shop, "")
    with shop.expect_response("**/v1/search"):
        shop.get_by_label(re.compile("^Home")).check()
    settled(shop)
    with shop.expect_response("**/v1/search") as answer:
        shop.get_by_label(re.compile("^Vases")).check()
    settled(shop)
    assert {tuple(hit["product"]["category"]) for hit in answer.value.json()["hits"]} == {("Home", "Vases")}


def test_sold_out_products_are_shown_only_when_asked_for(shop: Page) -> None:
    search(shop, "")
    expect(shop.get_by_role("switch", name="In stock only")).to_be_checked()
    with shop.expect_response("**/v1/search") as answer:
        shop.get_by_role("switch", name="In stock only").click()
    assert answer.value.request.post_data_json["filters"] == {"in_stock": "any"}
    settled(shop)
    expect(shop).to_have_url(re.compile("in_stock=any"))


def test_sorting_by_price(shop: Page) -> None:
    with shop.expect_response("**/v1/search") as answer:
        shop.get_by_label("Sort by").select_option("price_asc")
    prices = [hit["product"]["price"] for hit in answer.value.json()["hits"]]
    assert prices == sorted(prices)


def test_more_products_follow_without_a_repetition(shop: Page) -> None:
    search(shop, "")
    first = shown(shop)
    shop.get_by_role("button", name="Show more").click()
    expect(shop.locator(".grid > .card")).to_have_count(48)
    both = shown(shop)
    assert both[:24] == first
    assert len(set(both)) == 48
    expect(shop.locator(".card-link").nth(24)).to_be_focused()


def test_more_like_a_product_is_a_chip_that_combines_with_words_and_comes_off(shop: Page) -> None:
    card = shop.locator(f"[data-product={FLAGSHIP}]")
    card.hover()
    with shop.expect_response("**/v1/search") as answer:
        card.locator(".card-similar").click()
    assert answer.value.request.post_data_json["product_id"] == FLAGSHIP
    settled(shop)
    assert FLAGSHIP not in shown(shop)
    expect(shop.locator(".box-chip")).to_contain_text("Toy, Polyester, 5-inch")
    with shop.expect_response("**/v1/search") as both:
        shop.locator(".box-input").fill("in blue")
        shop.keyboard.press("Enter")
    assert {"product_id", "text"} <= both.value.request.post_data_json.keys()
    shop.reload()
    expect(shop.locator(".box-chip")).to_contain_text("Toy, Polyester, 5-inch")
    shop.get_by_role("button", name=re.compile("^Remove: Like")).click()
    expect(shop.locator(".box-chip")).to_have_count(0)


def test_a_picture_from_a_file_finds_its_product(shop: Page, tmp_path: Path) -> None:
    wanted, path = kept_picture(tmp_path, 40)
    with shop.expect_file_chooser() as chooser, shop.expect_response("**/v1/search"):
        shop.get_by_role("button", name="Search by picture").click()
        chooser.value.set_files(path)
    settled(shop)
    assert shown(shop)[0] == wanted
    expect(shop.locator(".box-chip")).to_contain_text("Your picture")
    shop.reload()
    settled(shop)
    assert shown(shop)[0] == wanted
    with shop.expect_response("**/v1/search") as both:
        shop.locator(".box-input").fill("in red")
        shop.keyboard.press("Enter")
    assert {"image", "text"} <= both.value.request.post_data_json.keys()


MAKE_TRANSFER = """
const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], "found.webp", {type: "image/webp"}));
"""


def test_a_picture_that_is_pasted_or_dropped_finds_its_product(shop: Page, tmp_path: Path) -> None:
    for number, event in ((41, "paste"), (42, "drop")):
        wanted, path = kept_picture(tmp_path, number)
        act = {
            "paste": """document.body.dispatchEvent(
                new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true}))""",
            "drop": """const box = document.querySelector('#shop').shadowRoot.querySelector('.box-input');
                for (const name of ['dragenter', 'dragover', 'drop'])
                  box.dispatchEvent(new DragEvent(name, {dataTransfer: transfer, bubbles: true, cancelable: true}))""",
        }[event]
        with shop.expect_response("**/v1/search"):
            shop.evaluate(f"(data) => {{ {MAKE_TRANSFER} {act} }}", base64.b64encode(path.read_bytes()).decode())
        settled(shop)
        assert shown(shop)[0] == wanted
        expect(shop.locator(".dropping")).to_have_count(0)


def test_a_file_that_is_no_picture_gets_a_sentence_and_the_shop_goes_on(shop: Page, tmp_path: Path) -> None:
    path = tmp_path / "fake.png"
    path.write_bytes(b"not a picture")
    shop.locator("input[type=file]").set_input_files(path)
    expect(shop.locator(".message")).to_contain_text("cannot be read as a picture")
    search(shop, "a hat")
    assert shown(shop)


def test_a_card_dropped_on_the_box_asks_for_more_like_it(shop: Page) -> None:
    dragged = shown(shop)[1]
    with shop.expect_response("**/v1/search") as answer:
        shop.locator(".card-link").nth(1).drag_to(shop.locator(".box-input"))
    assert answer.value.request.post_data_json["product_id"] == dragged
    expect(shop.locator(".box-chip")).to_have_count(1)
