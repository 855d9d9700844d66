"""InstantSearch over Morelike: its clients by themselves, and the example page with the real library."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenTab, Serve, Stack
from tests.browser.test_own_pages import arrived, having, last_event

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[2] / "examples" / "instantsearch.html"
LIBRARY = "https://cdn.jsdelivr.net/npm/instantsearch.js@4/dist/instantsearch.production.min.js"
BARE = """<!doctype html><title>Mine</title><link rel="icon" href="data:,"><script src="API/morelike.js"></script>
<script src="API/morelike-instantsearch.js"></script>
<script>const morelike = Morelike.instantSearch({key: "KEY"});</script>"""


@pytest.fixture
def page(serve: Serve, open_tab: OpenTab) -> Page:
    """A page with the connection and nothing else."""
    page = open_tab().page
    page.goto(serve(BARE))
    return page


def searched(page: Page, *requests: dict[str, Any]) -> Any:
    """The results of requests as InstantSearch sends them, or the message of the error."""
    asked = [{"indexName": "products"} | one for one in requests]
    ask = "(all) => morelike.searchClient.search(all).then((answer) => answer.results, (error) => error.message)"
    return page.evaluate(ask, asked)


def test_pages_are_one_list_that_is_searched_once(page: Page) -> None:
    sent: list[dict[str, Any]] = []
    page.on("request", lambda one: sent.append(one.post_data_json) if one.url.endswith("/v1/search") else None)
    query = {"query": "a mug", "hitsPerPage": 5}
    (third,) = searched(page, {"params": query | {"page": 2}})
    assert [hit["position"] for hit in third["hits"]] == [11, 12, 13, 14, 15]
    assert third["nbPages"] >= 4
    (first,) = searched(page, {"params": query})
    assert first["queryID"] == third["queryID"]
    assert (first["page"], third["page"], first["nbHits"]) == (0, 2, third["nbHits"])
    assert len({hit["objectID"] for hit in first["hits"] + third["hits"]}) == 10
    assert [("cursor" in one, one["limit"]) for one in sent] == [(False, 5), (True, 5), (True, 5)]
    assert "mug" in str([hit["_highlightResult"]["title"]["matchedWords"] for hit in first["hits"]])


def test_menus_and_ranges_become_filters_and_their_counts_are_no_lists(page: Page) -> None:
    facets = ["brand", "category.lvl0", "category.lvl1", "price"]
    everything, counts = searched(
        page, {"params": {"query": "", "facets": facets}}, {"params": {"hitsPerPage": 0, "facets": "brand"}}
    )
    assert "queryID" in everything
    assert "queryID" not in counts
    brand = next(iter(everything["facets"]["brand"]))
    assert all(" > " not in path for path in everything["facets"]["category.lvl0"])
    assert all(path.count(" > ") == 1 for path in everything["facets"]["category.lvl1"])
    assert everything["facets_stats"]["price"]["min"] < everything["facets_stats"]["price"]["max"]
    category = next(iter(everything["facets"]["category.lvl0"]))
    chosen = {"facetFilters": [[f"brand:{brand}"]], "numericFilters": ["price>=1", "price<=40"]}
    (found,) = searched(page, {"indexName": "products:price_asc", "params": chosen})
    prices = [hit["price"] for hit in found["hits"]]
    assert prices == sorted(prices)
    assert {hit["brand"] for hit in found["hits"]} == {brand}
    assert all(1 <= price <= 40 for price in prices)
    (within,) = searched(page, {"params": {"facetFilters": [f"category.lvl0:{category}"]}})
    assert {hit["category"][0] for hit in within["hits"]} == {category}
    look = {"facetName": "brand", "facetQuery": brand[1:4].upper(), "maxFacetHits": 3}
    (values,) = page.evaluate(
        "(params) => morelike.searchClient.searchForFacetValues([{indexName: 'products', params}])", look
    )
    assert brand in [one["value"] for one in values["facetHits"]]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"filters": "brand:x"}, "expected facetFilters"),
        ({"facetFilters": ["brand:-x"]}, "expected values to be found"),
        ({"facetFilters": ["brand:x", "brand:y"]}, 'the operator "or"'),
        ({"facetFilters": [["brand:x", "category:y"]]}, "values of one facet"),
        ({"numericFilters": [["price>1", "price<0"]]}, "expected one bound"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(page: Page, params: dict[str, Any], said: str) -> None:
    assert said in searched(page, {"params": params})


def test_what_insights_are_told_arrives_as_events(page: Page, stack: Stack) -> None:
    before = last_event(stack)
    (found,) = searched(page, {"params": {"query": "a mug"}})
    product, query_id = found["hits"][0]["objectID"], found["queryID"]
    about = {"index": "products", "objectIDs": [product], "queryID": query_id}
    sold = about | {"currency": "EUR", "objectData": [{"queryID": query_id, "price": 12.5, "quantity": 2}]}
    for method, payload in [
        ("viewedObjectIDs", about),
        ("clickedObjectIDsAfterSearch", about | {"positions": [1]}),
        ("addedToCartObjectIDsAfterSearch", sold),
        ("sendEvents", [sold | {"eventType": "conversion", "eventSubtype": "purchase"}, {"eventType": "view"}]),
    ]:
        page.evaluate("([method, payload]) => morelike.insightsClient(method, payload)", [method, payload])
    events = arrived(stack, before, having("click", "add_to_cart", "purchase"))
    assert [(one.type, one.product_id, one.query_id) for one in events] == [
        (kind, product, query_id) for kind in ("click", "add_to_cart", "purchase")
    ]
    assert {(one.quantity, float(one.price or 0)) for one in events[1:]} == {(2, 12.5)}


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """InstantSearch as npm has it; without npm or a registry the test is skipped."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm is installed")
    home = tmp_path_factory.mktemp("npm")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home)]
    if subprocess.run([*install, "instantsearch.js@4"], capture_output=True, check=False).returncode != 0:
        pytest.skip("npm did not get InstantSearch")
    file = home / "node_modules" / "instantsearch.js" / "dist" / "instantsearch.production.min.js"
    return file.read_text("utf-8")


@pytest.mark.slow
def test_the_example_page_works_with_the_real_library(
    serve: Serve, stack: Stack, open_tab: OpenTab, library: str
) -> None:
    before, tab = last_event(stack), open_tab()
    page = tab.page
    source = EXAMPLE.read_text("utf-8").replace("http://127.0.0.1:8000", stack.url).replace("mk_pub_…", "KEY")
    source = source.replace(LIBRARY, "/instantsearch.js").replace("<head>", '<head><link rel="icon" href="data:,">')
    page.goto(serve(source, {"/instantsearch.js": library}))
    expect(page.locator("article")).to_have_count(12)
    word = page.locator("article strong").first.inner_text().split()[0]
    page.locator("#searchbox input").fill(word.lower())
    expect(page.locator("article mark").first).to_be_visible()
    seen = arrived(stack, before, having("exposure"))
    page.locator("#brands input[type=checkbox]").first.check()
    expect(page.locator(".ais-RefinementList-item--selected")).to_have_count(1)
    page.locator("#categories a", has_text="Home").first.click()
    expect(page.locator(".ais-HierarchicalMenu-item--selected")).to_have_count(1)
    page.locator("#brands input[type=checkbox]").first.uncheck()
    expect(page.locator(".ais-RefinementList-item--selected")).to_have_count(0)
    expect(page.locator("article")).to_have_count(12)
    product = page.locator("article").nth(1).get_attribute("data-product")
    query_id = page.locator("article").nth(1).get_attribute("data-list")
    page.locator("article a").nth(1).click()
    clicks = [one for one in arrived(stack, before, having("click")) if one.type == "click"]
    assert [(one.product_id, one.query_id) for one in clicks] == [(product, query_id)]
    assert {one.columns for one in seen} <= {3, 4, 5}
    assert tab.complaints == []
