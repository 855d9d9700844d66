"""G4: no kind of shopper or query loses.

Slices with enough satisfied clicks are tested, each by the paired doubly robust gain on its own lists; the chance of a
false alarm is kept over all of them (Holm). Thinner ones are told, and vouched for by G1 alone.
"""

from math import erfc, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.context_propensities import ContextPropensities
from backend.ml.clicks.estimates import Estimate
from backend.ml.gates.gain import Compared
from backend.ml.gates.held_out import summed
from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import Check, GateResult, at_least
from backend.ml.statistics.multiplicity import holm

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

SURE = 0.025
"""Chance, adjusted, below which a slice loses: its two-sided 95 % interval lies below 0."""

_LEAST_NEW = 0.9
"""Share of the attention that new products have under production which they must keep."""


def slices_of(log: ClickLog, lists: Bools) -> dict[str, Bools]:
    """Lists (m,) of each slice among ``lists`` (m,), by name; what all of them are in is no slice.

    Head queries are the most frequent ones that make up half of the lists.
    """
    kinds = np.array(log.asked.kinds, dtype=object)[log.lists.query]
    devices = np.array([one.device for one in log.contexts], dtype=object)[log.lists.context]
    cohorts = np.array(log.cohorts, dtype=object)[log.lists.cohort]
    counts = np.bincount(log.lists.query[lists], minlength=len(log.asked.keys))
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    head = np.zeros(len(counts), np.bool_)
    head[order[before < counts.sum() / 2]] = True
    frequency = np.where(head[log.lists.query], "head queries", "tail queries").astype(object)
    found = {}
    for what, values in (("query", kinds), ("device", devices), ("cohort", cohorts), ("", frequency)):
        distinct = sorted(set(values[lists]))
        for value in distinct if len(distinct) > 1 else ():
            name = f"{what}: {value or 'none'}" if what else str(value)
            found[name] = lists & (values == value)
    return found


def slices_gate(
    compared: Compared, propensities: ContextPropensities, thresholds: Thresholds, fresh: Bools | None = None
) -> GateResult:
    """G4.

    Args:
        compared: both rankings on the lists that judge.
        propensities: of the night.
        thresholds: what is asked.
        fresh: (p,) products that are new to the catalogue; None: not known.
    """
    log = compared.log
    satisfied = summed(log.list_of_rows(), log.rows.satisfied, len(log.lists.start))
    tested, thin = {}, {}
    for name, lists in slices_of(log, compared.lists).items():
        clicks = int(satisfied[lists].sum())
        if clicks < thresholds.slice:
            thin[name] = clicks
        else:
            tested[name] = compared.among(lists).at(propensities).gain
    chances = dict(zip(tested, holm([_chance_of_no_loss(one) for one in tested.values()]), strict=True))
    checks = [_tested(name, one, chances[name]) for name, one in tested.items()]
    checks += [Check(f"{name}: too thin to test, satisfied clicks", clicks) for name, clicks in thin.items()]
    if fresh is not None and fresh.any():
        checks.append(_new_products(compared, fresh))
    if not any(one.passed is not None for one in checks):
        checks.append(Check("slices tested", 0, passed=True))
    return GateResult("G4", "No slice loses", tuple(checks), {"forest": _forest(tested)})


def _chance_of_no_loss(one: Estimate) -> float:
    """One-sided p of a gain that is not below 0."""
    if one.deviation == 0:
        return 1.0
    return 0.5 * erfc(-one.value / one.deviation / sqrt(2)) if np.isfinite(one.deviation) else 1.0


def _tested(name: str, one: Estimate, chance: float) -> Check:
    passed = chance >= SURE
    why = f"It loses for {name}: {one.value:+.4f}, 95 % interval {one.low:+.4f} to {one.high:+.4f}."
    return Check(name, one.value, 0.0, passed, "least", one.low, one.high, "" if passed else why)


def _new_products(compared: Compared, fresh: Bools) -> Check:
    """Attention to new products, against production's."""
    asked = np.bincount(compared.log.lists.query[compared.lists], minlength=len(compared.ours)).astype(np.float64)
    given = []
    for top in (compared.ours, compared.theirs):
        discount = 1.0 / np.log2(np.arange(2, top.shape[1] + 2))
        given.append(float(asked @ ((top >= 0) & fresh[np.maximum(top, 0)]) @ discount))
    share = given[0] / given[1] if given[1] else 1.0
    unless = "New products lose attention."
    return at_least("attention to new products", share, _LEAST_NEW, unless=unless)


def _forest(tested: dict[str, Estimate]) -> list[dict[str, Any]]:
    return [{"name": name, "change": one.value, "low": one.low, "high": one.high} for name, one in tested.items()]
