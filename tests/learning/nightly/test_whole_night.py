"""A night over lists and events in PostgreSQL, from its first step to its last."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.models import EncoderRecord
from backend.learning.models import NightlyRun
from backend.learning.nightly.begin import NightAsked, begin_night
from backend.learning.nightly.night import Works
from backend.learning.nightly.runs import STEPS, steps_of
from backend.learning.nightly.steps import NIGHT
from backend.learning.nightly.work import take_up
from backend.ml.click_training.plan import ARMS, ClickPlan
from backend.ml.clicks.simulated_log import planted_shop, simulate_log
from backend.ml.encoder import Encoder
from backend.queue import Queue
from backend.settings import Settings
from benchmarks.click_traffic import write_traffic
from tests.learning.click_logs.test_collect import PRODUCTS, QUERIES, WORLD, stock, traffic_of
from tests.learning.nightly.planted import generations

LISTS = 90


@pytest.fixture
def works(
    sessions: sessionmaker[Session], encoder: EncoderRecord, tiny_encoder: Encoder, redis_url: str, tmp_path: Path
) -> Works:
    """A shop whose shoppers have searched."""
    assert encoder.id == tiny_encoder.id
    planted = planted_shop(queries=QUERIES, products=PRODUCTS, seed=3)
    log = simulate_log(WORLD, planted, lists=LISTS, units=60, seed=4)
    shop, numbers = stock(sessions, tiny_encoder)
    traffic = traffic_of(WORLD, planted, log, [None] * LISTS)
    with session_scope(sessions) as session:
        write_traffic(session, traffic, [f"p{n}" for n in range(PRODUCTS)], numbers)
    plan = ClickPlan(epochs=1, least_steps=2, most_steps=2, seeds=1, hidden=8)

    def encode(texts: "list[str]") -> np.ndarray:
        return shop.encode(list(texts))

    return Works(sessions, Queue(redis_url), Settings(home=tmp_path), lambda _record: encode, plan=plan)


def test_a_night_of_few_clicks_ends_with_an_honest_no(works: Works, sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions) as session:
        begin_night(session, works.settings, NightAsked("test", item_heads=True))
    run = take_up(works, NIGHT)
    assert run is not None
    assert (run.state, run.outcome) == ("done", "unchanged"), run.error
    assert "There are too few clicks yet." in run.reason
    with session_scope(sessions) as session:
        steps = {step.name: step for step in steps_of(session, run.id)}
    assert [step.state for step in steps.values()] == ["done"] * 5 + ["skipped", "done"]
    assert set(steps) == set(STEPS)
    assert steps["sessions"].result["lists"] == LISTS
    assert set(run.report["arms"]) == set(ARMS)
    assert run.report["night"]["gates"][0]["id"] == "G0"
    assert {one["name"] for one in run.report["propensities"]["contexts"]} == {
        "desktop grid of 4, text",
        "mobile list, text",
    }
    assert set(generations(sessions)[1:]) <= {"rejected"}, "the best arm, without its heads"
    left = {path.name for path in (works.settings.home / "nights" / "1").iterdir()}
    assert left == {"arms", "arms.json", "gates.json", "propensities.json"}, "what shoppers did is gone"


def test_a_shop_that_nobody_has_searched_has_an_uneventful_night(sessions: sessionmaker[Session], works: Works) -> None:
    with session_scope(sessions) as session:
        begin_night(session, works.settings, NightAsked("test", window_days=1e-6))
    run = take_up(works, NIGHT)
    assert run is not None
    assert run.reason == "No update tonight: nobody has searched yet."
    with session_scope(sessions) as session:
        assert [step.state for step in steps_of(session, run.id)] == ["done", *["skipped"] * 5, "done"]
        assert session.get_one(NightlyRun, run.id).report["labels"]["lists"] == 0
