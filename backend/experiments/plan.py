"""What is being tried, as a process holds it in memory; read anew a second after somebody changes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from backend.experiments.bucketing import BUCKETS, Hashing
from backend.ml.clicks.exploration import ExplorationPolicy

LayerName = Literal["ranker", "explore", "ui", "holdout"]

LAYERS: tuple[LayerName, ...] = ("ranker", "explore", "ui", "holdout")
"""Layers that there are. A unit is in at most one experiment of each; two layers know nothing of each other."""

Dimension = Literal["device", "surface", "query_type", "locale", "cohort"]
"""What an experiment may be limited by."""


@dataclass(frozen=True)
class Salted:
    """A layer's salt. Another version is another salt: buckets of two versions have nothing to do with each other."""

    salt: str
    version: int
    hashing: Hashing


@dataclass(frozen=True)
class Arm:
    """What the units of an arm get; None is what everybody gets.

    Args:
        name: as answered and logged.
        weight: its width beside the others.
        generation_id: what answers their searches.
        refine_policy: what their refinements follow.
        exploration: how their sessions explore, those that do.
    """

    name: str
    weight: float
    generation_id: int | None = None
    refine_policy: str | None = None
    exploration: ExplorationPolicy | None = None

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Arm":
        """An arm as its experiment keeps it."""
        explores = kept.get("exploration")
        return cls(
            kept["name"],
            kept["weight"],
            kept.get("generation_id"),
            kept.get("refine_policy"),
            None if explores is None else ExplorationPolicy(**explores),
        )


@dataclass(frozen=True)
class Trial:
    """An experiment that assigns units.

    Args:
        id: its number.
        layer: whose buckets it has a part of.
        method: each unit to an arm (ab), or both arms in every list (interleave).
        is_running: else only those assign who were put into an arm by hand.
        entry_salt: of the hash that coverage is compared with.
        arm_salt: of the hash that chooses the arm.
        slices: its buckets of the layer, each ``[from, to)``.
        coverage: how many of the 10,000 buckets under ``entry_salt`` are let in.
        targeting: values of each dimension that take part; a dimension that is not named does not limit.
        arms: in their order.
        overrides: name of the arm of each unit, a keyed hash, that was put there by hand.
    """

    id: int
    layer: LayerName
    method: Literal["ab", "interleave"]
    is_running: bool
    entry_salt: str
    arm_salt: str
    slices: Sequence[Sequence[int]]
    coverage: int
    targeting: Mapping[Dimension, Sequence[str]]
    arms: Sequence[Arm]
    overrides: Mapping[str, str]

    @property
    def name(self) -> str:
        """Its name in answers: ``e3``."""
        return f"e{self.id}"

    def arm(self, name: str | None) -> Arm | None:
        """The arm called ``name``."""
        return next((arm for arm in self.arms if arm.name == name), None)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Trial":
        """A row of ``experiments`` with its overrides."""
        return cls(
            id=kept["id"],
            layer=kept["layer"],
            method=kept["method"],
            is_running=kept["status"] == "running",
            entry_salt=kept["entry_salt"],
            arm_salt=kept["arm_salt"],
            slices=tuple((start, end) for start, end in kept["slices"]),
            coverage=round(kept["coverage"] * BUCKETS),
            targeting={name: tuple(values) for name, values in kept["targeting"].items()},
            arms=tuple(Arm.from_json(arm) for arm in kept["arms"]),
            overrides=kept["overrides"] or {},
        )


@dataclass(frozen=True)
class Plan:
    """Everything that assignment goes by.

    Args:
        layers: the salt of each layer.
        trials: experiments of each layer, oldest first.
        explore_share: buckets of 10,000 whose sessions explore.
        explore_policy: how they do.
        holdout_share: buckets of 10,000 whose units stay out of everything.
        holdout_generation: what these are served by; None: what is live.
    """

    layers: Mapping[str, Salted]
    trials: Mapping[str, Sequence[Trial]] = field(default_factory=dict)
    explore_share: int = 0
    explore_policy: ExplorationPolicy = field(default_factory=ExplorationPolicy)
    holdout_share: int = 0
    holdout_generation: int | None = None

    @property
    def decides_nothing(self) -> bool:
        """Whether everybody gets what is live."""
        return not (self.trials or self.explore_share or self.holdout_share)
