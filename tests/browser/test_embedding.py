"""morelike.js on somebody else's page, which lives on another origin."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, Serve, Stack, settled

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[2] / "examples" / "own-page.html"


PAGE = """<!doctype html><html lang="en"><head><title>Mine</title><link rel="icon" href="data:,"></head><body>
<h1 class="card">My own page</h1><a href="#terms">Terms</a><div id="shop"></div><h2 id="terms">Terms</h2>
<script src="API/morelike.js" data-key="KEY" data-target="#shop" data-query="a mug" data-facets="brand"></script>
</body></html>"""


def test_one_tag_puts_the_search_on_a_foreign_page_under_a_strict_policy(serve: Serve, open_tab: OpenTab) -> None:
    tab = open_tab()
    page = tab.page
    page.goto(serve(PAGE))
    settled(page)
    expect(page.locator(".box-input")).to_have_value("a mug")
    assert page.locator(".card img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.locator(".card-link").first.click()
    expect(page.get_by_role("dialog").locator(".mini").first).to_be_visible()
    expect(page).to_have_url(re.compile("#/product/"))
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    radius = page.locator(".card-picture").first.evaluate("one => getComputedStyle(one).borderRadius")
    assert radius == "18px"  # its style came along, past a policy that allows no inline style
    assert page.locator("h1").evaluate("one => getComputedStyle(one).position") == "static"  # and stayed inside
    assert tab.complaints == []


def test_anchors_of_the_page_are_left_alone(serve: Serve, open_tab: OpenTab) -> None:
    page = open_tab().page
    page.goto(serve(PAGE))
    settled(page)
    page.locator(".box-input").fill("a lamp")
    page.keyboard.press("Enter")
    settled(page)
    page.get_by_role("link", name="Terms").click()
    expect(page).to_have_url(re.compile("#terms$"))
    expect(page.locator(".box-input")).to_have_value("a lamp")


def test_a_key_works_only_on_the_pages_it_lists(serve: Serve, stack: Stack, open_tab: OpenTab) -> None:
    page = open_tab().page
    page.goto(serve(PAGE.replace("KEY", stack.key_for("https://elsewhere.example"))))
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.locator(".card-link").count() == 0


def test_the_demo_is_open_to_its_own_page_only(serve: Serve, open_tab: OpenTab) -> None:
    page = open_tab().page
    page.goto(serve(PAGE.replace('data-key="KEY"', "")))
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.locator(".card-link").count() == 0


BARE = """<!doctype html><title>Mine</title><link rel="icon" href="data:,">
<script src="API/morelike.js"></script><p>KEY</p>"""


def test_a_page_may_draw_the_answers_itself(serve: Serve, open_tab: OpenTab) -> None:
    page = open_tab().page
    page.goto(
        serve(
            '<!doctype html><title>x</title><link rel="icon" href="data:,"><script src="API/morelike.js"></script>KEY'
        )
    )
    key = page.locator("body").inner_text()
    found = page.evaluate(
        """async (key) => {
            const api = new Morelike({key});
            const first = await api.search("a mug", {limit: 3, facets: ["brand"]});
            const next = await api.search({cursor: first.cursor, limit: 3});
            const similar = await api.similar(first.hits[0].product_id, {limit: 2});
            const product = await api.product(first.hits[0].product_id);
            const again = await api.list(first.query_id);
            const refused = await api.search("x", {limit: 0}).catch((error) => error);
            const stop = new AbortController();
            const stopped = api.search("a hat", {signal: stop.signal}).catch((error) => error.name);
            stop.abort();
            return {
                first: first.hits.map((hit) => hit.product_id), next: next.hits.map((hit) => hit.position),
                similar: similar.hits.length, title: product.title, again: again.hits.length,
                refused: [refused instanceof Morelike.Error, refused.kind, refused.status], stopped: await stopped,
                image: api.imageUrl(first.hits[0].product.image, 320), evil: api.imageUrl("javascript:alert(1)"),
            };
        }""",
        key,
    )
    assert len(set(found["first"])) == 3
    assert found["next"] == [4, 5, 6]
    assert found["similar"] == 2
    assert found["title"]
    assert found["again"] == 6
    assert found["refused"] == [True, "problem", 422]
    assert found["stopped"] == "AbortError"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/images/[0-9a-f]{64}\?w=320", found["image"])
    assert found["evil"] is None


def test_the_example_page_works(serve: Serve, stack: Stack, open_tab: OpenTab) -> None:
    source = EXAMPLE.read_text("utf-8").replace("http://127.0.0.1:8000", stack.url).replace("mk_pub_…", "KEY")
    tab = open_tab()
    tab.page.goto(serve(source.replace("<head>", '<head><link rel="icon" href="data:,">')))
    settled(tab.page)
    expect(tab.page.locator("#striped img")).to_have_count(6)
    expect(tab.page.locator(".box-input")).to_have_value("something blue for the desk")
    assert tab.complaints == []
