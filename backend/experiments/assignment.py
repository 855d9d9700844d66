"""Who sees what: a unit and the context of its search, and out comes what serves it. From memory, in microseconds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from backend.experiments.bucketing import BUCKETS, arm_of, bucket, is_within
from backend.experiments.plan import Arm, Dimension, Plan, Trial
from backend.ml.clicks.exploration import ExplorationPolicy

INTERLEAVED = "interleaved"
"""Arm of the units that are shown both arms of an experiment in one list."""


@dataclass(frozen=True)
class Unit:
    """Ids of whoever searches, as given. Buckets come from these, because hashes of them change with their key."""

    shopper_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None

    @property
    def divided_by(self) -> tuple[str, str] | None:
        """What experiments divide by: the anonymous id, which is there before and after signing in; else what is."""
        for kind, given in (("shopper", self.shopper_id), ("user", self.user_id), ("session", self.session_id)):
            if given is not None:
                return kind, given
        return None

    @property
    def explores_by(self) -> tuple[str, str] | None:
        """What exploration divides by: the session."""
        return ("session", self.session_id) if self.session_id is not None else self.divided_by


@dataclass(frozen=True)
class Context:
    """What experiments may be limited by."""

    device: str | None = None
    surface: str | None = None
    query_type: str | None = None
    locale: str | None = None
    cohort: str | None = None

    def meets(self, targeting: Mapping[Dimension, Sequence[str]]) -> bool:
        """Whether each dimension named has one of its values; ``de`` means ``de-AT``, too."""
        for dimension, values in targeting.items():
            given = getattr(self, dimension)
            if given is None or (given not in values and not _is_language_of(dimension, given, values)):
                return False
        return True


@dataclass(frozen=True)
class Assignment:
    """What serves a search.

    Args:
        generation_id: None is what is live.
        against: generation whose ranking is interleaved with that one's.
        refine_policy: of refinements that name none.
        exploration: how the list explores; None: it does not.
        experiments: name of the arm in each experiment, as answered: ``{"e3": "g8"}``.
        logged: what is kept with the list.
    """

    generation_id: int | None = None
    against: int | None = None
    refine_policy: str | None = None
    exploration: ExplorationPolicy | None = None
    experiments: Mapping[str, str] = field(default_factory=dict)
    logged: Mapping[str, Any] = field(default_factory=dict)


LIVE = Assignment()
"""What everybody gets who is assigned to nothing."""


class Plans(Protocol):
    """Whoever knows what is being tried."""

    @property
    def plan(self) -> Plan:
        """What is being tried now."""
        ...


class Known(Protocol):
    """What is known of units by their keyed hashes."""

    def hashes(self, kind: str, given: str) -> Sequence[str]:
        """Hashes of an id, under every key that is kept."""
        ...

    def arms(self, user_id: str, *, anew: bool = False) -> Mapping[int, str]:
        """Arm of a signed-in shopper in each experiment they are in; ``anew`` looks again at once."""
        ...

    def keep(self, user_id: str, experiment_id: int, arm: str) -> None:
        """Let a signed-in shopper keep an arm, on whatever device they come. Returns at once."""
        ...


@dataclass(frozen=True)
class Placed:
    """The arm of a unit in an experiment; ``how`` is bucket, sticky or override."""

    trial: Trial
    arm: Arm
    how: str
    bucket: int


class Assigner:
    """Assigns units. Safe to share between threads.

    Args:
        plans: what is being tried.
        known: overrides are found by its hashes, and arms of signed-in shoppers are kept there.
        serves: whether a generation can answer here. Where one arm's cannot, nobody is let into its experiment: the
            other arms would get more units than their weights say.
    """

    def __init__(self, plans: Plans, known: Known, serves: Callable[[int], bool] = lambda _: True) -> None:
        self._plans = plans
        self._known = known
        self._serves = serves

    def assign(self, unit: Unit, context: Context) -> Assignment:
        """What serves a search of ``unit`` in ``context``."""
        plan, by = self._plans.plan, unit.divided_by
        if by is None or plan.decides_nothing:
            return LIVE
        held = plan.layers["holdout"]
        place = bucket(held.salt, by[1], held.hashing)
        if place < plan.holdout_share:
            if tested := self._tested(plan, unit, by[1]):
                return _assignment(replace(plan, explore_share=0), unit, by[0], tested)
            out = {"bucket": place, "salt_version": held.version}
            return Assignment(
                plan.holdout_generation, logged={"unit": by[0], "holdout": True, "layers": {"holdout": out}}
            )
        found = {layer: placed for layer in plan.trials if (placed := self._place(plan, layer, unit, context))}
        return _assignment(plan, unit, by[0], found)

    def _place(self, plan: Plan, layer: str, unit: Unit, context: Context) -> Placed | None:
        """The experiment of a layer that a unit is in, and its arm."""
        by = unit.explores_by if layer == "explore" else unit.divided_by
        if by is None:
            return None
        salted, trials = plan.layers[layer], [trial for trial in plan.trials[layer] if self._is_served(trial)]
        if not trials:
            return None
        place = bucket(salted.salt, by[1], salted.hashing)
        override = self._override(trials, unit)
        if override is not None:
            return Placed(*override, "override", place)
        within = next(
            (
                trial
                for trial in trials
                if trial.is_running
                and is_within(place, trial.slices)
                and (trial.coverage >= BUCKETS or bucket(trial.entry_salt, by[1], salted.hashing) < trial.coverage)
            ),
            None,
        )
        if unit.user_id is not None and layer != "explore":
            return self._signed_in(trials, within, unit.user_id, by[1], plan, place, context)
        if within is None or not context.meets(within.targeting):
            return None
        return Placed(within, _own_arm(within, by[1], plan), "bucket", place)

    def _tested(self, plan: Plan, unit: Unit, divided_by: str) -> dict[str, Placed]:
        """The arms that a unit of the holdout was put into by hand; none of them is compared with anything."""
        found = {}
        for layer, trials in plan.trials.items():
            override = self._override([trial for trial in trials if self._is_served(trial)], unit)
            if override is not None:
                salted = plan.layers[layer]
                found[layer] = Placed(*override, "override", bucket(salted.salt, divided_by, salted.hashing))
        return found

    def _is_served(self, trial: Trial) -> bool:
        return all(arm.generation_id is None or self._serves(arm.generation_id) for arm in trial.arms)

    def _signed_in(
        self,
        trials: Sequence[Trial],
        within: Trial | None,
        user_id: str,
        divided_by: str,
        plan: Plan,
        place: int,
        context: Context,
    ) -> Placed | None:
        """The arm that a signed-in shopper had first; the first one is the one that their anonymous id falls to."""
        for anew in (False, True):
            kept = _kept_arm(trials, self._known.arms(user_id, anew=anew))
            if kept is not None:
                return Placed(*kept, "sticky", place) if context.meets(kept[0].targeting) else None
            if within is None or not context.meets(within.targeting):
                return None
        if within is None:
            return None
        arm = _own_arm(within, divided_by, plan)
        self._known.keep(user_id, within.id, arm.name)
        return Placed(within, arm, "bucket", place)

    def _override(self, trials: Sequence[Trial], unit: Unit) -> tuple[Trial, Arm] | None:
        if not any(trial.overrides for trial in trials):
            return None
        hashes = [
            each
            for kind, given in (("user", unit.user_id), ("shopper", unit.shopper_id))
            if given is not None
            for each in self._known.hashes(kind, given)
        ]
        for trial in reversed(trials):
            arm = next((arm for each in hashes if (arm := trial.arm(trial.overrides.get(each)))), None)
            if arm is not None:
                return trial, arm
        return None


def _own_arm(trial: Trial, divided_by: str, plan: Plan) -> Arm:
    """The arm that a unit falls to; both together are one where they are interleaved."""
    if trial.method == "interleave":
        return Arm(INTERLEAVED, 1)
    place = bucket(trial.arm_salt, divided_by, plan.layers[trial.layer].hashing)
    return trial.arms[arm_of(place, [arm.weight for arm in trial.arms])]


def _kept_arm(trials: Sequence[Trial], kept: Mapping[int, str]) -> tuple[Trial, Arm] | None:
    for trial in trials:
        name = kept.get(trial.id)
        both = trial.method == "interleave" and name == INTERLEAVED
        arm = Arm(INTERLEAVED, 1) if both else trial.arm(name)
        if arm is not None and trial.is_running:
            return trial, arm
    return None


def _assignment(plan: Plan, unit: Unit, kind: str, found: Mapping[str, Placed]) -> Assignment:
    layers: dict[str, Any] = {layer: _logged(plan, placed) for layer, placed in found.items()}
    ranker, explore = found.get("ranker"), found.get("explore")
    generation_id = against = refine_policy = None
    if ranker is not None and ranker.arm.name == INTERLEAVED:
        generation_id, against = (arm.generation_id for arm in ranker.trial.arms)
        refine_policy = ranker.trial.arms[0].refine_policy
    elif ranker is not None:
        generation_id, refine_policy = ranker.arm.generation_id, ranker.arm.refine_policy
    exploration = explore.arm.exploration if explore else _explores(plan, unit, ranker, layers)
    experiments = {placed.trial.name: placed.arm.name for placed in found.values()}
    logged = {"unit": kind, "layers": layers} if layers else {}
    if refine_policy is not None:
        logged["refine_policy"] = refine_policy
    return Assignment(generation_id, against, refine_policy, exploration, experiments, logged)


def _explores(plan: Plan, unit: Unit, ranker: Placed | None, layers: dict[str, Any]) -> ExplorationPolicy | None:
    """How a unit in no experiment of that layer explores, if it does; noted in ``layers``."""
    by = unit.explores_by
    if not plan.explore_share or by is None:
        return None
    salted = plan.layers["explore"]
    # a salt of its own: experiments of this layer lie in slices of the layer's salt and must not use the share up
    place = bucket(f"{salted.salt}:share", by[1], salted.hashing)
    if place >= plan.explore_share:
        return None
    layers["explore"] = {"unit": by[0], "bucket": place, "salt_version": salted.version}
    return (ranker.arm.exploration if ranker else None) or plan.explore_policy


def _logged(plan: Plan, placed: Placed) -> dict[str, Any]:
    return {
        "experiment": placed.trial.name,
        "arm": placed.arm.name,
        "how": placed.how,
        "bucket": placed.bucket,
        "salt_version": plan.layers[placed.trial.layer].version,
    }


def _is_language_of(dimension: str, given: str, values: Sequence[str]) -> bool:
    return dimension == "locale" and given.replace("_", "-").partition("-")[0] in values
