"""Trials that nights begin: what shoppers prefer goes live, what harms is rolled back, and nothing else happens."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from backend.access.models import AuditEntry
from backend.db import session_scope
from backend.experiments.lifecycle import create_experiment, start_experiment, stop_experiment
from backend.experiments.models import Experiment
from backend.experiments.results import results_of
from backend.experiments.schemas import ExperimentIn
from backend.generations.models import Generation, GenerationPin
from backend.generations.promote import go_live
from backend.learning.models import NightlyRun
from backend.learning.trials import begin_guard, begin_screen
from backend.learning.watching import watch
from backend.settings import Settings
from tests.experiments.arms import NOW, Behaviour, Sessions, divided, drafted, make_generations, stock

SETTINGS = Settings(screen_units=150, guard_share=0.1)


@pytest.fixture
def generations(sessions: Sessions) -> list[int]:
    """What is live, and a candidate that a night made."""
    made = make_generations(sessions, ("live", "ready"))
    with session_scope(sessions) as session:
        window = {"window_from": NOW, "window_to": NOW}
        session.add(NightlyRun(state="done", seed=1, generation_id=made[1], production_id=made[0], **window))
    return made


def screened(sessions: Sessions, candidate: int, share: float = 0.05) -> str | None:
    with session_scope(sessions) as session:
        begun = begin_screen(session, session.scalars(select(NightlyRun)).one(), candidate, share=share)
        return begun and f"e{begun.id}"


def guarded(sessions: Sessions, previous: int, new: int, share: float = 0.05) -> str | None:
    with session_scope(sessions) as session:
        go_live(session, new, actor="test")
        begun = begin_guard(session, new, previous, share=share)
        return begun and f"e{begun.id}"


def aged(sessions: Sessions, by: timedelta) -> None:
    """Let every experiment have begun earlier, and its results be as old."""
    with session_scope(sessions) as session:
        session.execute(update(Experiment).values(started_at=Experiment.started_at - by, results={}))


def state(sessions: Sessions) -> dict[str, Any]:
    with session_scope(sessions) as session:
        run = session.scalars(select(NightlyRun)).one()
        experiments = session.scalars(select(Experiment).order_by(Experiment.id)).all()
        return {
            "generations": [one.state for one in session.scalars(select(Generation).order_by(Generation.id))],
            "experiments": [(one.purpose, one.status, (one.decision or {}).get("winner")) for one in experiments],
            "outcome": run.outcome,
            "screen": run.report.get("screen", {}).get("state"),
            "guard": run.report.get("guard", {}).get("state"),
            "pins": sorted({one.reason for one in session.scalars(select(GenerationPin))}),
        }


def test_a_candidate_that_shoppers_prefer_goes_live_and_is_guarded(sessions: Sessions, generations: list[int]) -> None:
    name = screened(sessions, generations[1])
    assert name is not None
    assert screened(sessions, generations[1]) == name  # a night that was killed begins it once
    aged(sessions, timedelta(hours=1))
    drafted(name, 0.75, shoppers=300, seed=1).write(sessions)
    watch(sessions, SETTINGS)
    assert state(sessions) == {
        "generations": ["retired", "live"],
        "experiments": [("screen", "concluded", "candidate"), ("guard", "running", None)],
        "outcome": "promoted",
        "screen": "won",
        "guard": "running",
        "pins": ["e2"],
    }


def test_a_candidate_that_shoppers_leave_lying_is_dropped(sessions: Sessions, generations: list[int]) -> None:
    name = screened(sessions, generations[1])
    assert name is not None
    aged(sessions, timedelta(hours=1))
    drafted(name, 0.25, shoppers=300, seed=2).write(sessions)
    watch(sessions, SETTINGS)
    found = state(sessions)
    assert (found["generations"], found["outcome"], found["screen"]) == (["live", "rejected"], "unchanged", "dropped")
    assert found["experiments"] == [("screen", "concluded", "production")]


def test_what_shoppers_do_not_tell_apart_is_never_promoted(sessions: Sessions, generations: list[int]) -> None:
    name = screened(sessions, generations[1])
    assert name is not None
    aged(sessions, timedelta(hours=1))
    drafted(name, 0.5, shoppers=300, seed=3).write(sessions)
    watch(sessions, SETTINGS)
    found = state(sessions)
    assert (found["generations"], found["screen"]) == (["live", "ready"], "running")
    aged(sessions, timedelta(days=15))
    watch(sessions, SETTINGS)
    found = state(sessions)
    assert (found["generations"], found["outcome"], found["screen"]) == (["live", "rejected"], "unchanged", "dropped")
    assert found["experiments"] == [("screen", "concluded", None)]
    assert found["pins"] == []


def test_few_shoppers_decide_nothing_however_they_choose(sessions: Sessions, generations: list[int]) -> None:
    name = screened(sessions, generations[1])
    assert name is not None
    aged(sessions, timedelta(hours=1))
    drafted(name, 1.0, shoppers=120, seed=4).write(sessions)
    watch(sessions, SETTINGS)
    assert state(sessions)["generations"] == ["live", "ready"]


def test_a_screen_ends_where_what_it_is_compared_with_steps_down(sessions: Sessions, generations: list[int]) -> None:
    assert screened(sessions, generations[1]) is not None
    other = make_other(sessions, generations[0])
    with session_scope(sessions) as session:
        go_live(session, other, actor="test")
    watch(sessions, SETTINGS)
    found = state(sessions)
    assert (found["experiments"], found["screen"]) == ([("screen", "stopped", None)], "ended")
    assert found["outcome"] != "screening"


def make_other(sessions: Sessions, like: int) -> int:
    """A generation with other heads."""
    with session_scope(sessions) as session:
        one = session.get_one(Generation, like)
        made = Generation(index_build_id=one.index_build_id, calibration={}, code_version="test", state="ready",
                          query_heads=b"others")  # fmt: skip
        session.add(made)
        session.flush()
        return made.id


@pytest.mark.parametrize(
    "harmed",
    [Behaviour(empty=0.4), Behaviour(satisfied=0.02), Behaviour(latency_ms=60.0)],
    ids=["finds nothing", "is not clicked", "is slow"],
)
def test_harm_is_rolled_back_by_itself_and_audited(
    sessions: Sessions, generations: list[int], harmed: Behaviour
) -> None:
    previous, new = generations
    name = guarded(sessions, previous, new)
    assert name is not None
    aged(sessions, timedelta(hours=1))
    divided(name, {"previous": Behaviour(), "new": harmed}, shoppers=400, seed=5).write(sessions)
    watch(sessions, SETTINGS)
    found = state(sessions)
    assert found["generations"] == ["live", "retired"]
    assert found["experiments"] == [("guard", "concluded", "previous")]
    assert (found["outcome"], found["guard"]) == ("rolled_back", "rolled back")
    with session_scope(sessions) as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "generation.rolled_back")).all()
        assert [(entry.actor, entry.subject) for entry in entries] == [("guard", f"g{new}")]
        assert entries[0].details["to"] == f"g{previous}"


@pytest.mark.parametrize(("shown", "after"), [(0.3, "rolled_back"), (0.57, "promoted")])
def test_a_generation_that_hides_new_products_is_rolled_back(
    sessions: Sessions, generations: list[int], shown: float, after: str
) -> None:
    """One that shows a twentieth less of them is within what is put up with."""
    previous, new = generations
    stock(sessions, new=2, old=60, older=90)
    with session_scope(sessions) as session:
        session.scalars(select(NightlyRun)).one().outcome = "promoted"
    name = guarded(sessions, previous, new)
    assert name is not None
    aged(sessions, timedelta(hours=1))
    arms = {"previous": Behaviour(new_views=0.6), "new": Behaviour(new_views=shown)}
    divided(name, arms, shoppers=400, seed=9).write(sessions)
    watch(sessions, SETTINGS)
    with session_scope(sessions) as session:
        run = session.scalars(select(NightlyRun)).one()
        assert run.outcome == after
        assert run.reason.startswith("New products seen per query: new is worse") is (after == "rolled_back")


def test_searches_that_leave_no_list_are_harm(sessions: Sessions, generations: list[int]) -> None:
    previous, new = generations
    name = guarded(sessions, previous, new)
    assert name is not None
    aged(sessions, timedelta(hours=1))
    log = divided(name, {"previous": Behaviour(), "new": Behaviour()}, shoppers=400, seed=6)
    answered = [row for row in log.lists if row["experiments"][name] == "previous" or int(row["query_id"][2:]) % 97 < 2]
    log.lists = answered
    log.write(sessions)
    watch(sessions, SETTINGS)
    found = state(sessions)
    assert (found["generations"], found["outcome"]) == (["live", "retired"], "rolled_back")


def test_a_generation_that_does_no_harm_is_guarded_until_its_time_is_over(
    sessions: Sessions, generations: list[int]
) -> None:
    previous, new = generations
    name = guarded(sessions, previous, new)
    assert name is not None
    divided(name, {"previous": Behaviour(), "new": Behaviour()}, shoppers=400, seed=7).write(sessions)
    aged(sessions, timedelta(hours=1))
    watch(sessions, SETTINGS)
    assert state(sessions)["experiments"] == [("guard", "running", None)]
    aged(sessions, timedelta(hours=48))
    watch(sessions, SETTINGS)
    found = state(sessions)
    assert (found["generations"], found["guard"], found["pins"]) == (["retired", "live"], "over", [])
    assert found["experiments"] == [("guard", "concluded", None)]


def test_a_guard_ends_with_a_rollback_by_hand_and_none_begins_at_share_zero(
    sessions: Sessions, generations: list[int]
) -> None:
    previous, new = generations
    with session_scope(sessions) as session:  # only other heads are another ranking
        session.get_one(Generation, new).query_heads = b"heads"
    assert guarded(sessions, previous, new, share=0) is None
    assert guarded(sessions, previous, new) is not None
    with session_scope(sessions) as session:
        go_live(session, previous, actor="test", undoable=False)
    watch(sessions, SETTINGS)
    assert state(sessions)["experiments"] == [("guard", "stopped", None)]


def test_nobody_looks_again_at_once(sessions: Sessions, generations: list[int]) -> None:
    assert screened(sessions, generations[1]) is not None
    aged(sessions, timedelta(hours=1))
    watch(sessions, SETTINGS)
    with session_scope(sessions) as session:
        first = session.scalars(select(Experiment)).one().results["at"]
    watch(sessions, SETTINGS)
    with session_scope(sessions) as session:
        assert session.scalars(select(Experiment)).one().results["at"] == first
        assert datetime.fromisoformat(first) >= NOW


def test_what_an_experiment_came_to_is_read_for_the_last_time_a_day_after_its_end(
    sessions: Sessions, generations: list[int]
) -> None:
    name = screened(sessions, generations[1])
    assert name is not None
    with session_scope(sessions) as session:
        stop_experiment(session, int(name[1:]), actor="test")
        times = {"started_at": NOW - timedelta(days=9), "ended_at": NOW - timedelta(days=2)}
        session.execute(update(Experiment).values(**times))
    drafted(name, 0.6, shoppers=20, seed=8, at=NOW - timedelta(days=3)).write(sessions)
    watch(sessions, SETTINGS)
    with session_scope(sessions) as session:
        kept = session.scalars(select(Experiment)).one().results
    assert (kept["final"], kept["interleaving"]["units"]) == (True, 20)


def test_a_trial_takes_what_others_leave_of_the_layer(sessions: Sessions, generations: list[int]) -> None:
    with session_scope(sessions) as session:
        arms = [{"name": "a"}, {"name": "b", "refine_policy": "none"}]
        asked = ExperimentIn.model_validate({"name": "own", "arms": arms, "traffic": 0.97})
        start_experiment(session, create_experiment(session, asked, actor="test").id, actor="test")
    assert screened(sessions, generations[1], share=0.05) is not None
    with session_scope(sessions) as session:
        made = session.scalars(select(Experiment).where(Experiment.purpose == "screen")).one()
        assert made.traffic == pytest.approx(0.03)
    assert guarded(sessions, *generations) is None  # nothing is left
    assert state(sessions)["guard"] == "off"


def test_whoever_looks_at_a_trial_puts_off_no_look_that_decides(sessions: Sessions, generations: list[int]) -> None:
    assert guarded(sessions, *generations) is not None
    watch(sessions, SETTINGS)

    def kept() -> dict[str, Any]:
        with session_scope(sessions) as session:
            return dict(session.scalars(select(Experiment.results)).one())

    before = kept()
    assert before
    with session_scope(sessions) as session:
        results_of(session, session.scalars(select(Experiment)).one())
    assert kept() == before
