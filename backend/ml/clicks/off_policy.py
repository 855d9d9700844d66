"""What a ranking policy would have earned, from lists that another one showed with known odds.

A list of k places shows product d_k at place k with chance p_show(k) under the policy that logged it, over its coins
and given its arm. Under the item-position model (a click depends on the product and its place alone), the click rate of
another policy π that shows the same product at the same place with chance π(k) is estimated by

    V(π) = mean over lists of  Σ_k  π(k) / p_show(k) · c_k

(inverse propensity scoring; Li et al., WWW 2018, arXiv 1804.10488, "item-position model"). It is unbiased where
p_show > 0 wherever π > 0. The logging policy's value on itself has π = p_show: its weights are 1, and its value is the
observed rate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class PolicyValue:
    """A value a list, with what one needs to know before believing it.

    Args:
        value: mean reward of a list.
        low: lower end of the 95 % interval, over clusters.
        high: upper end.
        lists: how many lists it is of.
        effective: effective number of places, (Σw)² / Σw² over all weights above 0.
        greatest_share: of the greatest weight in the sum of all.
        covered: mean weight a place; it is 1 in expectation where the log supports the policy.
    """

    value: float
    low: float
    high: float
    lists: int
    effective: float
    greatest_share: float
    covered: float


def ips_value(rewards: Floats, logged: Floats, target: Floats, clusters: Ints | None = None) -> PolicyValue:
    """V(π) of a policy from a log of another one.

    Args:
        rewards: (n, k) reward of each place, such as its click; 0 where a list is shorter.
        logged: (n, k) p_show; NaN where a list is shorter than k. Lists whose odds are not known stay out.
        target: (n, k) chance that π shows the same product at the same place; NaN likewise.
        clusters: (n,) whose list it is; lists of one cluster are not independent. None: each its own.

    Raises:
        ValueError: the shapes differ, there is no list, or an odd of what was shown is not in (0, 1].
    """
    if not (rewards.shape == logged.shape == target.shape) or rewards.ndim != 2 or not rewards.size:
        shapes = f"{rewards.shape}, {logged.shape} and {target.shape}"
        raise ValueError(f"shapes {shapes}: expected three of (n, k) with n and k above 0")
    shown = ~np.isnan(logged)
    odds = logged[shown]
    if odds.size and not (odds.min() > 0 and odds.max() <= 1 + 1e-9):
        raise ValueError(f"p_show between {odds.min()} and {odds.max()}: expected above 0 and at most 1")
    weights = np.where(shown, np.nan_to_num(target) / np.where(shown, logged, 1.0), 0.0)
    earned = np.sum(weights * rewards, axis=1)
    error = _standard_error(earned, np.arange(len(earned)) if clusters is None else clusters)
    value, total = float(earned.mean()), float(weights.sum())
    squares = float(np.square(weights).sum())
    return PolicyValue(
        value=value,
        low=value - _Z95 * error,
        high=value + _Z95 * error,
        lists=len(earned),
        effective=total**2 / squares if squares else 0.0,
        greatest_share=float(weights.max()) / total if total else 0.0,
        covered=total / max(int(shown.sum()), 1),
    )


def _standard_error(values: Floats, clusters: Ints) -> float:
    """Of the mean of ``values`` (n,), which come in clusters: sums of residuals by cluster (Liang and Zeger 1986)."""
    _, own = np.unique(clusters, return_inverse=True)
    residuals = np.bincount(own, weights=values - values.mean())
    count = len(residuals)
    if count < 2:
        return float("inf")
    return float(np.sqrt(count / (count - 1) * np.square(residuals).sum()) / len(values))
