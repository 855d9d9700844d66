"""The pages about learning, over nights, generations and experiments as their rows keep them."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from backend.db import session_scope
from backend.experiments.lifecycle import create_experiment
from backend.experiments.models import Experiment
from backend.experiments.schemas import ExperimentIn
from backend.generations.models import Generation
from tests.browser.conftest import OpenTab, Stack, Tab
from tests.fixtures.nights import verdict

pytestmark = pytest.mark.browser
ARMS = [{"name": "control"}, {"name": "g8"}]


@pytest.fixture(scope="module")
def learned(stack: Stack) -> Iterator[Stack]:
    """The shop after some nights."""
    with session_scope(stack.sessions) as session:
        live = session.scalars(select(Generation).where(Generation.state == "live")).one()
        before, live.gate_report = live.gate_report, live.gate_report | {"night": verdict(passed=True)}
        trial = create_experiment(session, ExperimentIn.model_validate({"name": "warm <b>", "arms": ARMS}), actor="a")
        number = trial.id
    yield stack
    with session_scope(stack.sessions) as session:
        session.get_one(Generation, live.id).gate_report = before
        session.delete(session.get_one(Experiment, number))


@pytest.fixture
def tab(open_tab: OpenTab) -> Iterator[Tab]:
    """At the end its pages must not have complained."""
    tab = open_tab()
    yield tab
    assert tab.complaints == []


def test_a_generation_shows_what_its_gates_found_beside_what_they_need(learned: Stack, tab: Tab) -> None:
    page = tab.page
    page.goto(f"{learned.url}/admin/generations")
    page.locator("table a.link").first.click()
    expect(page.locator("h1")).to_have_text(re.compile(r"^Generation g\d+$"))
    gain = page.locator("[data-gate=G2] tr", has_text="NDCG@10")
    expect(gain).to_contain_text("0.036 0.012 to 0.061")
    expect(gain.locator("svg.interval")).to_have_attribute("aria-label", "from 0.012 to 0.061")
    expect(gain).to_have_class("good")
    expect(page.locator("[data-gate=G0] tr", has_text="viewport loss")).to_contain_text("at most 0.05")


def test_an_experiment_is_found_and_markup_in_its_name_is_text(learned: Stack, tab: Tab) -> None:
    page = tab.page
    page.goto(f"{learned.url}/admin/experiments")
    page.get_by_role("link", name="warm <b>").click()
    expect(page.locator("h1")).to_have_text("warm <b>")
    expect(page.locator("main")).to_contain_text("what is live")
