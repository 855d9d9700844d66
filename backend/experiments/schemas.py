"""Experiments as administrators write and read them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.catalog.schemas import Line
from backend.experiments.assignment import INTERLEAVED
from backend.experiments.models import Experiment
from backend.ml.clicks.exploration import NEW_DAYS, ExplorationPolicy

ArmName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", examples=["g8"])]
Share = Annotated[float, Field(ge=0.0001, le=1)]
Value = Annotated[Line, Field(min_length=1, max_length=32)]

EXPERIMENT_EXAMPLE: dict[str, Any] = {
    "id": "e3",
    "name": "g8",
    "layer": "ranker",
    "method": "ab",
    "metric": "satisfied_clicks_per_query",
    "status": "running",
    "traffic": 0.2,
    "coverage": 1.0,
    "slices": [[0, 2000]],
    "targeting": {"device": ["mobile"]},
    "arms": [
        {"name": "control", "weight": 1, "generation": "g7", "refine_policy": None, "exploration": None},
        {"name": "g8", "weight": 1, "generation": "g8", "refine_policy": "auto", "exploration": None},
    ],
    "entry_salt": "5f0c6a1be2d94a17",
    "arm_salt": "c1d0a4e79b3f2856",
    "decision": None,
    "actor": "search team",
    "created_at": "2026-11-21T09:00:00Z",
    "started_at": "2026-11-21T09:05:00Z",
    "ended_at": None,
    "estimate": {"searches": 41000, "days": 9, "baseline": 0.31, "detects": 0.05, "reason": None},
}


class Strict(BaseModel):
    """Refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


class ExplorationIn(Strict):
    """How lists explore; what is left out has its default."""

    pair_share: float = Field(0.5, ge=0, le=1, description="Chance of swapping two neighbours rather than a slot.")
    slot_from: int = Field(6, ge=2, le=1000, description="First rank that a product from behind the page may take.")
    depth: int = Field(50, ge=2, le=1000, description="Candidates that take part.")
    temperature: float = Field(0.05, gt=0, le=100, description="Of the draw from behind the page.")
    slot_chance: float = Field(0.5, ge=0, le=1, description="Chance that a list drawn for the slot is changed.")
    new_item_share: float = Field(0.5, ge=0, le=1, description="Chance that only new products are drawn from.")
    new_item_days: float = Field(NEW_DAYS, ge=0, le=3650, description="Days that a product counts as new.")

    def policy(self) -> ExplorationPolicy:
        """The same as searches take it."""
        return ExplorationPolicy(**self.model_dump())


class ArmIn(Strict):
    """What the units of an arm get; what is left out is what everybody gets."""

    name: ArmName
    weight: float = Field(1.0, gt=0, le=1000, description="Beside the other arms'. Never changed afterwards.")
    generation: Annotated[str, Field(pattern=r"^g[0-9]{1,18}$", examples=["g8"])] | None = None
    refine_policy: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", examples=["auto"])] | None = None
    exploration: ExplorationIn | None = None

    def kept(self) -> dict[str, Any]:
        """As its experiment keeps it."""
        return {
            "name": self.name,
            "weight": self.weight,
            "generation_id": int(self.generation.removeprefix("g")) if self.generation else None,
            "refine_policy": self.refine_policy,
            "exploration": self.exploration.model_dump() if self.exploration else None,
        }


class Targeting(Strict):
    """Who takes part: searches with one of the values of each dimension that is named. `de` means `de-AT`, too."""

    device: list[Value] | None = Field(None, min_length=1, max_length=50)
    surface: list[Value] | None = Field(None, min_length=1, max_length=50)
    query_type: list[Value] | None = Field(None, min_length=1, max_length=50)
    locale: list[Value] | None = Field(None, min_length=1, max_length=50)
    cohort: list[Value] | None = Field(None, min_length=1, max_length=50)


_TAKEN = {"ranker": ("generation", "refine_policy", "exploration"), "explore": ("exploration",), "ui": ()}
"""What the arms of a layer may say."""


class ExperimentIn(Strict):
    """An experiment to be made; it assigns nobody until it is started."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "g8",
                    "layer": "ranker",
                    "method": "ab",
                    "traffic": 0.2,
                    "metric": "satisfied_clicks_per_query",
                    "arms": [{"name": "control", "generation": "g7"}, {"name": "g8", "generation": "g8"}],
                }
            ]
        }
    )

    name: Annotated[Line, Field(min_length=1, max_length=100)]
    layer: Literal["ranker", "explore", "ui"] = "ranker"
    method: Literal["ab", "interleave"] = Field("ab", description="`interleave`: both arms' rankings in every list.")
    metric: str = Field("satisfied_clicks_per_query", pattern=r"^[a-z][a-z0-9_]{0,63}$")
    traffic: Share = Field(1.0, description="Share of the layer that it takes for itself.")
    coverage: Share = Field(1.0, description="Share of that which takes part to begin with.")
    targeting: Targeting = Field(default_factory=Targeting)
    arms: list[ArmIn] = Field(min_length=2, max_length=10)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len({*names, INTERLEAVED}) <= len(names):
            raise ValueError(f"names of arms: found {names}, expected different ones, none of them `{INTERLEAVED}`")
        taken = _TAKEN[self.layer]
        ignored = {name for arm in self.arms for name in _TAKEN["ranker"] if getattr(arm, name) and name not in taken}
        if ignored:
            said = " or ".join(taken) or "nothing but names and weights"
            raise ValueError(f"arms in layer `{self.layer}`: found {sorted(ignored)}, expected {said}")
        if self.method == "interleave" and (
            self.layer != "ranker"
            or len(self.arms) != 2
            or None in (generations := [arm.generation for arm in self.arms])
            or len(set(generations)) != 2
            or self.arms[0].weight != self.arms[1].weight
            or self.arms[0].refine_policy != self.arms[1].refine_policy
            or any(arm.exploration for arm in self.arms)
        ):
            raise ValueError(
                "interleaving: expected two arms of equal weight with two generations, in layer `ranker`, which refine "
                "alike and do not explore"
            )
        return self


class RampIn(Strict):
    """More of either; never less, so that nobody who is in leaves."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"coverage": 0.5}, {"traffic": 0.4}]})

    traffic: Share | None = None
    coverage: Share | None = None


class ConcludeIn(Strict):
    """What was decided."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"winner": "g8", "note": "+3 % satisfied clicks"}]})

    winner: ArmName | None = Field(None, description="The arm that won; null: none did.")
    note: Annotated[Line, Field(max_length=1000)] = ""


class OverrideIn(Strict):
    """A tester to be put into an arm: one of both ids. Only its keyed hash is kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"shopper_id": "a7", "arm": "g8"}]})

    shopper_id: Annotated[Line, Field(min_length=1, max_length=256)] | None = None
    user_id: Annotated[Line, Field(min_length=1, max_length=256)] | None = None
    arm: ArmName


class ArmRead(BaseModel):
    """An arm."""

    name: str
    weight: float
    generation: str | None
    refine_policy: str | None
    exploration: dict[str, Any] | None


class Estimate(BaseModel):
    """How long an experiment takes to see a change of ``detects``; null, with a reason, where nothing is known."""

    searches: int | None = Field(description="Searches of all arms together.")
    days: int | None = Field(description="At the traffic it has, and the searches that the shop has had lately.")
    baseline: float | None = Field(description="Share of searches that led to a click lately.")
    detects: float = Field(description="Relative change of the baseline that is found four times out of five.")
    reason: str | None = Field(description="Why there are no numbers.")


class ExperimentRead(BaseModel):
    """An experiment."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXPERIMENT_EXAMPLE]})

    id: str
    name: str
    layer: str
    method: str
    metric: str
    status: str = Field(description="draft, running, stopped or concluded.")
    traffic: float
    coverage: float
    slices: list[tuple[int, int]] = Field(description="Its buckets of the layer, each `[from, to)`.")
    targeting: dict[str, list[str]]
    arms: list[ArmRead]
    entry_salt: str
    arm_salt: str
    decision: dict[str, Any] | None
    actor: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    estimate: Estimate | None = Field(
        None, description="Of one experiment asked for; null in a list, and once it ended."
    )

    @classmethod
    def of(cls, one: Experiment, estimate: Estimate | None = None) -> Self:
        """The experiment as shown."""
        same = {name: getattr(one, name) for name in cls.model_fields if name not in ("id", "arms", "estimate")}
        return cls(id=f"e{one.id}", arms=[_arm(arm) for arm in one.arms], estimate=estimate, **same)


class ExperimentList(BaseModel):
    """Experiments, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"experiments": [EXPERIMENT_EXAMPLE]}]})

    experiments: list[ExperimentRead]


def _arm(kept: dict[str, Any]) -> ArmRead:
    generation_id = kept["generation_id"]
    return ArmRead.model_validate(kept | {"generation": generation_id and f"g{generation_id}"})
