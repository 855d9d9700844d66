"""G1: nothing is forgotten, and nothing is moved further than one night may move it."""

import numpy as np
from numpy.typing import NDArray

from backend.ml.gates.evidence import Candidate, Evidence
from backend.ml.gates.golden import Golden
from backend.ml.gates.held_out import summed
from backend.ml.gates.rankers import Ranker
from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import Check, GateResult, at_least, at_most, told
from backend.ml.heads import drift

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DEPTH = 10
_FEWEST_OF_KIND = 20
"""Golden queries of one kind below which a ratio of theirs says nothing."""


def retention_gate(
    evidence: Evidence,
    candidate: Candidate,
    ours: Ints,
    theirs: Ints,
    weights: Floats,
    rows: Ints,
    thresholds: Thresholds,
) -> GateResult:
    """G1.

    Args:
        evidence: of the night.
        candidate: that is judged.
        ours: (q, k) what it ranks first for the queries that judge.
        theirs: (q, k) what production does.
        weights: (q,) lists of each of these queries.
        rows: (q,) which of the log's queries these are.
        thresholds: what is asked.
    """
    golden = evidence.golden.of("judged")
    checks = _remembered(golden, evidence.frozen, candidate.ranker, thresholds)
    checks.append(at_least("cosine", _cosine(evidence, candidate, rows), thresholds.cosine, unless=_MOVED))
    shared = overlap(ours, theirs, DEPTH)
    checks.append(at_least("overlap", _weighted_median(shared, weights), thresholds.overlap, unless=_REORDERED))
    ratios, ginis = exposures(ours[:, :DEPTH], theirs[:, :DEPTH], weights, len(evidence.log.products))
    checks.append(at_most("exposure", float(np.quantile(ratios, 0.99)), thresholds.exposure, unless=_HUB))
    checks += [told("exposure gini before", ginis[0]), told("exposure gini after", ginis[1])]
    plots = {"overlap": np.histogram(shared, bins=11, range=(-0.05, 1.05), weights=weights)[0].tolist()}
    return GateResult("G1", "Nothing is forgotten", tuple(checks), plots)


_FORGOTTEN = "Golden queries find less than by the frozen encoder."
_MOVED = "Queries are moved too far from where the frozen encoder has them."
_REORDERED = "Too much of the first ten changes in one night."
_HUB = "Some products get too much more attention in one night."


def _remembered(golden: Golden, frozen: Ranker, ranker: Ranker, thresholds: Thresholds) -> list[Check]:
    checks = [at_least("golden queries", len(golden), thresholds.golden, unless="There are too few golden queries.")]
    kept = golden.retention(frozen, ranker)
    for name, found in (("recall@10", kept.recall_at_10), ("mrr", kept.mrr)):
        checks.append(at_least(f"retention of {name}", found, thresholds.retention, unless=_FORGOTTEN))
    for kind in sorted(set(golden.kinds)):
        part = golden.of_kind(kind)
        if len(part) < _FEWEST_OF_KIND:
            continue
        found = part.retention(frozen, ranker).least
        checks.append(at_least(f"retention of {kind}", found, thresholds.retention_kind, unless=_FORGOTTEN))
    return checks


def _cosine(evidence: Evidence, candidate: Candidate, rows: Ints) -> float:
    """Mean cosine of golden queries and those that judge, before and after the head."""
    golden, asked = evidence.golden.of("judged"), evidence.log.asked
    moved, count = 0.0, 0
    sets = ((golden.vectors, np.array(golden.kinds)), (asked.vectors[rows], np.array(asked.kinds)[rows]))
    for vectors, kinds in sets:
        for kind in np.unique(kinds):
            raw = np.asarray(vectors[kinds == kind], dtype=np.float32)
            moved += drift(raw, candidate.ranker.queries(raw, str(kind))) * len(raw)
            count += len(raw)
    return 1.0 - moved / max(count, 1)


def overlap(ours: Ints, theirs: Ints, depth: int) -> Floats:
    """(q,) share of the first ``depth`` of both that is the same."""
    same = (ours[:, :depth, None] == theirs[:, None, :depth]).any(axis=2)
    return np.asarray(same.mean(axis=1), dtype=np.float64)


def exposures(ours: Ints, theirs: Ints, weights: Floats, products: int) -> tuple[Floats, tuple[float, float]]:
    """How many times as much attention each product gets, and how unequal attention is, before and after.

    Attention is 1 / log2(rank + 1) a list; what a product that is shown has on average is added to both sides, so that
    one that was never shown before counts as taking over only where it takes much.

    Returns:
        Ratios of the products that either shows; Gini coefficients of attention over all ``products``.
    """
    seen = 1.0 / np.log2(np.arange(2, ours.shape[1] + 2))
    after, before = (summed(first.ravel(), (weights[:, None] * seen).ravel(), products) for first in (ours, theirs))
    either = (after > 0) | (before > 0)
    if not either.any():
        return np.ones(1), (0.0, 0.0)
    usual = float(before.sum() / np.count_nonzero(either))
    return (after[either] + usual) / (before[either] + usual), (gini(before), gini(after))


def gini(amounts: Floats) -> float:
    """Gini coefficient of ``amounts`` (n,): 0 where all have as much, towards 1 where one has all."""
    ordered = np.sort(amounts)
    total = float(ordered.sum())
    if not total:
        return 0.0
    ranks = np.arange(1, len(ordered) + 1)
    return float((2 * ranks - len(ordered) - 1) @ ordered / (len(ordered) * total))


def _weighted_median(values: Floats, weights: Floats) -> float:
    if not len(values):
        return float("nan")
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])
