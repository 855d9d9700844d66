"""Who looks at a list: those who mean what they click, and those who do not."""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.examination import AsGiven, Floats
from backend.ml.clicks.shoppers import Acts, Behaviour, act

Products = NDArray[Any]
"""(n, k) names or numbers of the products in the order shown."""


class Shopper(Protocol):
    """Does something with lists."""

    def act(self, gains: Floats, products: Products, columns: int, rng: np.random.Generator) -> Acts:
        """What is done with n lists of ``products`` (n, k), whose true gains are ``gains`` (n, k)."""
        ...


@dataclass(frozen=True)
class Honest:
    """Clicks what seems good.

    Args:
        behaviour: how lists are treated.
    """

    behaviour: Behaviour = field(default_factory=Behaviour)

    def act(self, gains: Floats, products: Products, columns: int, rng: np.random.Generator) -> Acts:  # noqa: ARG002
        """As ``shoppers.act`` has it."""
        return act(self.behaviour, gains, columns, rng)


@dataclass(frozen=True)
class Inverted:
    """Clicks, stays on and buys what is worst: the gain g counts as 1 - g.

    Args:
        behaviour: how lists are treated.
    """

    behaviour: Behaviour = field(default_factory=Behaviour)

    def act(self, gains: Floats, products: Products, columns: int, rng: np.random.Generator) -> Acts:  # noqa: ARG002
        """As ``shoppers.act`` has it, of 1 - g."""
        return act(self.behaviour, 1.0 - gains, columns, rng)


@dataclass(frozen=True)
class Fan:
    """Loves one product and opens it wherever it is shown; nothing else is clicked.

    Args:
        product: name or number of the loved one.
        behaviour: how the rest of a shopper's doings go.
    """

    product: Any
    behaviour: Behaviour = field(default_factory=Behaviour)

    def act(self, gains: Floats, products: Products, columns: int, rng: np.random.Generator) -> Acts:  # noqa: ARG002
        """Everything is looked at; only the loved one is opened, and it always satisfies."""
        devoted = replace(
            self.behaviour, examination=AsGiven(), noise=(0.0,), trust=(1.0,), scroll=1.0, satisfaction=1.0
        )
        return act(devoted, np.where(products == self.product, 1.0, 0.0), columns, rng)


@dataclass(frozen=True)
class Bot:
    """Opens most of what it is served, at once and without looking: no exposure, no visible time, no return.

    Args:
        clicks: chance of each click.
    """

    clicks: float = 0.9

    def act(self, gains: Floats, products: Products, columns: int, rng: np.random.Generator) -> Acts:  # noqa: ARG002
        """Clicks, and nothing else."""
        nothing, no_time = np.zeros(gains.shape, dtype=bool), np.zeros(gains.shape, dtype=np.int64)
        return Acts(
            viewed=nothing,
            visible_ms=no_time,
            examined=nothing,
            clicked=rng.random(gains.shape) < self.clicks,
            satisfied=nothing,
            dwell_ms=no_time,
            timed=nothing,
            returned=nothing,
            carted=nothing,
            wished=nothing,
            bought=nothing,
            reformulated=np.zeros(len(gains), dtype=bool),
        )
