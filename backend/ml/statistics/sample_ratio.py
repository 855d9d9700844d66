"""Whether the arms of an experiment got the units that their weights say; where not, nothing else is believed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

MISMATCH = 0.001
"""A chance below this is called a mismatch (Fabijan et al., KDD 2019): lists are lost, or arms lose units."""


@dataclass(frozen=True)
class SampleRatio:
    """Units found and expected in each arm, and how likely so great a difference is.

    Args:
        found: units of each arm.
        expected: likewise, by the weights.
        p: of χ² = Σ (found - expected)² / expected with one degree of freedom less than there are arms.
    """

    found: tuple[int, ...]
    expected: tuple[float, ...]
    p: float

    @property
    def passed(self) -> bool:
        """Whether the arms may be compared."""
        return self.p >= MISMATCH


def sample_ratio(units: Sequence[int], weights: Sequence[float]) -> SampleRatio:
    """Compare the units of each arm with its share of the weights.

    Args:
        units: different units that were seen in each arm.
        weights: of the arms, each above 0.

    Raises:
        ValueError: there are fewer than two arms, or not as many weights as arms.
    """
    if len(units) < 2 or len(units) != len(weights) or min(weights) <= 0:
        raise ValueError(
            f"units {list(units)} by weights {list(weights)}: expected two or more of each, weights above 0"
        )
    total, whole = sum(units), sum(weights)
    expected = tuple(total * weight / whole for weight in weights)
    if not total:
        return SampleRatio(tuple(units), expected, 1.0)
    chi = sum((found - mean) ** 2 / mean for found, mean in zip(units, expected, strict=True))
    return SampleRatio(tuple(units), expected, chi_square_tail(chi, len(units) - 1))


def chi_square_tail(value: float, df: int) -> float:
    """P(χ² with ``df`` degrees of freedom > ``value``): the upper regularised gamma function Q(df / 2, value / 2)."""
    half = torch.tensor([df / 2, value / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))
