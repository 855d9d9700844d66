"""Simulated shoppers: what they see, click, stay on, come back from, put in the cart and buy. Truth is planted.

The grade of a product for a query is y in 0..Y; its gain is g = (2^y - 1) / (2^Y - 1), 0 to 1. What is examined at
position k is clicked with chance

    P(C = 1 | E = 1, k) = ε⁺_k g + ε⁻_k (1 - g)

With ε⁺ = 1 and one ε⁻ this is graded noise, ε⁻ + (1 - ε⁻) g (Ai et al. 2018, arXiv 1804.05938, section 5); with both by
position it is trust bias (Agarwal et al., WWW 2019), for which P(C = 1 | k) = α_k g + β_k, α = θ (ε⁺ - ε⁻), β = θ ε⁻
(Vardasbi et al. 2020, arXiv 2008.10242). After a click at k the scan goes on with chance λ_k: 1 is the position-based
model, 0 the cascade (Craswell et al. 2008), between them the dependent click model (Guo et al., WSDM 2009).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.examination import Bools, ByPosition, Examination, Floats, draw_looks

Milliseconds = NDArray[np.int64]

BEST_GRADE = 4
"""Y: grades are 0 to 4."""

LEAST_VISIBLE_MS = 500
"""What counts as seen is in view for at least so long, as the browser's collector has it."""

_SPREAD = 0.5
"""Standard deviation of the logarithm of a time."""


def gain(grades: NDArray[np.integer] | Floats, best: int = BEST_GRADE) -> Floats:
    """Gain g = (2^y - 1) / (2^best - 1), 0 to 1, of grades y in any shape."""
    return np.asarray((2.0 ** np.asarray(grades, dtype=np.float64) - 1.0) / (2.0**best - 1.0))


@dataclass(frozen=True)
class Behaviour:
    """How one kind of shopper treats a list.

    Args:
        examination: where they look, of what is in view.
        trust: ε⁺ by position; positions behind the last have the last one's.
        noise: ε⁻ by position, likewise.
        continuation: λ by position, likewise: chance that the scan goes on after a click.
        rows_in_view: rows that everybody sees.
        scroll: chance of scrolling on to each further row; what is behind is neither seen nor clicked.
        satisfaction: chance that a click on a product of the best grade satisfies; times g for others.
        dwell_s: median seconds on a product that satisfies.
        bounce_s: median seconds on one that does not.
        censored: chance that how long a click lasted never gets known.
        returns: chance of coming back from a product that satisfied; from another one they always come back.
        cart: chance that a satisfying product is put into the cart.
        wish: chance that one that is not goes on the wish list.
        buy: chance that what is in the cart is bought.
        reformulate: chance of another search where nothing satisfied.
    """

    examination: Examination = field(default_factory=ByPosition)
    trust: tuple[float, ...] = (1.0,)
    noise: tuple[float, ...] = (0.1,)
    continuation: tuple[float, ...] = (1.0,)
    rows_in_view: int = 3
    scroll: float = 0.8
    satisfaction: float = 0.9
    dwell_s: float = 45.0
    bounce_s: float = 3.0
    censored: float = 0.1
    returns: float = 0.5
    cart: float = 0.3
    wish: float = 0.1
    buy: float = 0.5
    reformulate: float = 0.4

    def in_view(self, length: int, columns: int) -> Floats:
        """(length,) P(V = 1): chance that a place is scrolled to."""
        rows = np.arange(length) // columns
        return np.asarray(self.scroll ** np.maximum(rows - self.rows_in_view + 1, 0))

    def click_chance(self, gains: Floats) -> Floats:
        """(n, k) P(C = 1 | E = 1) of ``gains`` (n, k) in the order shown."""
        plus, minus = at(self.trust, gains.shape[1]), at(self.noise, gains.shape[1])
        return np.asarray(plus * gains + minus * (1.0 - gains))


@dataclass(frozen=True)
class Acts:
    """What was done with n lists of k places; (n, k) unless another shape is named.

    Args:
        viewed: it was in view (the browser can tell).
        visible_ms: for how long, 0 where it was not.
        examined: it was looked at (nobody can tell).
        clicked: it was opened.
        satisfied: it was what was wanted (nobody can tell).
        dwell_ms: how long the product was open; 0 where it was not.
        timed: the time became known.
        returned: they came back from it.
        carted: it was put into the cart.
        wished: it was put on the wish list.
        bought: it was bought.
        reformulated: (n,) they searched again, because nothing satisfied.
    """

    viewed: Bools
    visible_ms: Milliseconds
    examined: Bools
    clicked: Bools
    satisfied: Bools
    dwell_ms: Milliseconds
    timed: Bools
    returned: Bools
    carted: Bools
    wished: Bools
    bought: Bools
    reformulated: Bools


def act(behaviour: Behaviour, gains: Floats, columns: int, rng: np.random.Generator) -> Acts:
    """What shoppers of ``behaviour`` do with n lists shown in ``columns`` columns.

    Args:
        behaviour: how they treat a list.
        gains: (n, k) of the products in the order shown.
        columns: products in a row; 1 is a list.
        rng: draws everything.

    Raises:
        ValueError: ``gains`` are not (n, k) in [0, 1], or there is no column.
    """
    if gains.ndim != 2 or columns < 1 or (gains.size and not (gains.min() >= 0 and gains.max() <= 1)):
        raise ValueError(f"gains of shape {gains.shape} in {columns} columns: expected (n, k) in [0, 1], 1 or more")
    viewed = _draw_view(behaviour, gains.shape, columns, rng)
    examined, clicked = _scan(behaviour, gains, viewed, columns, rng)
    visible = np.where(examined, _times(2.5, gains.shape, rng), _times(1.2, gains.shape, rng)) + LEAST_VISIBLE_MS
    satisfied = clicked & (rng.random(gains.shape) < behaviour.satisfaction * gains)
    stay, leave = _times(behaviour.dwell_s, gains.shape, rng), _times(behaviour.bounce_s, gains.shape, rng)
    carted = satisfied & (rng.random(gains.shape) < behaviour.cart)
    return Acts(
        viewed=viewed,
        visible_ms=np.where(viewed, visible, 0),
        examined=examined,
        clicked=clicked,
        satisfied=satisfied,
        dwell_ms=np.where(clicked, np.where(satisfied, stay, leave), 0),
        timed=clicked & (rng.random(gains.shape) >= behaviour.censored),
        returned=clicked & (~satisfied | (rng.random(gains.shape) < behaviour.returns)),
        carted=carted,
        wished=satisfied & ~carted & (rng.random(gains.shape) < behaviour.wish),
        bought=carted & (rng.random(gains.shape) < behaviour.buy),
        reformulated=~satisfied.any(axis=1) & (rng.random(len(gains)) < behaviour.reformulate),
    )


def click_probability(behaviour: Behaviour, gains: Floats, columns: int) -> Floats:
    """(n, k) P(C = 1 | in view) in closed form for ``gains`` (n, k), everything in view.

    With a_k the chance of a click where row and scan reach k, and s the chance that its row is skipped, the scan is
    still on behind a row with chance s + (1 - s) Π (1 - a_k (1 - λ_k)) over its places.
    """
    length = gains.shape[1]
    going_on = at(behaviour.continuation, length)
    a = behaviour.examination.looked(length, columns) * behaviour.click_chance(gains)
    skipped = behaviour.examination.skipped(length, columns)
    found = np.zeros_like(gains)
    scanning = np.ones(len(gains))
    for begin in range(0, length, columns):
        row = slice(begin, min(begin + columns, length))
        on = np.cumprod(1.0 - a[:, row] * (1.0 - going_on[row]), axis=1)
        before = np.concatenate([np.ones((len(gains), 1)), on[:, :-1]], axis=1)
        found[:, row] = scanning[:, None] * (1.0 - skipped[row]) * before * a[:, row]
        scanning = scanning * (skipped[begin] + (1.0 - skipped[begin]) * on[:, -1])
    return found


def at(values: tuple[float, ...], length: int) -> Floats:
    """(length,) of values by position, the last of which holds for all further ones."""
    return np.asarray(np.asarray(values)[np.minimum(np.arange(length), len(values) - 1)])


def _draw_view(behaviour: Behaviour, shape: tuple[int, ...], columns: int, rng: np.random.Generator) -> Bools:
    """(n, k) what is in view: scrolling stops once, so that what is above the end was seen."""
    chance = behaviour.in_view(shape[1], columns)
    return np.asarray(rng.random((shape[0], 1)) < chance)


def _scan(
    behaviour: Behaviour, gains: Floats, viewed: Bools, columns: int, rng: np.random.Generator
) -> tuple[Bools, Bools]:
    """(n, k) what is examined and what is clicked, from the first place on."""
    examined = viewed & draw_looks(behaviour.examination, gains.shape, columns, rng)
    tempted = rng.random(gains.shape) < behaviour.click_chance(gains)
    ends = rng.random(gains.shape) >= at(behaviour.continuation, gains.shape[1])
    stopped = examined & tempted & ends
    before = np.zeros_like(stopped)
    before[:, 1:] = np.logical_or.accumulate(stopped, axis=1)[:, :-1]
    return examined & ~before, examined & tempted & ~before


def _times(median_s: float, shape: tuple[int, ...], rng: np.random.Generator) -> Milliseconds:
    """Milliseconds around a median, as times on pages are spread (log-normal)."""
    return np.asarray(1000.0 * median_s * np.exp(_SPREAD * rng.standard_normal(shape)), dtype=np.int64)
