"""What a shopper sees and does in a real browser with real tabs: the events that arrive are exactly what happened."""

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from sqlalchemy import select

from backend.db import session_scope
from backend.events.models import Event
from tests.browser.conftest import FLAGS, PATIENCE_MS, USER_AGENT, Stack, chromium, search, settled, shown

pytestmark = pytest.mark.browser

PROBE = Path(__file__).with_name("probe.js").read_text("utf-8")
LONG_ENOUGH_MS = 500
TOLERANCE_MS = 100
"""Also how far from half a second a stretch of sight has to be for the test to say whether it counts."""

Times = dict[tuple[str, str], float]
"""(list, product) -> milliseconds."""


@pytest.fixture
def tabs(browser: Browser, tmp_path: Path) -> Iterator[BrowserContext]:
    """A Chromium in which a tab is hidden while another is in front; Playwright lets its own think they are visible."""
    with ExitStack() as stack:
        connected = next(filter(None, (started(browser, tmp_path / str(number), stack) for number in range(5))), None)
        assert connected is not None, "none of five Chromiums let itself be driven"
        (context,) = connected.contexts
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(PROBE)
        yield context
        connected.close()


def started(browser: Browser, home: Path, stack: ExitStack) -> Browser | None:
    """A Chromium of its own, ended by ``stack``; None where it does not answer: one in ten that just started hangs."""
    home.mkdir()
    profile = home / "profile"
    flags = [*FLAGS, "--remote-debugging-port=0", "--window-size=1280,900", f"--user-agent={USER_AGENT}"]
    program = [chromium(), *flags, f"--user-data-dir={profile}"]
    process = subprocess.Popen(program, env={**os.environ, "HOME": str(home)}, stderr=subprocess.DEVNULL)
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)
    address = f"http://127.0.0.1:{port_of(profile)}"
    try:
        return browser.browser_type.connect_over_cdp(address, no_defaults=True, timeout=20_000)
    except PlaywrightTimeout:
        return None


def port_of(profile: Path) -> int:
    """The port that a Chromium just started listens on."""
    said = profile / "DevToolsActivePort"
    for _ in range(PATIENCE_MS // 50):
        if said.is_file() and (lines := said.read_text().split()):
            return int(lines[0])
        time.sleep(0.05)
    pytest.fail("Chromium did not start")


@dataclass(frozen=True)
class Measured:
    """What the probe on the page saw: lists in order, products opened, and stretches in sight.

    Of a stretch it knows the milliseconds, and by how many the page was late to draw its beginning and its end.
    """

    lists: list[str]
    opened: list[str]
    stretches: dict[tuple[str, str], list[tuple[float, float]]]

    def counted(self) -> tuple[dict[tuple[str, str], tuple[float, float]], set[tuple[str, str]]]:
        """Time in stretches that count, with its tolerance; what has one too near half a second for anyone to say."""
        ours = {
            key: each for key, each in self.stretches.items() if key[0] in self.lists or key[0].startswith("strip:")
        }
        unclear = {
            key for key, each in ours.items() if any(abs(ms - LONG_ENOUGH_MS) < tolerance(late) for ms, late in each)
        }
        long = {key: [one for one in each if one[0] >= LONG_ENOUGH_MS] for key, each in ours.items()}
        return {key: total(each) for key, each in long.items() if each}, unclear


def tolerance(late: float) -> float:
    """What is promised, or what a page that stalls, on a machine that is busy, can know."""
    return max(TOLERANCE_MS, late)


def total(stretches: list[tuple[float, float]]) -> tuple[float, float]:
    """Milliseconds of all of them, and the tolerance of that."""
    return sum(ms for ms, _ in stretches), tolerance(sum(late for _, late in stretches))


def measured(tab: Page) -> Measured:
    """What the probe of a page that was closed left behind, read by another page of the same origin."""
    said: dict[str, Any] = json.loads(tab.evaluate("localStorage.getItem('probe')"))
    stretches: Any = {tuple(key.split(" ")): each for key, each in said["stretches"].items()}
    return Measured(said["lists"], said["opened"], stretches)


def told(stack: Stack, after: int, quiet_s: float = 1.5) -> Sequence[Event]:
    """The page's events with an id above ``after``, once no more have come for a while."""
    found: Sequence[Event] = []
    still = time.monotonic()
    while time.monotonic() - still < quiet_s:
        with session_scope(stack.sessions) as session:
            fresh = select(Event).where(Event.id > after, Event.source == "client").order_by(Event.id)
            now = session.scalars(fresh).all()
        if len(now) != len(found):
            found, still = now, time.monotonic()
        time.sleep(0.05)
    return found


def exposure_times(events: Sequence[Event]) -> Times:
    """Visible milliseconds by (list, product): increments add up."""
    times: Counter[tuple[str, str]] = Counter()
    for one in events:
        if one.type == "exposure":
            times[str(one.query_id), str(one.product_id)] += one.visible_ms or 0
    return dict(times)


def wait(page: Page, ms: int) -> None:
    """Something to look at meanwhile; the page's own clock is not waited with, for a hidden page's is slow."""
    time.sleep(ms / 1000)
    page.evaluate("0")


def away(page: Page, other: Page, ms: int) -> None:
    """Another tab is looked at for a while."""
    other.bring_to_front()
    wait(other, ms)
    page.bring_to_front()


def browse(page: Page, other: Page) -> str:
    """Scroll, pass by, search twice, open a product, look at another tab, go back; the product that was opened."""
    wait(page, 800)
    page.mouse.move(700, 600)
    page.mouse.wheel(0, 650)
    wait(page, 800)
    page.mouse.wheel(0, 2000)  # passed by
    wait(page, 150)
    page.mouse.wheel(0, -4000)
    wait(page, 800)
    search(page, "a blue lamp")
    wait(page, 700)
    search(page, "a striped mug")
    wait(page, 800)
    opened = shown(page)[2]
    page.locator(".card-link").nth(2).click()
    expect(page.locator(".mini").first).to_be_visible()
    page.mouse.move(640, 450)
    page.mouse.wheel(0, 3000)  # to the similar products
    wait(page, 700)
    away(page, other, 700)
    wait(page, 800)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    wait(page, 800)
    away(page, other, 800)
    wait(page, 700)
    page.go_back()
    expect(page.locator(".box-input")).to_have_value("a blue lamp")
    wait(page, 800)
    return opened


def test_what_arrives_is_exactly_what_happened(tabs: BrowserContext, stack: Stack) -> None:
    other = tabs.new_page()
    other.goto(f"{stack.url}/static/icon.svg")
    before = last_event(stack)
    page = tabs.new_page()
    page.goto(stack.url)
    settled(page)
    opened = browse(page, other)
    page.close(run_before_unload=True)
    other.bring_to_front()
    events, truth = told(stack, before), measured(other)
    assert truth.opened == [opened]
    what_was_done(events, truth)
    what_was_seen(events, truth)


def what_was_done(events: Sequence[Event], truth: Measured) -> None:
    """Each thing that was done is there once, with the list it was done on, and dwells last as long as was measured."""
    (opened,) = truth.opened
    _, lamps, mugs = truth.lists
    others = [one for one in events if one.type not in ("exposure", "dwell")]
    assert [(one.type, one.query_id, one.product_id, one.next_query_id) for one in others] == [
        ("reformulation", lamps, None, mugs),
        ("click", mugs, opened, None),
        ("return", mugs, opened, None),
    ]
    looks = truth.stretches["looking", opened]
    dwells = [one for one in events if one.type == "dwell"]
    assert {(one.query_id, one.product_id) for one in dwells} == {(mugs, opened)}
    assert len(dwells) == len(looks)
    for one, (ms, late) in zip(dwells, looks, strict=True):
        assert one.dwell_ms == pytest.approx(ms, abs=tolerance(late))


def what_was_seen(events: Sequence[Event], truth: Measured) -> None:
    """Exactly the products that were half in sight for half a second, for as long as was measured."""
    seen, unclear = truth.counted()
    strips = {one.query_id for one in events if one.type == "exposure"} - set(truth.lists)
    named = dict.fromkeys(strips, f"strip:{truth.opened[0]}")
    times = {(named.get(query_id, query_id), product): ms for (query_id, product), ms in exposure_times(events).items()}
    assert len(strips) == 1
    assert set(times) - unclear == set(seen) - unclear
    assert len(set(seen) - unclear) > 10
    for key in set(seen) - unclear:
        ms, allowed = seen[key]
        assert times[key] == pytest.approx(ms, abs=allowed), key
    assert all(0.5 <= (one.visible_share or 0) <= 1 for one in events if one.type == "exposure")


def last_event(stack: Stack) -> int:
    with session_scope(stack.sessions) as session:
        return session.scalar(select(Event.id).order_by(Event.id.desc()).limit(1)) or 0
