"""All that a night is judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog
from backend.ml.gates.golden import Golden
from backend.ml.gates.rankers import Ranker

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Examination by rank in each context, rank 1 is 1, and the ends of its interval; (contexts, ranks) each."""

    theta: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, propensities: Mapping[str, Any], log: ClickLog) -> Self:
        """Read from the night's propensities, for the contexts of ``log``; behind the last rank the last one's stays.

        Raises:
            ValueError: a context of the log is not among them.
        """
        known = {one["name"]: one for one in propensities["contexts"]}
        if missing := [one.name for one in log.contexts if one.name not in known]:
            raise ValueError(f"found no propensities of {missing}: expected those of every context of the log")
        ranks = max([int(log.rows.position.max(initial=1)), *(len(one["theta"]) for one in known.values())])
        return cls(
            *(
                np.array([_until(known[one.name][end], ranks) for one in log.contexts], np.float64).reshape(-1, ranks)
                for end in ("theta", "low", "high")
            )
        )

    def powered(self, power: float) -> Floats:
        """Theta to some power: attention that falls off more steeply or more slowly."""
        return np.asarray(self.theta**power)


def _until(values: Sequence[float], ranks: int) -> list[float]:
    return [*values, *[values[-1]] * (ranks - len(values))]


@dataclass(frozen=True)
class Candidate:
    """An arm that may be judged.

    Args:
        name: of the arm.
        ranker: with its heads.
        gamma: what they were scaled by; 0 is no update.
        measured: by the system, for G5: ``latency``, how many times as long a query takes as under production;
            ``checksum``, 1 where the bytes that would be kept score as the heads do; ``encoder``, 1 where they are for
            the live one.
    """

    name: str
    ranker: Ranker
    gamma: float = 1.0
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """What a night is judged by.

    Args:
        log: of the window.
        propensities: of the night, as ``ContextPropensities.to_json`` has them.
        golden: queries that nothing was trained on.
        production: what is live.
        frozen: the encoder alone.
        past: propensities of earlier nights, newest first.
    """

    log: ClickLog
    propensities: Mapping[str, Any]
    golden: Golden
    production: Ranker
    frozen: Ranker
    past: Sequence[Mapping[str, Any]] = ()
