"""Where shoppers look: the chance that a place of a list or grid is examined, and draws of it.

Positions are 1-based in names and formulas and 0-based as indices; position k of a grid of m columns lies in row
(k - 1) // m and column (k - 1) % m. A list is a grid of one column.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Examination(Protocol):
    """P(examined | place) = looked * (1 - skipped): a row is skipped whole, or each of its places is looked at."""

    def looked(self, length: int, columns: int) -> Floats:
        """(length,) chance that a place is examined where its row is not skipped."""
        ...

    def skipped(self, length: int, columns: int) -> Floats:
        """(length,) chance that the row of a place is skipped; the same for all places of a row."""
        ...


@dataclass(frozen=True)
class ByPosition:
    """Position-based: θ_k = (1/k)^η (Craswell et al. 2008; Joachims et al. 2017, arXiv 1608.04468, section 6).

    Args:
        eta: how fast attention decays; 0 looks at everything.
    """

    eta: float = 1.0

    def looked(self, length: int, columns: int) -> Floats:  # noqa: ARG002 a list has rows of one
        """(length,) θ."""
        return np.asarray(np.arange(1, length + 1, dtype=np.float64) ** -self.eta)

    def skipped(self, length: int, columns: int) -> Floats:  # noqa: ARG002
        """(length,) zeros."""
        return np.zeros(length)


@dataclass(frozen=True)
class ByRow:
    """Grid-based: log θ = -η log(1 + row) + b_column, and rows that are skipped whole (Guo et al., KDD 2020).

    Attention decays more slowly over the rows of a product grid than over the places of a list.

    Args:
        eta: how fast attention decays over rows (row counts from 0).
        offsets: b of each column, at most 0; columns behind the last have the last one's.
        skip: chance that a row is skipped; the first row never is.
    """

    eta: float = 0.6
    offsets: tuple[float, ...] = (0.0,)
    skip: float = 0.0

    def looked(self, length: int, columns: int) -> Floats:
        """(length,) exp(-η log(1 + row) + b_column)."""
        rows, places = np.divmod(np.arange(length), columns)
        offsets = np.asarray(self.offsets)[np.minimum(places, len(self.offsets) - 1)]
        return np.asarray(np.exp(-self.eta * np.log1p(rows) + offsets))

    def skipped(self, length: int, columns: int) -> Floats:
        """(length,) ``skip`` behind the first row."""
        return np.where(np.arange(length) < columns, 0.0, self.skip)


@dataclass(frozen=True)
class AsGiven:
    """Any curve, monotone or not: on phones the second place can be looked at more than the first (Lagun 2014).

    Args:
        theta: of each position; positions behind the last have the last one's.
    """

    theta: tuple[float, ...] = (1.0,)

    def looked(self, length: int, columns: int) -> Floats:  # noqa: ARG002
        """(length,) θ."""
        return np.asarray(np.asarray(self.theta)[np.minimum(np.arange(length), len(self.theta) - 1)])

    def skipped(self, length: int, columns: int) -> Floats:  # noqa: ARG002
        """(length,) zeros."""
        return np.zeros(length)


def examined_share(examination: Examination, length: int, columns: int) -> Floats:
    """(length,) θ: the chance that a place which is in view is examined, were the scan never broken off."""
    return np.asarray(examination.looked(length, columns) * (1.0 - examination.skipped(length, columns)))


def draw_looks(examination: Examination, shape: tuple[int, ...], columns: int, rng: np.random.Generator) -> Bools:
    """Draws of ``shape`` (n, k): whether each place is looked at; the places of a skipped row are missed together."""
    lists, length = shape
    rows = -(-length // columns)
    by_row = np.arange(length) // columns
    kept = rng.random((lists, rows))[:, by_row] >= examination.skipped(length, columns)
    return np.asarray(kept & (rng.random((lists, length)) < examination.looked(length, columns)))
