"""Who sees what: layers, arms, targeting, the holdout, overrides, and shoppers who sign in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from backend.experiments.assignment import INTERLEAVED, LIVE, Assigner, Assignment, Context, Unit
from backend.experiments.plan import LAYERS, Arm, Plan, Salted, Trial
from backend.ml.clicks.exploration import ExplorationPolicy
from tests.experiments.test_bucketing import chi_square, critical

ANYWHERE = Context("mobile", "web", "text", "de-AT", "new")
WHOLE = ((0, 10_000),)


@dataclass
class Shoppers:
    """What PostgreSQL would know, and how often it was asked."""

    kept: dict[str, dict[int, str]] = field(default_factory=dict)
    asked: int = 0

    def hashes(self, kind: str, given: str) -> Sequence[str]:
        return [f"1:{kind} {given}"]

    def arms(self, user_id: str, *, anew: bool = False) -> Mapping[int, str]:  # noqa: ARG002 it remembers nothing
        self.asked += 1
        return self.kept.get(user_id, {})

    def keep(self, user_id: str, experiment_id: int, arm: str) -> None:
        self.kept.setdefault(user_id, {}).setdefault(experiment_id, arm)


@dataclass
class Planned:
    plan: Plan


def trial(number: int, *, layer: str = "ranker", **changes: Any) -> Trial:
    """A running experiment over the whole layer: g7 against g8, half and half."""
    told = {
        "id": number,
        "layer": layer,
        "method": "ab",
        "is_running": True,
        "entry_salt": f"entry {number}",
        "arm_salt": f"arms {number}",
        "slices": WHOLE,
        "coverage": 10_000,
        "targeting": {},
        "arms": (Arm("control", 1, 7), Arm("g8", 1, 8, "gentle")),
        "overrides": {},
    }
    return Trial(**(told | changes))


def plan(*trials: Trial, **changes: Any) -> Plan:
    layers = {name: Salted(f"salt of {name}", 1, "sha256") for name in LAYERS}
    found: dict[str, list[Trial]] = {}
    for one in trials:
        found.setdefault(one.layer, []).append(one)
    return replace(Plan(layers, found), **changes)


def assigned(made: Plan, unit: Unit, context: Context = ANYWHERE, known: Shoppers | None = None) -> Assignment:
    return Assigner(Planned(made), known or Shoppers()).assign(unit, context)


def shoppers(count: int) -> list[Unit]:
    return [Unit(f"shopper-{number:06d}", f"session-{number:06d}") for number in range(count)]


def test_who_has_no_id_gets_what_is_live() -> None:
    assert assigned(plan(trial(3), explore_share=10_000, holdout_share=10_000), Unit()) == LIVE


def test_an_arm_is_a_generation_with_a_policy_answered_and_logged_by_name() -> None:
    made = plan(trial(3))
    by_arm = {assigned(made, unit).experiments["e3"]: assigned(made, unit) for unit in shoppers(50)}
    assert by_arm.keys() == {"control", "g8"}
    arm = by_arm["g8"]
    assert (arm.generation_id, arm.against, arm.refine_policy) == (8, None, "gentle")
    logged = arm.logged["layers"]["ranker"]
    assert (arm.logged["unit"], arm.logged["refine_policy"]) == ("shopper", "gentle")
    assert {"experiment": "e3", "arm": "g8", "how": "bucket", "salt_version": 1}.items() <= logged.items()
    assert by_arm["control"].generation_id == 7


def test_units_divide_evenly_and_layers_know_nothing_of_each_other() -> None:
    made = plan(
        trial(3),
        trial(4, layer="ui", arms=(Arm("small", 1), Arm("large", 1))),
        trial(5, layer="explore", arms=(Arm("none", 1), Arm("swaps", 1, exploration=ExplorationPolicy(pair_share=1)))),
    )
    table: Counter[tuple[int, int, int]] = Counter()
    assigner = Assigner(Planned(made), Shoppers())
    for unit in shoppers(20_000):
        arms = assigner.assign(unit, ANYWHERE).experiments
        table[arms["e3"] == "g8", arms["e4"] == "large", arms["e5"] == "swaps"] += 1
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pairs: Counter[tuple[int, int]] = Counter()
        for cell, count in table.items():
            pairs[cell[first], cell[second]] += count
        value, df = chi_square(pairs)
        assert df == 1
        assert value < critical(1), (first, second)
        assert sum((sum(pairs[side, one] for one in (0, 1)) - 10_000) ** 2 / 10_000 for side in (0, 1)) < critical(1)


def test_a_unit_is_in_one_experiment_of_a_layer_at_most() -> None:
    made = plan(trial(3, slices=((0, 2000),)), trial(4, slices=((2000, 5000),)))
    counts = Counter(tuple(assigned(made, unit).experiments) for unit in shoppers(5000))
    assert counts.keys() == {(), ("e3",), ("e4",)}
    assert abs(counts[("e3",)] - 1000) < 120
    assert abs(counts[("e4",)] - 1500) < 140


@pytest.mark.parametrize(
    ("targeting", "takes_part"),
    [
        ({"device": ("mobile", "tablet")}, True),
        ({"device": ("desktop",)}, False),
        ({"locale": ("de",), "cohort": ("new",)}, True),
        ({"locale": ("de-AT",)}, True),
        ({"locale": ("de-DE", "at")}, False),
        ({"surface": ("web",), "query_type": ("image",)}, False),
    ],
)
def test_targeting_limits_who_takes_part(targeting: dict[Any, Any], takes_part: bool) -> None:
    found = assigned(plan(trial(3, targeting=targeting)), Unit("a7"))
    assert bool(found.experiments) == takes_part
    assert assigned(plan(trial(3, targeting=targeting)), Unit("a7"), Context()).experiments == {}


def test_the_holdout_is_out_of_everything_and_served_by_its_own_generation() -> None:
    made = plan(trial(3), holdout_share=100, holdout_generation=2, explore_share=10_000)
    found = [assigned(made, unit) for unit in shoppers(20_000)]
    held = [one for one in found if one.logged.get("holdout")]
    assert abs(len(held) - 200) < 60
    for one in held:
        assert (one.generation_id, one.exploration, one.experiments) == (2, None, {})
        assert one.logged["layers"]["holdout"]["bucket"] < 100
    assert all(one.exploration and one.experiments for one in found if not one.logged.get("holdout"))


def test_sessions_explore_as_often_as_said_whatever_experiments_run_in_their_layer() -> None:
    policy = ExplorationPolicy(slot_from=4)
    for made in (
        plan(explore_share=500, explore_policy=policy),
        plan(trial(5, layer="explore", slices=((0, 1000),)), explore_share=500, explore_policy=policy),
    ):
        found = [assigned(made, unit) for unit in shoppers(20_000)]
        outside = [one for one in found if not one.experiments]
        explored = [one for one in outside if one.exploration == policy]
        assert abs(len(explored) - len(outside) / 20) < 150
        assert {one.logged["layers"]["explore"]["unit"] for one in explored} == {"session"}


def test_a_session_explores_throughout_and_a_shopper_without_one_by_their_own_id() -> None:
    made = plan(explore_share=5000)
    for number in range(50):
        by_session = {bool(assigned(made, Unit(f"a{other}", f"s{number}")).exploration) for other in range(3)}
        assert len(by_session) == 1
    assert {bool(assigned(made, Unit(f"a{number}")).exploration) for number in range(50)} == {True, False}


def test_both_rankings_of_an_interleaving_experiment_are_in_every_list() -> None:
    found = assigned(plan(trial(3, method="interleave")), Unit("a7"))
    assert (found.generation_id, found.against) == (7, 8)
    assert found.experiments == {"e3": INTERLEAVED}


def test_who_signs_in_keeps_the_arm_they_had_on_every_device() -> None:
    made, known = plan(trial(3)), Shoppers()
    before = assigned(made, Unit("phone"), known=known)
    signed_in = assigned(made, Unit("phone", user_id="jo"), known=known)
    assert signed_in.experiments == before.experiments
    assert known.kept == {"jo": {3: before.experiments["e3"]}}
    other = next(unit for unit in shoppers(50) if assigned(made, unit).experiments != before.experiments)
    elsewhere = assigned(made, replace(other, user_id="jo"), known=known)
    assert elsewhere.experiments == before.experiments
    assert elsewhere.logged["layers"]["ranker"]["how"] == "sticky"
    assert assigned(made, other, known=known).experiments != before.experiments  # signed out again


def test_a_kept_arm_ends_with_its_experiment_and_outlives_its_slice() -> None:
    known = Shoppers({"jo": {3: "g8"}})
    nowhere = trial(3, slices=())
    assert assigned(plan(nowhere), Unit("a7", user_id="jo"), known=known).experiments == {"e3": "g8"}
    assert assigned(plan(trial(4)), Unit("a7", user_id="jo"), known=known).experiments.keys() == {"e4"}
    assert assigned(plan(replace(nowhere, is_running=False)), Unit("a7", user_id="jo"), known=known).experiments == {}


def test_nobody_is_asked_about_who_is_not_signed_in() -> None:
    known = Shoppers()
    assigned(plan(trial(3), explore_share=500), Unit("a7", "s1"), known=known)
    assert known.asked == 0


def test_a_tester_is_in_the_arm_they_were_put_into_even_before_the_start() -> None:
    for kind, unit in (("shopper", Unit("a7")), ("user", Unit("a9", user_id="a7"))):
        for arm in ("control", "g8"):
            draft = trial(3, is_running=False, overrides={f"1:{kind} a7": arm})
            found = assigned(plan(draft, trial(4)), unit)
            assert found.experiments == {"e3": arm}
            assert found.logged["layers"]["ranker"]["how"] == "override"
    assert assigned(plan(trial(3, is_running=False, overrides={"1:shopper a7": "g8"})), Unit("a8")).experiments == {}


def test_a_tester_whose_id_falls_to_the_holdout_is_in_that_arm_and_in_nothing_else() -> None:
    put = trial(3, overrides={"1:shopper a7": "g8"})
    made = plan(put, trial(4, layer="ui"), holdout_share=10_000, holdout_generation=2, explore_share=10_000)
    found = assigned(made, Unit("a7"))
    assert (found.generation_id, found.experiments, found.exploration) == (8, {"e3": "g8"}, None)
    assert "holdout" not in found.logged
    assert assigned(made, Unit("a8")).generation_id == 2


def test_an_arm_of_the_ranker_layer_may_say_how_its_explorers_explore() -> None:
    policy = ExplorationPolicy(temperature=0.2)
    made = plan(trial(3, arms=(Arm("only", 1, 7, exploration=policy),)), explore_share=5000)
    assert {assigned(made, unit).exploration for unit in shoppers(40)} == {None, policy}


def test_an_experiment_lets_nobody_in_where_one_of_its_arms_cannot_be_served() -> None:
    made = plan(trial(3), trial(4, layer="ui", arms=(Arm("small", 1), Arm("large", 1))))
    assigner = Assigner(Planned(made), Shoppers({"jo": {3: "control"}}), lambda generation_id: generation_id != 8)
    for unit in (*shoppers(20), Unit("a7", user_id="jo")):
        assert assigner.assign(unit, ANYWHERE).experiments.keys() == {"e4"}
