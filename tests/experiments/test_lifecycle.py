"""Experiments in PostgreSQL: made, started, ramped, stopped; and every process that follows them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select, text, update
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, sessionmaker

from backend.access.models import AuditEntry
from backend.db import session_scope
from backend.errors import Conflict, Unprocessable
from backend.events.units import UnitHasher, load_unit_hasher
from backend.experiments.assignment import Assigner, Context, Unit
from backend.experiments.exploration import ExplorationChange, change_exploration
from backend.experiments.known_units import KnownUnits
from backend.experiments.layers import change_layer, list_layers
from backend.experiments.lifecycle import (
    LayerFull,
    WrongStatus,
    conclude_experiment,
    create_experiment,
    override,
    ramp_experiment,
    start_experiment,
    stop_experiment,
)
from backend.experiments.models import Experiment, Layer, StickyArm
from backend.experiments.pins import pin_holdout
from backend.experiments.registry import Registry
from backend.experiments.schemas import ConcludeIn, ExperimentIn, RampIn
from backend.generations.builds import BuildInUse, drop_build, uses
from backend.generations.models import EncoderRecord, Generation, GenerationPin, IndexBuild
from backend.generations.promote import go_live
from backend.generations.retire import expire_builds

Sessions = sessionmaker[Session]
UNITS = [Unit(f"shopper-{number:06d}") for number in range(3000)]


@pytest.fixture
def generations(sessions: Sessions) -> list[int]:
    """Four generations: without heads (retired), live with heads, ready with heads, and one of another encoder."""
    with session_scope(sessions) as session:
        for name in ("tiny", "other"):
            session.add(EncoderRecord(id=name, name=name, weights_hash=name, dim=4))
        builds = [
            IndexBuild(encoder_id=encoder, image_collection=f"i{n}", caption_collection=f"c{n}", state="ready")
            for n, encoder in enumerate(("tiny", "tiny", "other"))
        ]
        session.add_all(builds)
        session.flush()
        made = [
            Generation(index_build_id=build.id, calibration={}, code_version="test", state=state, query_heads=heads)
            for build, state, heads in (
                (builds[0], "retired", None),
                (builds[1], "live", b"heads"),
                (builds[1], "ready", b"heads"),
                (builds[2], "retired", None),
            )
        ]
        session.add_all(made)
        session.flush()
        return [generation.id for generation in made]


def asked(**changes: Any) -> ExperimentIn:
    arms = [{"name": "control"}, {"name": "new", "refine_policy": "none"}]
    return ExperimentIn.model_validate({"name": "first", "arms": arms, "traffic": 0.2} | changes)


def arms_of(sessions: Sessions, known: KnownUnits, **shares: float) -> Callable[..., dict[Unit, dict[str, str]]]:
    """What a process that has just been started assigns ``UNITS`` to."""

    def found(units: list[Unit] = UNITS) -> dict[Unit, dict[str, str]]:
        registry = Registry(sessions, **({"holdout_share": 0.0, "exploration_share": 0.0} | shares))
        registry.start()
        try:
            assigner = Assigner(registry, known)
            return {unit: dict(assigner.assign(unit, Context()).experiments) for unit in units}
        finally:
            registry.stop()

    return found


@pytest.fixture
def hasher(sessions: Sessions) -> UnitHasher:
    with session_scope(sessions) as session:
        return load_unit_hasher(session)


@pytest.fixture
def known(engine: Engine, hasher: UnitHasher) -> KnownUnits:
    class Inline(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            fn(*args, **kwargs)

    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    return KnownUnits(autocommit, lambda: hasher, Inline(1))


def test_processes_agree_and_a_restart_changes_nothing(sessions: Sessions, known: KnownUnits) -> None:
    found = arms_of(sessions, known)
    with session_scope(sessions) as session:
        start_experiment(session, create_experiment(session, asked(), actor="t").id, actor="t")
    first, second = found(), found()
    assert first == second
    taken = sum(bool(arms) for arms in first.values())
    assert abs(taken - 600) < 90


def test_ramping_lets_units_in_and_moves_nobody(sessions: Sessions, known: KnownUnits) -> None:
    found = arms_of(sessions, known)
    with session_scope(sessions) as session:
        number = create_experiment(session, asked(coverage=0.1), actor="t").id
        other = create_experiment(session, asked(name="second", traffic=0.5), actor="t").id
        start_experiment(session, number, actor="t")
        start_experiment(session, other, actor="t")
    reached = [found()]
    for ramp in (RampIn(coverage=0.6), RampIn(coverage=1), RampIn(traffic=0.4)):
        with session_scope(sessions) as session:
            ramp_experiment(session, number, ramp, actor="t")
        reached.append(found())
    for before, after in pairwise(reached):
        for unit, arms in before.items():
            assert arms.items() <= after[unit].items()
    shares = [sum(f"e{number}" in arms for arms in each.values()) / len(UNITS) for each in reached]
    assert shares == pytest.approx([0.02, 0.12, 0.2, 0.4], abs=0.035)
    with session_scope(sessions) as session:
        assert session.get_one(Experiment, number).slices == [[0, 2000], [7000, 9000]]
        for less in (RampIn(coverage=0.5), RampIn(traffic=0.1), RampIn()):
            with pytest.raises(Unprocessable):
                ramp_experiment(session, number, less, actor="t")
        with pytest.raises(LayerFull, match="the rest of its traffic"):
            ramp_experiment(session, number, RampIn(traffic=0.51), actor="t")


def test_a_new_experiment_in_an_empty_layer_spreads_the_units_of_the_last_one(
    sessions: Sessions, known: KnownUnits
) -> None:
    found = arms_of(sessions, known)
    lists = []
    for name in ("first", "second"):
        with session_scope(sessions) as session:
            number = create_experiment(session, asked(name=name, traffic=0.5), actor="t").id
            start_experiment(session, number, actor="t")
        lists.append({unit for unit, arms in found().items() if arms})
        with session_scope(sessions) as session:
            conclude_experiment(session, number, ConcludeIn(winner="new", note="better"), actor="t")
            assert session.get_one(Experiment, number).decision["winner"] == "new"
    assert abs(len(lists[0] & lists[1]) - 750) < 110  # half of a half, and not the same half again
    with session_scope(sessions) as session:
        assert session.get_one(Layer, "ranker").salt_version == 3


def test_each_step_is_allowed_in_its_state_only_and_is_in_the_audit(sessions: Sessions) -> None:
    with session_scope(sessions) as session:
        number = create_experiment(session, asked(), actor="ann").id
        with pytest.raises(Conflict):
            create_experiment(session, asked(), actor="ann")
        with pytest.raises(WrongStatus):
            ramp_experiment(session, number, RampIn(coverage=1), actor="ann")
        with pytest.raises(WrongStatus):
            conclude_experiment(session, number, ConcludeIn(), actor="ann")
        start_experiment(session, number, actor="ann")
        with pytest.raises(WrongStatus):
            start_experiment(session, number, actor="ann")
        with pytest.raises(Unprocessable, match="no arm"):
            conclude_experiment(session, number, ConcludeIn(winner="nobody"), actor="ann")
        stop_experiment(session, number, actor="ann")
        conclude_experiment(session, number, ConcludeIn(), actor="ann")
        with pytest.raises(WrongStatus):
            stop_experiment(session, number, actor="ann")
        done = session.scalars(
            select(AuditEntry.action).where(AuditEntry.subject == f"e{number}").order_by(AuditEntry.id)
        )
        assert list(done) == [f"experiment.{step}" for step in ("created", "started", "stopped", "concluded")]


def test_an_arm_needs_a_generation_and_a_policy_that_there_are(sessions: Sessions, generations: list[int]) -> None:
    with session_scope(sessions) as session:
        session.execute(update(Generation).where(Generation.id == generations[2]).values(state="rejected"))
        for arm, error in (
            ({"generation": "g999"}, "does not exist"),
            ({"generation": f"g{generations[2]}"}, "cannot serve an arm"),
            ({"refine_policy": "nobody"}, "no refine policy"),
        ):
            with pytest.raises((Conflict, Unprocessable), match=error):
                create_experiment(session, asked(arms=[{"name": "a"}, {"name": "b"} | arm]), actor="t")


def test_builds_of_arms_are_kept_while_they_are_tried(sessions: Sessions, generations: list[int]) -> None:
    arms = [{"name": "old", "generation": f"g{generations[0]}"}, {"name": "live"}]
    window = timedelta(0)
    with session_scope(sessions) as session:
        number = create_experiment(session, asked(arms=arms), actor="t").id
        start_experiment(session, number, actor="t")
        build = session.get_one(Generation, generations[0]).index_build_id
        assert [use.pinned for use in uses(session, window)[build]] == [(f"e{number}",)]
        for forget in (False, True):
            with pytest.raises(BuildInUse, match=f"for e{number}:"):
                drop_build(session, build, window=window, actor="t", forget=forget)
        assert build not in expire_builds(session, window)
        stop_experiment(session, number, actor="t")
        assert build in expire_builds(session, window)


def test_the_holdout_keeps_the_newest_generation_without_heads_on_the_live_encoder(
    sessions: Sessions, generations: list[int]
) -> None:
    def held() -> list[int]:
        return list(session.scalars(select(GenerationPin.generation_id).where(GenerationPin.reason == "holdout")))

    with session_scope(sessions) as session:
        for share, expected in ((0.01, [generations[0]]), (0.0, []), (0.01, [generations[0]])):
            pin_holdout(session, share)
            assert held() == expected
        go_live(session, generations[3], actor="t")  # the other encoder's
        pin_holdout(session, 0.01)
        assert held() == [generations[3]]


def test_the_holdout_is_served_by_what_is_pinned(sessions: Sessions, generations: list[int], known: KnownUnits) -> None:
    registry = Registry(sessions, holdout_share=1.0, exploration_share=1.0)
    registry.start()
    found = Assigner(registry, known).assign(Unit("a7"), Context())
    registry.stop()
    assert (found.generation_id, found.exploration, found.logged["holdout"]) == (generations[0], None, True)


def test_a_process_that_started_before_anything_was_live_finds_the_holdouts_generation(
    sessions: Sessions, request: pytest.FixtureRequest
) -> None:
    from tests.fixtures.stacks import wait_for

    registry = Registry(sessions, holdout_share=0.01, exploration_share=0, poll_s=0.05)
    registry.start()
    try:
        assert registry.plan.holdout_generation is None
        made: list[int] = request.getfixturevalue("generations")
        wait_for(lambda: registry.plan.holdout_generation == made[0], "the holdout has its generation")
        with session_scope(sessions) as session:
            go_live(session, made[3], actor="t")  # the other encoder's
        wait_for(lambda: registry.plan.holdout_generation == made[3], "it follows the encoder")
    finally:
        registry.stop()


def test_a_change_reaches_a_process_that_runs(sessions: Sessions) -> None:
    from tests.fixtures.stacks import wait_for

    registry = Registry(sessions, holdout_share=0, exploration_share=0.05, poll_s=0.05)
    registry.start()
    try:
        assert registry.plan.explore_share == 500
        with session_scope(sessions) as session:
            change = ExplorationChange.model_validate({"share": 0.02, "policy": {"slot_from": 4}})
            found = change_exploration(session, change, default_share=0.05, actor="ann")
            assert 0 < found.cost.of_all == pytest.approx(0.02 * found.cost.of_a_list)
            number = create_experiment(session, asked(), actor="t").id
            start_experiment(session, number, actor="t")
        wait_for(lambda: registry.plan.explore_share == 200 and "ranker" in registry.plan.trials, "the change is seen")
        assert registry.plan.explore_policy.slot_from == 4
        with session_scope(sessions) as session:
            stop_experiment(session, number, actor="t")
        wait_for(lambda: not registry.plan.trials, "the end is seen")
    finally:
        registry.stop()


def test_who_signs_in_keeps_their_arm_in_every_process(
    sessions: Sessions, engine: Engine, known: KnownUnits, hasher: UnitHasher
) -> None:
    with session_scope(sessions) as session:
        number = create_experiment(session, asked(traffic=1), actor="t").id
        start_experiment(session, number, actor="t")
    found = arms_of(sessions, known)
    arms = found(UNITS[:50])
    first = UNITS[0]
    other = next(unit for unit in UNITS[:50] if arms[unit] != arms[first])
    assert found([Unit(first.shopper_id, user_id="jo")]).popitem()[1] == arms[first]
    elsewhere = KnownUnits(engine, lambda: hasher, ThreadPoolExecutor(1))
    at_home = Unit(other.shopper_id, user_id="jo")
    assert arms_of(sessions, elsewhere)([at_home])[at_home] == arms[first]
    with session_scope(sessions) as session:
        kept = session.execute(select(StickyArm.unit, StickyArm.arm)).all()
        assert kept == [(hasher.hashed("user", "jo"), arms[first][f"e{number}"])]
        stop_experiment(session, number, actor="t")
    known.keep("jo", number, "new")  # by a process that has not seen the end yet
    with session_scope(sessions) as session:
        assert session.scalar(select(func.count()).select_from(StickyArm)) == 0


def test_a_tester_is_found_by_the_hash_of_their_id(sessions: Sessions, known: KnownUnits, hasher: UnitHasher) -> None:
    with session_scope(sessions) as session:
        number = create_experiment(session, asked(), actor="t").id
        with pytest.raises(Unprocessable, match="no such arm"):
            override(session, number, ["1:x"], "nobody", actor="t")
    for arm, expected in (("new", {f"e{number}": "new"}), (None, {})):
        with session_scope(sessions) as session:
            override(session, number, hasher.under_every_key("shopper", "a7"), arm, actor="t")
        assert arms_of(sessions, known)([Unit("a7")])[Unit("a7")] == expected


def test_a_layer_changes_its_hash_only_while_nothing_runs_in_it(sessions: Sessions) -> None:
    with session_scope(sessions) as session:
        number = create_experiment(session, asked(), actor="t").id
        assert change_layer(session, "ranker", "fnv_v2", actor="t").salt_version == 2
        start_experiment(session, number, actor="t")
        with pytest.raises(Conflict, match="change arms"):
            change_layer(session, "ranker", "sha256", actor="t")
        shown = {layer.name: layer for layer in list_layers(session)}
        assert (shown["ranker"].free, shown["ranker"].running) == (0.8, [f"e{number}"])
        assert shown["ui"].free == 1
        with pytest.raises(Conflict, match="for good"):
            change_layer(session, "holdout", "fnv_v2", actor="t")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer": "ui", "arms": [{"name": "a"}, {"name": "b", "generation": "g8"}]}, "nothing but names"),
        ({"layer": "explore", "arms": [{"name": "a"}, {"name": "b", "refine_policy": "auto"}]}, "expected exploration"),
        (
            {
                "method": "interleave",
                "arms": [{"name": "a", "generation": "g7"}, {"name": "b", "generation": "g8", "refine_policy": "auto"}],
            },
            "refine alike",
        ),
    ],
)
def test_what_an_arm_says_and_nothing_would_heed_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        asked(**changes)


def test_nobody_knows_a_salt_that_was_not_made_here(sessions: Sessions) -> None:
    with session_scope(sessions) as session:
        list_layers(session)
        salts = session.scalars(text("SELECT salt FROM layers")).all()
    assert len(set(salts)) == 4
    assert {len(salt) for salt in salts} == {16}
