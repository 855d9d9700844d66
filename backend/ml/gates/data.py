"""G0: whether the window's data are such that anything may be learned from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.context_propensities import ContextPropensities
from backend.ml.gates.agreement import Agreement, agreement, indiscriminate, within_caps
from backend.ml.gates.evidence import Evidence
from backend.ml.gates.rankers import Ranker
from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import Check, GateResult, at_least, at_most, told
from backend.ml.statistics.sample_ratio import sample_ratio

MOST_LISTS = 200_000
"""Lists whose agreement with a ranking is computed, evenly over the window."""


def data_gate(evidence: Evidence, thresholds: Thresholds) -> GateResult:
    """G0."""
    log, notes = evidence.log, evidence.log.notes
    satisfied = int(np.count_nonzero(log.rows.satisfied))
    checks = [at_least("satisfied clicks", satisfied, thresholds.satisfied, unless="There are too few clicks yet.")]
    checks += _identified(evidence.propensities, thresholds)
    checks += _split(notes.get("arms", ()), thresholds)
    checks += [
        at_most(f"viewport loss, {device}", float(share), thresholds.viewport_loss, unless=_UNSEEN)
        for device, share in sorted(notes.get("viewport_loss", {}).get("by_device", {}).items())
    ]
    strange = indiscriminate(log)
    clicks = np.bincount(log.list_of_rows(), log.rows.clicked, len(strange))
    share = float(clicks[strange].sum() / max(clicks.sum(), 1))
    checks.append(at_most("clicks on everything", share, thresholds.suspects, unless=_PROGRAMS))
    counted = ~strange & within_caps(log.lists.unit.astype(np.int64))
    some = _some(evidence.log, counted)
    frozen = _agreement(evidence, some, evidence.frozen)
    checks += [
        _agreed(_agreement(evidence, some, evidence.production), thresholds),
        told("agreement with the encoder", frozen.value, low=frozen.low, high=frozen.high),
    ]
    return GateResult("G0", "The data can be learned from", tuple(checks))


def _some(log: ClickLog, counted: NDArray[np.bool_]) -> ClickLog:
    """The lists (m,) that count, or so many of them."""
    chosen = np.flatnonzero(counted)
    if len(chosen) > MOST_LISTS:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MOST_LISTS).astype(np.int64)]
    some = np.zeros(len(counted), np.bool_)
    some[chosen] = True
    return log.only(some)


def _agreement(evidence: Evidence, log: ClickLog, ranker: Ranker) -> Agreement:
    """Of clicks with a ranking."""
    query = log.lists.query[log.list_of_rows()].astype(np.int64)
    scores = ranker.scores(log.asked, query, log.rows.product.astype(np.int64), log.products)
    return agreement(log, evidence.propensities.of_rows(log), scores)


_UNSEEN = "Too many lists do not report what was in view."
_PROGRAMS = "Too many clicks are on lists of which nearly everything was clicked."


def _identified(found: ContextPropensities, thresholds: Thresholds) -> list[Check]:
    """Whether positions can be told from relevance, and how much rests on curves of earlier nights."""
    total = max(sum(one.lists for one in found.contexts), 1)
    assumed = sum(one.lists for one in found.contexts if not one.trusted) / total
    kept = sum(one.lists for one in found.contexts if one.source == "kept") / total
    unless = " ".join(["Positions cannot be told from relevance.", *(f"{one}." for one in found.reasons)])
    return [
        at_most("lists whose attention is only assumed", assumed, thresholds.assumed, unless=unless),
        told("lists with propensities of earlier nights", kept),
    ]


def _split(tests: Sequence[Mapping[str, Any]], thresholds: Thresholds) -> list[Check]:
    """Of each experiment: ``{"experiment": name, "units": {arm: shoppers}, "weights": {arm: planned}}``."""
    checks = []
    for one in tests:
        arms = [arm for arm, weight in one["weights"].items() if weight > 0]
        if len(arms) < 2:
            continue
        found = sample_ratio([one["units"].get(arm, 0) for arm in arms], [one["weights"][arm] for arm in arms])
        unless = f"Arms of {one['experiment']} were not split as planned (sample ratio mismatch)."
        checks.append(at_least(f"p of the split of {one['experiment']}", found.p, thresholds.srm, unless=unless))
    return checks


def _agreed(found: Agreement, thresholds: Thresholds) -> Check:
    passed = bool(found.low > thresholds.agreement)
    why = (
        "Clicks do not agree with what is live within their lists: they may not be shoppers'. Found "
        f"{found.value:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}: expected all of it above "
        f"{thresholds.agreement:g}."
    )
    name, why = "agreement with what is live", "" if passed else why
    return Check(name, found.value, thresholds.agreement, passed, "least", found.low, found.high, why)
