"""Whoever works on a night dies by kill -9 at every step of it; whoever comes next takes it up where it stands."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.access.models import AuditEntry
from backend.db import session_scope
from backend.generations.models import Generation
from backend.generations.repository import live_generation
from backend.learning.models import NightlyRun
from backend.learning.nightly import keeping
from backend.learning.nightly.begin import NightAsked, begin_night, is_work_due
from backend.learning.nightly.runs import STEPS, steps_of
from backend.learning.nightly.work import take_up
from backend.ml.encoder import Encoder
from backend.settings import Settings
from tests.fixtures.stacks import PATIENCE_S
from tests.learning.nightly.planted import PASSED, Place, generations, planted
from tests.learning.shop import make_live

pytestmark = pytest.mark.faults


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_behind(do: Callable[..., Any]) -> Callable[..., Any]:
    def do_and_die(*arguments: Any, **options: Any) -> None:
        do(*arguments, **options)
        die()

    return do_and_die


def work(place: Place, step: str, moment: str) -> None:
    """A process that dies at ``moment`` of ``step``, or in its transaction before that commits."""
    if moment == "uncommitted":
        name = {"build": "keep_adapter", "flip": "go_live"}[step]
        setattr(keeping, name, dying_behind(getattr(keeping, name)))

    def dies(of: str, when: str) -> None:
        if (of, when) == (step, moment):
            die()

    take_up(place.works(moment=dies), planted(PASSED))


@pytest.fixture
def place(
    database_url: str, redis_url: str, sessions: sessionmaker[Session], tiny_encoder: Encoder, tmp_path: Path
) -> Place:
    make_live(sessions, tiny_encoder)
    with session_scope(sessions) as session:
        begin_night(session, Settings(), NightAsked("test"))
    return Place(database_url, redis_url, tmp_path)


def killed(place: Place, step: str, moment: str) -> None:
    workers = multiprocessing.get_context("forkserver")
    workers.set_forkserver_preload([__name__])
    worker = workers.Process(target=work, args=(place, step, moment))
    worker.start()
    worker.join(PATIENCE_S)
    assert worker.exitcode == -signal.SIGKILL, f"it died {moment} {step}: {worker.exitcode}"


EVERY = [(step, moment) for step in STEPS for moment in ("begun", "uncommitted", "made")]
for none in [(step, "uncommitted") for step in STEPS if step not in ("build", "flip")]:
    EVERY.remove(none)
for noted in ("flip", "report"):  # by the transaction that does it: the step is over then
    EVERY.remove((noted, "made"))


@pytest.mark.parametrize(
    "moments",
    [[("training", "made"), ("flip", "uncommitted")], pytest.param(EVERY, marks=pytest.mark.slow)],
    ids=["two", "every"],
)
def test_kill_9_at_a_step_of_a_night_is_resumed(
    place: Place, sessions: sessionmaker[Session], moments: list[tuple[str, str]]
) -> None:
    for step, moment in moments:
        killed(place, step, moment)
        with session_scope(sessions) as session:
            states = {one.name: one.state for one in steps_of(session, 1)}
            assert list(states.values()) == ["done"] * STEPS.index(step) + ["running"] + ["pending"] * (
                len(STEPS) - 1 - STEPS.index(step)
            ), f"killed {moment} {step}"
            live = live_generation(session)
            assert live is not None
            assert (live.id == 1) == (step != "report"), f"killed {moment} {step}: nothing changes half-way"
            assert is_work_due(session, "off", datetime.now(UTC)), "a sweep finds it"
    run = take_up(place.works(), planted(PASSED))
    assert run is not None
    assert (run.state, run.outcome) == ("done", "promoted")
    assert generations(sessions) == ["retired", "live"], "one generation was made"
    with session_scope(sessions) as session:
        flips = select(func.count()).where(AuditEntry.action == "generation.live", AuditEntry.actor == "night n1")
        assert session.scalar(flips) == 1, "and flipped to once"
        tries = {one.name: one.attempts for one in steps_of(session, 1)}
        assert tries == {step: 1 + sum(of == step for of, _ in moments) for step in STEPS}


@pytest.mark.parametrize("step", ["flip", "report"])
def test_kill_9_behind_the_flip_leaves_it_flipped_once(
    place: Place, sessions: sessionmaker[Session], step: str
) -> None:
    killed(place, step, "made")
    with session_scope(sessions) as session:
        live = live_generation(session)
        assert live is not None
        assert live.id == 2
    take_up(place.works(), planted(PASSED))
    with session_scope(sessions) as session:
        run = session.get_one(NightlyRun, 1)
        assert (run.state, run.outcome) == ("done", "promoted")
        assert session.scalar(select(func.count()).where(AuditEntry.action == "night.ended")) == 1
        assert session.scalar(select(func.count(Generation.id))) == 2
