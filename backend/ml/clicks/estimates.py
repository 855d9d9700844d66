"""What every off-policy estimate says: a mean over impressions, its interval, and what both rest on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A value per impression with its interval, and what the interval rests on.

    Args:
        value: the mean.
        low: end of the 95 % interval, with standard errors clustered.
        high: the other end.
        effective: effective sample size of the weights of clicks, (sum w)^2 / sum w^2.
        coverage: share of the policy that the log could have shown, such as of its attention; 1 is all of it.
        heaviest: the greatest weight of a click as a share of all.
        impressions: how many there are.
    """

    value: float
    low: float
    high: float
    effective: float
    coverage: float
    heaviest: float
    impressions: int

    @property
    def deviation(self) -> float:
        """Standard error of the value."""
        return (self.high - self.low) / (2 * Z95)


class Unsupported(ValueError):
    """The log says too little of a policy: it pays attention to what was never shown."""


def check_supported(found: Estimate, *, least_coverage: float = 0.95, least_effective: float = 1000.0) -> None:
    """Refuse to judge by ``found`` where it is not defined or rests on a few clicks.

    Raises:
        Unsupported: with the number found and the one expected.
    """
    if found.coverage < least_coverage:
        raise Unsupported(
            f"found {found.coverage:.3f} of the policy's attention on products the log could have shown: "
            f"expected {least_coverage:g} or more"
        )
    if found.effective < least_effective:
        raise Unsupported(f"found an effective sample of {found.effective:.0f} clicks: expected {least_effective:g}")


def estimate_of(each: Floats, clicks: Floats, coverage: float, clusters: Sequence[Ints]) -> Estimate:
    """The mean of ``each`` (m,), one value an impression.

    Args:
        each: the values.
        clicks: (c,) the weight of each click.
        coverage: as the estimate says it.
        clusters: (m,) each: numbers of what is not independent within; the widest interval of them is told.
    """
    deviation = max(clustered_deviation(each, one) for one in clusters)
    value, total = float(each.mean()), float(clicks.sum())
    return Estimate(
        value=value,
        low=value - Z95 * deviation,
        high=value + Z95 * deviation,
        effective=total**2 / float(np.square(clicks).sum()) if total > 0 else 0.0,
        coverage=coverage,
        heaviest=float(clicks.max()) / total if total > 0 else 1.0,
        impressions=len(each),
    )


def weighted_clicks(impressions: int, impression: Ints, weights: Floats, rewards: Floats) -> NDArray[np.float64]:
    """(impressions,) sum of weight * reward over the rows of each: inverse propensity scoring."""
    return np.bincount(impression, weights * rewards, impressions).astype(np.float64)


def clustered_deviation(each: Floats, cluster: Ints) -> float:
    """Standard error of the mean of ``each`` (m,) where only clusters are independent (Liang and Zeger 1986)."""
    _, number = np.unique(cluster, return_inverse=True)
    sums = np.bincount(number, each - each.mean())
    count = len(sums)
    if count < 2:
        return float("inf")
    return float(np.sqrt(np.square(sums).sum() * count / (count - 1)) / len(each))
