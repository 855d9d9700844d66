"""All that a night is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.context_propensities import ContextPropensities
from backend.ml.gates.golden import Golden
from backend.ml.gates.rankers import Ranker


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
        propensities: of the night.
        golden: queries that nothing was trained on.
        production: what is live.
        frozen: the encoder alone.
        fresh: (p,) products that are new to the catalogue; None: not known.
        generation: number of the live one in the log, whose served scores tell what words added; None: not known.
    """

    log: ClickLog
    propensities: ContextPropensities
    golden: Golden
    production: Ranker
    frozen: Ranker
    fresh: NDArray[np.bool_] | None = None
    generation: int | None = None
