"""The pages about learning, over nights, generations and experiments as their rows keep them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import delete, select, update

from backend.access.callers import Scope
from backend.access.keys import create_key
from backend.db import session_scope
from backend.events.models import Event, ServedList
from backend.experiments.lifecycle import create_experiment, start_experiment
from backend.experiments.models import Experiment
from backend.experiments.schemas import ExperimentIn
from backend.generations.models import Generation
from backend.learning.models import NightlyRun, NightlyStep
from tests.browser.conftest import SCRIPT, OpenTab, Stack, Tab
from tests.experiments.arms import NOW, Behaviour, divided
from tests.fixtures.nights import keep_night, verdict

pytestmark = pytest.mark.browser
ARMS = [{"name": "control"}, {"name": "g8"}]
FITS = "document.documentElement.scrollWidth <= innerWidth"


@dataclass(frozen=True)
class Learned:
    """A shop after some nights: its address, and names of what came of it."""

    stack: Stack
    unchanged: str
    promoted: str
    failed: str
    running: str
    live: str
    trial: str

    def open(self, page: Page, path: str) -> None:
        page.goto(f"{self.stack.url}/admin/{path}")
        page.locator("body.ready").wait_for()


@pytest.fixture(scope="module")
def learned(stack: Stack) -> Iterator[Learned]:
    """The last night is under way."""
    with session_scope(stack.sessions) as session:
        live = session.scalars(select(Generation).where(Generation.state == "live")).one()
        before, live.gate_report = live.gate_report, live.gate_report | {"night": verdict(passed=True).to_json()}
        runs = [
            keep_night(session, 1, production_id=live.id),
            keep_night(session, 2, passed=True, production_id=live.id, generation_id=live.id),
            keep_night(session, 3, state="failed", error=f"The worker was killed. {SCRIPT}"),
            keep_night(session, 4, state="running"),
        ]
        trial = create_experiment(session, ExperimentIn.model_validate({"name": "warm <b>", "arms": ARMS}), actor="a")
        numbers = live.id, trial.id
        names = [f"n{run.id}" for run in runs]
    yield Learned(stack, *names, live=f"g{numbers[0]}", trial=f"e{numbers[1]}")
    with session_scope(stack.sessions) as session:
        session.get_one(Generation, numbers[0]).gate_report = before
        session.delete(session.get_one(Experiment, numbers[1]))
        session.execute(delete(NightlyRun))


@pytest.fixture
def tab(open_tab: OpenTab) -> Iterator[Tab]:
    """At the end its pages must not have complained, but of a call that asked for a key."""
    tab = open_tab()
    yield tab
    assert [said for said in tab.complaints if "403" not in said] == []


def test_each_night_says_what_it_came_to_and_what_the_gates_still_wait_for(learned: Learned, tab: Tab) -> None:
    page = tab.page
    learned.open(page, "learning")
    rows = page.locator(".past tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.nth(3)).to_contain_text("No update tonight: the interval includes 0.")
    expect(rows.nth(2)).to_contain_text("went live")
    expect(rows.nth(2).get_by_role("link", name=learned.live, exact=True)).to_be_visible()
    expect(rows.nth(1)).to_contain_text("The worker was killed.")
    waits = page.locator(".wait")
    expect(waits).to_have_count(2)  # golden queries there are enough of
    expect(waits.first).to_contain_text("312 of 2,000 satisfied clicks")
    expect(waits.first).to_contain_text("about 41 days at this rate")


def test_a_night_under_way_moves_on_before_ones_eyes(learned: Learned, tab: Tab) -> None:
    page = tab.page
    learned.open(page, "learning")
    step = page.locator("[data-step=training]")
    expect(step).to_contain_text("Learning: ips")
    expect(step.locator("progress")).to_have_attribute("value", "0.300")
    expect(step).to_contain_text("tried 2 times")
    further = update(NightlyStep).where(NightlyStep.run_id == int(learned.running[1:]), NightlyStep.name == "training")
    with session_scope(learned.stack.sessions) as session:
        session.execute(further.values(progress={"what": "Learning: naive", "done": 9, "total": 10}))
    expect(step).to_contain_text("Learning: naive")
    expect(step.locator("progress")).to_have_attribute("value", "0.900")


def test_a_night_shows_what_was_estimated_trained_and_judged(learned: Learned, tab: Tab) -> None:
    page = tab.page
    learned.open(page, f"nights/{learned.unchanged}")
    expect(page.locator(".labels")).to_contain_text("5,210")
    expect(page.locator(".labels")).to_contain_text("Of what was seen, 15.5% was clicked")
    expect(page.locator(".propensities .arc.weakest title")).to_have_text("Ranks 11 and 12: 269 clicks")
    page.locator(".propensities summary").click()
    second = page.locator(".propensities .figures tbody tr").nth(1)
    expect(second).to_contain_text("0.68 0.60 to 0.77")  # 2 ** -0.55, and the interval
    expect(page.locator(".arms .chosen")).to_contain_text("none")
    expect(page.locator(".arms .plot svg")).to_have_count(5)
    gain = page.locator("[data-gate=G2] tr", has_text="NDCG@10").first
    expect(gain).to_have_class("bad")
    expect(page.locator("[data-gate=G2]")).to_contain_text("The interval of NDCG@10 includes 0.")
    assert page.evaluate("window.hacked") is None


def test_a_context_is_chosen_and_what_lies_under_the_pointer_is_told(learned: Learned, tab: Tab) -> None:
    page = tab.page
    learned.open(page, f"nights/{learned.unchanged}")
    page.get_by_role("button", name="mobile grid of 2, text").click()
    place = page.locator(".propensities")
    expect(place).to_contain_text("what every grid comes to")
    expect(place).to_contain_text("2 of 12")
    expect(place.locator(".node.alone")).to_have_count(10)
    box = place.locator(".plot svg").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 15, box["y"] + 100)
    expect(place.locator(".where")).to_have_text("rank 12")
    expect(place.locator(".legend li").first).to_contain_text("used0.14")  # 12 ** -0.8


def test_a_generation_shows_what_its_gates_found_beside_what_they_need(learned: Learned, tab: Tab) -> None:
    page = tab.page
    learned.open(page, "generations")
    page.get_by_role("link", name=learned.live, exact=True).click()
    expect(page.locator("h1")).to_have_text(f"Generation {learned.live}")
    gain = page.locator("[data-gate=G2] tr", has_text="NDCG@10").first
    expect(gain).to_contain_text("0.0365 0.012 to 0.061")
    expect(gain.locator("svg.interval")).to_have_attribute("aria-label", "from 0.012 to 0.061")
    expect(gain).to_have_class("good")
    expect(page.locator("[data-gate=G0] tr", has_text="viewport loss")).to_contain_text("at most 0.05")
    page.get_by_role("link", name="Night of November 3").click()
    expect(page.locator(".summary")).to_contain_text("went live")


def test_a_night_that_was_rolled_back_says_so_and_leads_to_its_guard(learned: Learned, tab: Tab) -> None:
    page, number = tab.page, int(learned.promoted[1:])
    guard = {"experiment": learned.trial, "state": "rolled back", "sentence": "Fewer queries found anything."}
    with session_scope(learned.stack.sessions) as session:
        run = session.get_one(NightlyRun, number)
        before, run.outcome, run.report = run.report, "rolled_back", run.report | {"guard": guard}
    try:
        learned.open(page, f"nights/{learned.promoted}")
        expect(page.locator(".summary")).to_contain_text("rolled back")
        expect(page.locator(".about")).to_contain_text(f"{learned.trial} rolled back: Fewer queries found anything.")
        page.locator(".about").get_by_role("link", name=learned.trial, exact=True).click()
        expect(page.locator("h1")).to_have_text("warm <b>")
    finally:
        with session_scope(learned.stack.sessions) as session:
            run = session.get_one(NightlyRun, number)
            run.outcome, run.report = "promoted", before


def test_an_experiment_is_found_and_markup_in_its_name_is_text(learned: Learned, tab: Tab) -> None:
    page = tab.page
    learned.open(page, "experiments")
    page.get_by_role("link", name="warm <b>").click()
    expect(page.locator("h1")).to_have_text("warm <b>")
    expect(page.locator("main")).to_contain_text("what is live")


def test_what_nobody_was_shown_is_not_measured_rather_than_held(learned: Learned, tab: Tab) -> None:
    sessions = learned.stack.sessions
    with session_scope(sessions) as session:
        quiet = create_experiment(session, ExperimentIn.model_validate({"name": "quiet", "arms": ARMS}), actor="a").id
        start_experiment(session, quiet, actor="test")
    learned.open(tab.page, f"experiments/e{quiet}")
    guards = tab.page.locator("section", has=tab.page.get_by_role("heading", name="What must not get worse"))
    expect(guards).to_contain_text("not measured yet")
    expect(guards).not_to_contain_text("held")
    with session_scope(sessions) as session:
        session.delete(session.get_one(Experiment, quiet))


def test_results_of_an_experiment_say_what_follows_and_what_each_metric_changed(learned: Learned, tab: Tab) -> None:
    page, sessions = tab.page, learned.stack.sessions
    with session_scope(sessions) as session:
        start_experiment(session, int(learned.trial[1:]), actor="test")
        session.get_one(Experiment, int(learned.trial[1:])).started_at = NOW - timedelta(days=8)
    guards = page.locator("section", has=page.get_by_role("heading", name="What must not get worse"))
    arms = {"control": Behaviour(0.2), "g8": Behaviour(0.45)}
    log = divided(learned.trial, arms, shoppers=120, seed=1, at=NOW - timedelta(days=2))
    log.write(sessions)
    learned.open(page, f"experiments/{learned.trial}")
    expect(page.locator(".verdict-line")).to_contain_text("Satisfied clicks per query")
    primary = page.locator("section", has=page.get_by_role("heading", name="What decides")).locator("tbody tr")
    expect(primary).to_contain_text("Satisfied clicks per query")
    expect(primary).to_have_class("good")
    expect(page.locator("main")).to_contain_text("Divided as their weights say")
    expect(guards).to_contain_text("held")
    expect(guards).to_contain_text("95th percentile of the latency")
    expect(page.locator("section", has=page.get_by_role("heading", name="Planned looks"))).to_contain_text("4 looks")
    with session_scope(sessions) as session:
        for table, rows in ((ServedList, log.lists), (Event, log.events)):
            session.execute(delete(table).where(table.query_id.in_([row["query_id"] for row in rows])))


def test_a_night_is_begun_with_a_key_that_is_asked_for_then(learned: Learned, tab: Tab) -> None:
    page, sessions = tab.page, learned.stack.sessions
    with session_scope(sessions) as session:
        key = create_key(session, name="owner of nights", scope=Scope.ADMIN).secret
        session.get_one(NightlyRun, int(learned.running[1:])).state = "cancelled"
    learned.open(page, "learning")
    page.get_by_role("button", name="Run one now").click()
    page.get_by_label("Admin key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator(".toast")).to_contain_text("A night was started.")
    expect(page.locator("[data-step=sessions]")).to_be_visible()
    with session_scope(sessions) as session:
        session.execute(delete(NightlyRun).where(NightlyRun.actor == "owner of nights"))
        session.get_one(NightlyRun, int(learned.running[1:])).state = "running"


def test_a_phone_has_everything_without_scrolling_sideways(learned: Learned, open_tab: OpenTab) -> None:
    page = open_tab(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True).page
    for path in ("learning", f"nights/{learned.unchanged}", f"generations/{learned.live}", "experiments"):
        learned.open(page, path)
        assert page.evaluate(FITS), path
        page.eval_on_selector_all("main details", "all => all.forEach((one) => (one.open = true))")
        assert page.evaluate(FITS), path


def test_an_address_that_is_none_says_so(learned: Learned, tab: Tab) -> None:
    page = tab.page
    learned.open(page, "nights/nothing")
    expect(page.locator("h1")).to_have_text(re.compile("no such page"))
