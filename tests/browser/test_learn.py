"""The page of the loop, over a shop with two nights behind it, and one that is really played."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from backend.db import session_scope
from backend.demo.learn.diary import Diary, NightPlayed, Played, now
from backend.demo.learn.measuring import PLACES
from backend.demo.learn.play import PINNED_FOR
from backend.experiments.pins import pin
from backend.generations.encoders import open_encoder
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.learning.models import NightlyRun, NightlyStep
from backend.learning.nightly.night import Works
from backend.learning.nightly.steps import NIGHT
from backend.learning.nightly.work import take_up
from backend.queue import Queue
from tests.browser.conftest import PATIENCE_MS, OpenTab, Stack, Tab, serving
from tests.fixtures.components import free_port
from tests.fixtures.heads import query_heads

pytestmark = pytest.mark.browser

WORDS = "large scarf"
CURVE = [1.0, 0.9, 0.8, 0.7, 0.5, 0.4, 0.4, 0.3, 0.2, 0.2, 0.1, 0.1]


@pytest.fixture(scope="module")
def house(stack: Stack) -> Iterator[Stack]:
    """The shop with a play of two nights: the first brought a generation of its own, the second changed nothing."""
    home = stack.settings.home / "learn"
    settings = stack.settings.model_copy(update={"port": free_port(), "home": home})
    with session_scope(stack.sessions) as session:
        first, learned = _learned(session)
        pin(session, PINNED_FOR, {first, learned})
    Diary(home / "demo-learn" / "diary.json").keep(_played(first, learned))
    with serving(settings, stack.sessions) as running:
        yield running
    with session_scope(stack.sessions) as session:
        pin(session, PINNED_FOR, set())
        session.execute(delete(NightlyRun))
        session.execute(update(Generation).where(Generation.state == "live").values(state="retired"))
        session.execute(update(Generation).where(Generation.id == first).values(state="live"))


def _learned(session: Session) -> tuple[int, int]:
    """The live generation, and one with heads for words that were never trained: it ranks otherwise."""
    live = session.scalars(select(Generation).filter_by(state="live")).one()
    build = session.get_one(IndexBuild, live.index_build_id)
    encoder = session.get_one(EncoderRecord, build.encoder_id)
    other = Generation(
        index_build_id=build.id,
        calibration=live.calibration,
        code_version="test",
        state="retired",
        query_heads=query_heads(encoder.id, encoder.dim, 7),
    )
    session.add(other)
    session.flush()
    return live.id, other.id


def _played(first: int, learned: int) -> Played:
    def truth(naive: float, debiased: float, live: float) -> dict[str, dict[str, float]]:
        worths = {"frozen": 0.38, "naive": naive, "ips": debiased, "live": live}
        return {name: {"all": value, "unseen": value} for name, value in worths.items()}

    curve = {"name": "desktop grid of 4, text", "planted": CURVE, "theta": CURVE, "low": CURVE, "high": CURVE}
    crowd = {"lists": 200, "shown": 4800, "viewed": 2100, "clicked": 390, "satisfied": 180}
    by_position = {"shown": [200] * 24, "examined": [200 - 8 * place for place in range(24)], "clicked": [40] * 24}
    night = NightPlayed(
        1, None, crowd | {"by_position": by_position}, learned, "promoted", "Better: it went live.",
        truth(0.41, 0.47, 0.47), [curve],
    )  # fmt: skip
    refused = NightPlayed(
        2, None, night.crowd, learned, "unchanged", "No update tonight: the interval includes 0.",
        truth(0.42, 0.46, 0.47), [curve],
    )  # fmt: skip
    began = now() - timedelta(minutes=5)
    frozen = {"frozen": {"all": 0.38, "unseen": 0.4}, "live": {"all": 0.38, "unseen": 0.4}}
    return Played("biased", began, first, WORDS, None, frozen, (night, refused))


@pytest.fixture
def tab(house: Stack, open_tab: OpenTab) -> Iterator[Tab]:
    tab = open_tab()
    tab.page.goto(f"{house.url}/demo/learn?scenario=biased")
    tab.page.locator("main:not([aria-busy])").wait_for()
    tab.page.locator(".right .card").nth(PLACES - 1).wait_for()
    yield tab
    assert tab.complaints == []


def side(page: Page, name: str) -> list[str]:
    """Products of one grid, in order."""
    ids: list[str] = page.eval_on_selector_all(f".{name} .card", "cards => cards.map((one) => one.dataset.product)")
    return ids


def served(house: Stack, generation: str, words: str = WORDS) -> list[str]:
    where = {"scenario": "biased", "generation": generation.removeprefix("g"), "text": words}
    hits = httpx.get(f"{house.url}/demo/learn/results", params=where).json()["hits"]
    return [hit["product_id"] for hit in hits]


def slide(page: Page, night: int) -> None:
    page.locator("#night").evaluate(
        "(input, night) => { input.value = night; input.dispatchEvent(new Event('input')); }", night
    )


def test_the_page_says_what_is_shown_and_that_it_is_real(tab: Tab) -> None:
    page = tab.page
    expect(page.locator("h1")).to_have_text("These shoppers love pastel, but mostly look at the first row.")
    expect(page.locator(".badge")).to_have_text("Simulated shoppers, real API, real nightly job")
    expect(page.locator(".counts")).to_have_text("shown 4,800, seen 2,100, clicked 390 in 200 lists")
    expect(page.locator(".verdict")).to_have_text("No update tonight: the interval includes 0.")
    for line in ("frozen", "naive", "debiased"):
        expect(page.locator(f".worth path.line.{line}")).to_have_count(1)
    expect(page.locator(".worth circle.live")).to_have_count(3)
    for line in ("planted", "estimate"):
        expect(page.locator(f".looks path.line.{line}")).to_have_count(1)
    expect(page.locator(".looks path.band")).to_have_count(1)


def test_the_slider_serves_each_nights_generation_again(house: Stack, tab: Tab) -> None:
    page = tab.page
    generations = [f"g{one}" for one in httpx.get(f"{house.url}/demo/learn/state").json()["play"]["generations"]]
    assert generations[0] != generations[1] == generations[2]
    first, learned = served(house, generations[0]), served(house, generations[1])
    assert first != learned
    assert side(page, "left") == first
    assert side(page, "right") == learned
    for night, expected in ((0, first), (1, learned), (2, learned)):
        slide(page, night)
        expect(page.locator("#right-title")).to_contain_text(f"Night {night} g{generations[night][1:]}")
        assert side(page, "right") == expected
    assert side(page, "left") == first
    slide(page, 5)  # nights to come cannot be looked at
    expect(page.locator("#night")).to_have_value("2")


def test_what_the_left_grid_shows_is_what_the_shop_serves_from_that_generation(house: Stack, tab: Tab) -> None:
    live = httpx.get(f"{house.url}/demo/learn/state").json()["live"]
    body = {"text": WORDS, "limit": PLACES, "partial": True}
    hits = httpx.post(f"{house.url}/v1/search", json=body).json()["hits"]
    assert served(house, f"g{live}") == [hit["product_id"] for hit in hits] == side(tab.page, "left")


def test_any_words_can_be_looked_for_on_both_sides(house: Stack, tab: Tab) -> None:
    page = tab.page
    first, *_, last = httpx.get(f"{house.url}/demo/learn/state").json()["play"]["generations"]
    for name, generation in (("left", first), ("right", last)):
        expected = served(house, f"g{generation}", "red mug")
        page.locator("#words").fill("red mug")
        page.keyboard.press("Enter")
        expect(page.locator(f".{name} .card").first).to_have_attribute("data-product", expected[0])
        assert side(page, name) == expected
    expect(page.locator(".gain")).to_have_text("Nobody of the crowd asks for this; nothing is planted for it.")


def test_on_a_phone_nothing_is_cut_off_and_all_of_it_can_be_reached(house: Stack, open_tab: OpenTab) -> None:
    tab = open_tab(viewport={"width": 375, "height": 740}, color_scheme="dark", reduced_motion="reduce")
    tab.page.goto(f"{house.url}/demo/learn?scenario=biased")
    tab.page.locator(".right .card").nth(PLACES - 1).wait_for()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 375
    tab.page.keyboard.press("Tab")
    expect(tab.page.locator(".skip")).to_be_focused()
    assert tab.complaints == []


def test_the_visitors_clicks_are_events_of_a_list_on_record(house: Stack, open_tab: OpenTab) -> None:
    tab = open_tab()
    page = tab.page
    with page.expect_response("**/v1/search") as answer:
        page.goto(f"{house.url}/demo/learn?scenario=you")
    button = page.locator(".left .card button:not([disabled])").nth(2)
    button.wait_for()
    assert side(page, "left") == [hit["product_id"] for hit in answer.value.json()["hits"]]
    product = page.locator(".left .card").nth(2).get_attribute("data-product")
    button.click()
    expect(page.locator("dialog.product")).to_be_visible()
    page.locator("dialog .cart").click()
    expect(page.locator(".counts")).to_contain_text("You: 1 opened, 1 in the cart.")
    events, query_id = [], answer.value.json()["query_id"]

    def arrived() -> bool:
        kept = httpx.get(f"{house.url}/v1/events").json()["events"]
        events[:] = [one for one in kept if one["query_id"] == query_id]  # simulated shoppers were here before
        return {"click", "dwell", "return", "add_to_cart"} <= {one["type"] for one in events}

    page.wait_for_function("() => true")
    for _ in range(PATIENCE_MS // 100):
        if arrived():
            break
        page.wait_for_timeout(100)
    mine = [one for one in events if one["type"] in ("click", "dwell", "add_to_cart")]
    assert {one["product_id"] for one in mine} == {product}
    assert {one["verdict"] for one in mine} == {"accepted"}
    assert tab.complaints == []


def test_a_night_is_played_shoppers_first_and_ends_with_a_sentence_of_its_own(
    house: Stack, open_tab: OpenTab, redis_server: str
) -> None:
    """A dozen shoppers, and whoever works on nights works on this one: too little to go by, and the page says so."""
    tab = open_tab()
    page, done = tab.page, threading.Event()
    worker = threading.Thread(target=_work, args=(house, redis_server, done), daemon=True)
    worker.start()
    page.goto(f"{house.url}/demo/learn?scenario=few")
    page.locator(".right .card").first.wait_for()
    body = {"scenario": "few", "shoppers": 12}
    assert httpx.post(f"{house.url}/demo/learn/nights", json=body).status_code == 202
    again = httpx.post(f"{house.url}/demo/learn/nights", json=body)
    assert (again.status_code, again.json()["type"]) == (409, "urn:morelike:problem:play-running")
    try:
        expect(page.locator(".verdict:not(:empty)")).to_be_visible(timeout=2 * PATIENCE_MS)
    finally:
        done.set()
        worker.join(30)
    with session_scope(house.sessions) as session:
        run = session.scalars(select(NightlyRun)).one()
        steps = {step.name: step.state for step in session.scalars(select(NightlyStep))}
    assert run.state == "done"
    assert run.outcome == "unchanged"
    said = page.locator(".verdict").text_content()
    assert said
    assert run.reason.startswith(said)
    for name, state in steps.items():
        expect(page.locator(f"[data-step={name}]")).to_have_class(f"step {state}")
    expect(page.locator("#right-title")).to_contain_text("Night 1")
    assert side(page, "left") == side(page, "right")
    assert "shown" in str(page.locator(".counts").text_content())
    assert [one for one in tab.complaints if "409" not in one] == []


def _work(house: Stack, redis_url: str, done: threading.Event) -> None:
    """What a worker does with nights that are begun."""
    encoder = open_encoder(house.settings)
    works = Works(house.sessions, Queue(redis_url), house.settings, lambda _record: encoder.encode_texts)
    while not done.wait(0.1):
        take_up(works, NIGHT)


def test_nights_are_played_by_who_sits_at_the_machine_only(house: Stack) -> None:
    key = house.key_for("https://shop.example")
    strangers = {"Authorization": f"Bearer {key}", "Origin": "https://shop.example"}
    for path in ("nights", "stop"):
        answer = httpx.post(f"{house.url}/demo/learn/{path}", json={"scenario": "few"}, headers=strangers)
        assert answer.status_code == 403
    foreign = httpx.post(
        f"{house.url}/demo/learn/nights", json={"scenario": "few"}, headers={"Origin": "https://e.example"}
    )
    assert foreign.status_code in (401, 403)
    assert httpx.get(f"{house.url}/demo/learn/state", headers=strangers).status_code == 403
    unknown = httpx.get(f"{house.url}/demo/learn/state", params={"scenario": "none"})
    assert unknown.json()["type"] == "urn:morelike:problem:no-such-scenario"
