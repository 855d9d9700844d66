"""G5: what would serve is what was judged, and serves as fast."""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from backend.ml.gates.evidence import Candidate, Evidence
from backend.ml.gates.rankers import Ranker
from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import Check, GateResult, at_least, at_most

Ints = NDArray[np.int64]

_QUERIES = 256
_DECIMALS = 4
"""Of scores in a checksum: machines add up a dot product in orders of their own."""


def system_gate(evidence: Evidence, candidate: Candidate, rows: Ints, thresholds: Thresholds) -> GateResult:
    """G5.

    Args:
        evidence: of the night.
        candidate: that is judged.
        rows: queries of the log that it is tried with.
        thresholds: what is asked.
    """
    checks = [_whole(evidence, candidate.ranker, rows)]
    sentences = {
        "encoder": "The heads are not for the encoder that is live.",
        "checksum": "The heads as they would be kept do not score as those that were judged.",
    }
    for name, unless in sentences.items():
        if name in candidate.measured:
            checks.append(at_least(name, candidate.measured[name], 1.0, unless=unless))
    if "latency" in candidate.measured:
        most = 1.0 + thresholds.latency
        checks.append(at_most("latency", candidate.measured["latency"], most, unless="A query takes too long."))
    return GateResult("G5", "It serves as it was judged", tuple(checks))


def _whole(evidence: Evidence, ranker: Ranker, rows: Ints) -> Check:
    """Share of queries whose vector is finite and of length 1 behind the heads."""
    asked = evidence.log.asked
    kinds = np.array(asked.kinds, dtype=object)[rows]
    sound = 0
    for kind in set(kinds):
        adapted = ranker.queries(np.asarray(asked.vectors[rows[kinds == kind]], np.float32), kind)
        lengths = np.linalg.norm(adapted.astype(np.float64), axis=1)
        sound += int(np.count_nonzero(np.abs(lengths - 1.0) < 1e-3))  # not a number is not near
    share = sound / max(len(rows), 1)
    return at_least("sound vectors", share, 1.0, unless="Some queries have no direction behind the heads.")


def score_checksum(ranker: Ranker, evidence: Evidence, rows: Ints) -> str:
    """Hash of which products ``ranker`` puts first, and of their scores, for up to 256 of the queries ``rows``."""
    log = evidence.log
    some = rows[:_QUERIES]
    first = ranker.first(log.asked, some, log.products, 10)
    scores = ranker.scores(log.asked, np.repeat(some, first.shape[1]), first.ravel(), log.products)
    whole = sha256(np.ascontiguousarray(first).tobytes())
    whole.update((np.round(scores, _DECIMALS) + 0.0).tobytes())
    return whole.hexdigest()[:16]
