"""What the gates wait for, from counts: how much there is, how much is asked for, and how much comes in a day."""

from dataclasses import dataclass, field

from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import Wait


@dataclass(frozen=True)
class Counts:
    """What a window holds.

    Args:
        days: that it spans; 0: nothing was served.
        satisfied: satisfied clicks.
        judging: those of queries that judge.
        golden: golden queries that judge.
        harvested: clicks on products that stood at several places.
        slices: satisfied clicks of each slice.
    """

    days: float
    satisfied: int
    judging: int
    golden: int
    harvested: float | None = None
    slices: dict[str, int] = field(default_factory=dict)


def waits_of(counts: Counts, thresholds: Thresholds, *, least_harvested: float = 2_000.0) -> tuple[Wait, ...]:
    """What is not there yet, gate by gate; nothing where every gate has what it needs to decide.

    Args:
        counts: what there is.
        thresholds: what the gates ask for.
        least_harvested: clicks from which on propensities leave the prior.
    """

    def wait(gate: str, what: str, found: float, needed: float, *, comes: bool = True) -> Wait | None:
        per_day = found / counts.days if comes and counts.days > 0 else None
        return Wait(gate, what, found, needed, per_day) if found < needed else None

    all_of_them = [wait("G0", "satisfied clicks", counts.satisfied, thresholds.satisfied)]
    if counts.harvested is not None:
        what = "clicks on products that stood at several places"
        all_of_them.append(wait("G0", what, counts.harvested, least_harvested))
    all_of_them += [
        wait("G1", "golden captions", counts.golden, thresholds.golden, comes=False),
        wait("G3", "satisfied clicks for queries that judge", counts.judging, thresholds.effective),
        *(wait("G4", f"satisfied clicks, {name}", found, thresholds.slice) for name, found in counts.slices.items()),
    ]
    return tuple(one for one in all_of_them if one is not None)
