"""What experiments came to, as administrators read it and as it is kept."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RESULTS_EXAMPLE: dict[str, Any] = {
    "experiment": "e3",
    "name": "g8",
    "method": "ab",
    "metric": "satisfied_clicks_per_query",
    "status": "running",
    "purpose": "",
    "since": "2026-11-07T09:05:00Z",
    "until": "2026-11-21T09:05:00Z",
    "days": 14.0,
    "final": False,
    "arms": [
        {"name": "control", "generation": "g7", "units": 10412, "queries": 31877, "expected_share": 0.5},
        {"name": "g8", "generation": "g8", "units": 10388, "queries": 31902, "expected_share": 0.5},
    ],
    "left_out": {"bots": 12, "testers": 1, "crossed": 0},
    "sample_ratio": {
        "found": [10412, 10388],
        "expected": [10400.0, 10400.0],
        "p": 0.87,
        "passed": True,
        "slices": [{"dimension": "device", "value": "mobile", "p": 0.41, "passed": True}],
    },
    "metrics": [
        {
            "name": "satisfied_clicks_per_query",
            "title": "Satisfied clicks per query",
            "unit": "per query",
            "better": "higher",
            "role": "primary",
            "arms": [{"arm": "control", "value": 0.31}, {"arm": "g8", "value": 0.322}],
            "changes": [
                {
                    "arm": "g8",
                    "against": "control",
                    "relative": 0.039,
                    "low": 0.012,
                    "high": 0.066,
                    "any_time_low": -0.011,
                    "any_time_high": 0.089,
                    "z": 2.83,
                    "p": 0.0047,
                    "p_adjusted": 0.0047,
                    "variance_cut": 0.31,
                    "harm": None,
                }
            ],
        }
    ],
    "slices": [],
    "looks": {
        "planned": 4,
        "every_days": 7.0,
        "boundaries": [4.048, 2.862, 2.337, 2.024],
        "factor": 1.0,
        "z": [{"g8": 1.71}, {"g8": 2.83}],
    },
    "interleaving": None,
    "verdict": {
        "state": "undecided",
        "arm": None,
        "sentence": "Not decided: look 3 of 4, one every 7 days, asks for |z| above 2.34.",
    },
    "at": "2026-11-21T09:05:00Z",
    "took_s": 0.4,
}


class ArmUnits(BaseModel):
    """Who was in an arm."""

    name: str
    generation: str | None
    units: int = Field(description="Shoppers (or sessions) who searched, without bots, testers and those in two arms.")
    queries: int
    expected_share: float = Field(description="Of units, by the weights.")


class SliceRatio(BaseModel):
    """The sample ratio of a part of the units."""

    dimension: str
    value: str
    p: float
    passed: bool


class SampleRatioRead(BaseModel):
    """Whether the arms got the units that their weights say; where not, nothing else is to be believed."""

    found: list[int]
    expected: list[float]
    p: float
    passed: bool
    slices: list[SliceRatio]


class Harm(BaseModel):
    """A guardrail: how much worse an arm may be, and whether it is."""

    margin: float = Field(description="Relative change for the worse that is put up with.")
    bound: float | None = Field(
        description="What the arm is worse by at least beyond that, in the metric's unit; null: too few units."
    )
    breached: bool


class MetricChange(BaseModel):
    """How an arm differs from the first one. Intervals are of 95 %; null where nothing can be said."""

    arm: str
    against: str
    relative: float | None
    low: float | None = Field(description="Of `relative`, for a look that was planned.")
    high: float | None
    any_time_low: float | None = Field(description="Of `relative`, however often one looks.")
    any_time_high: float | None
    z: float | None
    p: float | None
    p_adjusted: float | None = Field(description="By Holm, over the secondary metrics and arms; the primary alone.")
    variance_cut: float = Field(description="Share of the variance that what the units did before takes away (CUPED).")
    harm: Harm | None = Field(description="Of guardrails.")


class ArmValue(BaseModel):
    """A metric in an arm."""

    arm: str
    value: float | None


class MetricRead(BaseModel):
    """A metric in all arms."""

    name: str
    title: str
    unit: Literal["per query", "per shopper", "share", "s", "ms"]
    better: Literal["higher", "lower"]
    role: Literal["primary", "secondary", "guardrail"]
    arms: list[ArmValue]
    changes: list[MetricChange]


class SliceChange(BaseModel):
    """The primary metric in a part of the units: to look into, not to decide by."""

    dimension: str
    value: str
    arm: str
    units: int
    relative: float | None
    low: float | None
    high: float | None
    q: float | None = Field(description="p adjusted by Benjamini and Hochberg over all slices; look below 0.1.")


class LooksRead(BaseModel):
    """Looks at the primary metric that were planned (O'Brien and Fleming)."""

    planned: int
    every_days: float
    boundaries: list[float] = Field(description="What |z| must exceed at each look.")
    factor: float = Field(1.0, description="Times which they are taken, because there are several arms (Bonferroni).")
    z: list[dict[str, float | None]] = Field(description="Of each arm at each look that was taken.")


class PreferenceRead(BaseModel):
    """What interleaved lists say: -0.5 all take from `a`, 0.5 all from `b`. Intervals are of `level`."""

    a: str
    b: str
    lists: int = Field(description="Drafted lists.")
    units: int = Field(description="Shoppers who took something from either.")
    decided: int = Field(description="Those of them with a preference.")
    needed: int
    wins_a: int
    wins_b: int
    ties: int
    value: float | None
    low: float | None
    high: float | None
    any_time_low: float | None
    any_time_high: float | None
    p: float
    level: float


class Verdict(BaseModel):
    """What follows, in a sentence."""

    state: Literal["blocked", "undecided", "better", "worse", "no_difference", "harm"]
    arm: str | None
    sentence: str


class ExperimentResults(BaseModel):
    """What an experiment came to so far."""

    model_config = ConfigDict(json_schema_extra={"examples": [RESULTS_EXAMPLE]})

    experiment: str
    name: str
    method: Literal["ab", "interleave"]
    metric: str
    status: str
    purpose: str = Field(description="`screen` or `guard` of one that a night began; empty for others.")
    since: datetime
    until: datetime
    days: float
    final: bool = Field(description="Whether it ended so long ago that nothing more comes.")
    arms: list[ArmUnits]
    left_out: dict[str, int] = Field(description="Units that are not compared: bots, testers, in two arms.")
    sample_ratio: SampleRatioRead | None = Field(description="Null where lists are interleaved.")
    metrics: list[MetricRead]
    slices: list[SliceChange]
    looks: LooksRead | None
    interleaving: PreferenceRead | None
    verdict: Verdict
    at: datetime
    took_s: float
