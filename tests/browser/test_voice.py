"""The microphone: the browser's own speech input, recordings for the server, and neither."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect
from pydantic import SecretStr
from sqlalchemy import select

from backend.db import session_scope
from backend.events.models import ServedList
from tests.browser.conftest import OpenTab, Stack, serving, settled, shown
from tests.fixtures.components import free_port
from tests.fixtures.openai_server import KEY, TRANSCRIBER_MODEL, OpenAIServer, speaking_openai

pytestmark = pytest.mark.browser

DEAF = "delete window.SpeechRecognition; delete window.webkitSpeechRecognition;"
"""As Firefox is."""

SILENT = """
navigator.mediaDevices.getUserMedia = async () => new AudioContext().createMediaStreamDestination().stream;
"""

HEARING = """
window.SpeechRecognition = class {
  start() { window.ear = this; }
  say(...texts) { this.onresult({results: texts.map((transcript) => [{transcript}])}); }
  stop() { this.onend(); }
  abort() { this.fail("aborted"); }
  fail(error) { this.onerror({error}); this.onend(); }
};
"""
"""A browser whose speech service answers what the test says: the real one is on its maker's servers."""


@pytest.fixture(scope="module")
def openai() -> Iterator[OpenAIServer]:
    with speaking_openai() as server:
        server.transcript = "A tall vase"
        yield server


@pytest.fixture(scope="module")
def hearing(stack: Stack, openai: OpenAIServer) -> Iterator[Stack]:
    """The shop again, with a transcriber."""
    changes = {"transcriber_url": openai.url, "transcriber_model": TRANSCRIBER_MODEL, "transcriber_key": SecretStr(KEY)}
    with serving(stack.settings.model_copy(update=changes | {"port": free_port()}), stack.sessions) as running:
        yield running


def opened(open_tab: OpenTab, url: str, script: str) -> Page:
    page = open_tab(permissions=["microphone"]).page
    page.add_init_script(script)
    page.goto(url)
    settled(page)
    return page


def query_type(stack: Stack, query_id: str) -> str | None:
    with session_scope(stack.sessions) as session:
        return session.scalars(select(ServedList.query_type).filter_by(query_id=query_id)).one()


def test_words_are_searched_while_they_are_spoken_and_kept_as_spoken_at_the_end(
    stack: Stack, open_tab: OpenTab
) -> None:
    page = opened(open_tab, stack.url, HEARING)
    microphone = page.get_by_role("button", name="Search by voice")
    microphone.click()
    expect(microphone).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".box-notice")).to_contain_text("Say what you are looking for")
    with page.expect_response("**/v1/search") as early:
        page.evaluate("ear.say('a tall')")
    assert early.value.request.post_data_json["partial"] is True
    page.evaluate("ear.say('a tall', 'vase')")
    with page.expect_response(lambda one: '"partial"' not in (one.request.post_data or '"partial"')) as final:
        page.evaluate("ear.stop()")
    settled(page)
    expect(page.locator(".box-input")).to_have_value("a tall vase")
    expect(microphone).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".box-notice")).to_be_empty()
    assert page.url.endswith("?q=a+tall+vase")
    assert query_type(stack, final.value.json()["query_id"]) == "voice"
    with page.expect_response("**/v1/search") as typed:
        page.locator(".box-input").fill("a tall lamp")
        page.keyboard.press("Enter")
        page.wait_for_url("**lamp")
    assert "query_type" not in typed.value.request.post_data_json


def test_a_second_press_ends_and_escape_forgets(stack: Stack, open_tab: OpenTab) -> None:
    page = opened(open_tab, stack.url, HEARING)
    before, address = shown(page), page.url
    microphone = page.get_by_role("button", name="Search by voice")
    microphone.click()
    page.keyboard.press("Escape")
    expect(microphone).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".box-input")).to_have_value("a small orange plush toy with big eyes")
    assert (shown(page), page.url) == (before, address)
    microphone.click()
    page.evaluate("ear.say('a chair')")
    microphone.click()
    page.wait_for_url("**q=a+chair")


@pytest.mark.parametrize(
    ("error", "said"),
    [("no-speech", "Nothing was heard."), ("not-allowed", "does not let this page use the microphone")],
)
def test_what_went_wrong_is_said_and_the_results_stay(stack: Stack, open_tab: OpenTab, error: str, said: str) -> None:
    page = opened(open_tab, stack.url, HEARING)
    before = shown(page)
    page.get_by_role("button", name="Search by voice").click()
    page.evaluate(f"ear.fail('{error}')")
    expect(page.locator(".box-notice")).to_contain_text(said)
    expect(page.locator(".box-input")).to_have_value("a small orange plush toy with big eyes")
    assert shown(page) == before


def test_speech_input_that_nobody_answers_makes_way(stack: Stack, hearing: Stack, open_tab: OpenTab) -> None:
    page = opened(open_tab, stack.url, HEARING)
    microphone = page.get_by_role("button", name="Search by voice")
    microphone.click()
    page.evaluate("ear.fail('network')")
    expect(page.locator(".box-notice")).to_contain_text("cannot turn speech into words")
    expect(microphone).to_be_hidden()
    page = opened(open_tab, hearing.url, HEARING)
    page.get_by_role("button", name="Search by voice").click()
    with page.expect_response("**/v1/search"):
        page.evaluate("ear.fail('service-not-allowed')")  # it records instead, and ends at the pause
    settled(page)
    expect(page.locator(".box-input")).to_have_value("A tall vase")


def test_without_speech_input_it_records_until_someone_pauses(
    hearing: Stack, open_tab: OpenTab, openai: OpenAIServer
) -> None:
    openai.asked.clear()
    page = opened(open_tab, hearing.url, DEAF)
    with page.expect_response("**/v1/search") as answer:
        page.get_by_role("button", name="Search by voice").click()
    settled(page)
    assert answer.value.json()["transcript"] == "A tall vase"
    expect(page.locator(".box-input")).to_have_value("A tall vase")
    assert page.url.endswith("?q=A+tall+vase")
    assert shown(page) == [hit["product_id"] for hit in answer.value.json()["hits"]]
    assert query_type(hearing, answer.value.json()["query_id"]) == "voice"
    assert openai.asked[0].file[:4] == b"\x1a\x45\xdf\xa3"
    assert openai.asked[0].fields["language"] == "en"
    page.get_by_role("button", name="The call").click()
    expect(page.locator(".call code")).to_contain_text("-F 'audio=@speech.webm'")
    page.keyboard.press("Escape")
    page.go_back()
    expect(page.locator(".box-input")).to_have_value("a small orange plush toy with big eyes")


def test_silence_is_not_sent(hearing: Stack, open_tab: OpenTab, openai: OpenAIServer) -> None:
    openai.asked.clear()
    silent = (
        "navigator.mediaDevices.getUserMedia = async () => new AudioContext().createMediaStreamDestination().stream;"
    )
    page = opened(open_tab, hearing.url, DEAF + silent)
    microphone = page.get_by_role("button", name="Search by voice")
    microphone.click()
    page.wait_for_timeout(300)
    microphone.click()
    expect(page.locator(".box-notice")).to_have_text("Nothing was heard.")
    assert openai.asked == []


def test_a_transcriber_that_fails_leaves_the_results_and_says_why(hearing: Stack, open_tab: OpenTab) -> None:
    page = opened(open_tab, hearing.url, DEAF)
    before = shown(page)

    def refuse(route: Route) -> None:
        problem = '{"status": 503, "title": "Down", "detail": "the transcriber is not usable now"}'
        route.fulfill(status=503, headers={"Content-Type": "application/problem+json"}, body=problem)

    page.route("**/v1/search", refuse)
    page.get_by_role("button", name="Search by voice").click()
    expect(page.locator(".box-notice")).to_contain_text("the transcriber is not usable now")
    assert shown(page) == before


@pytest.mark.parametrize("mode", ["off", "server"])
def test_a_page_may_do_without(stack: Stack, open_tab: OpenTab, mode: str) -> None:
    page = open_tab().page
    page.add_init_script(HEARING)
    page.add_init_script(
        "new MutationObserver(() => document.querySelector('[data-target]')?.setAttribute('data-voice', "
        f"'{mode}')).observe(document, {{childList: true, subtree: true}});"
    )
    page.goto(stack.url)
    settled(page)
    expect(page.get_by_role("button", name="Search by voice")).to_be_hidden()


def test_without_any_way_to_listen_there_is_no_microphone(stack: Stack, open_tab: OpenTab) -> None:
    page = opened(open_tab, stack.url, DEAF)
    expect(page.get_by_role("button", name="Search by voice")).to_be_hidden()


def test_what_is_typed_while_an_answer_arrives_is_not_overwritten(shop: Page) -> None:
    held: list[Route] = []
    shop.route("**/v1/search", lambda route: held.append(route) if not held else route.continue_())
    box = shop.locator(".box-input")
    box.fill("a cha")
    shop.wait_for_timeout(400)
    box.focus()
    with shop.expect_response("**/v1/search"):
        shop.keyboard.press("End")
        shop.keyboard.type("ir")
        held[0].continue_()
    settled(shop)
    expect(box).to_have_value("a chair")
