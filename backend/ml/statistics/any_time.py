"""Intervals that hold at every moment at once, however often one looks: asymptotic confidence sequences.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", arXiv 2103.06476. A mean of n observations with standard deviation σ is off, at any n whatever, by more than
one of these with a chance of at most α, asymptotically:

    σ √( 2 (nρ² + 1) / (nρ)² · ln(√(nρ² + 1) / α) )             (both sides)
    σ √( 2 (nρ² + 1) / (nρ)² · ln(1 + √(nρ² + 1) / 2α) )        (one side)

for any ρ > 0. It is narrowest around n* = ``tuned_for`` with ρ² = (-2 ln α + ln(1 - 2 ln α)) / n*; one side takes 2α
there.
"""

import math

FEWEST = 100
"""Units of each arm below which nothing is said: the interval holds only as the number of units grows."""


def half_width(sd: float, n: float, *, alpha: float, tuned_for: float, one_sided: bool = False) -> float:
    """Distance from the mean to the end of its any-time interval; infinite for no observations.

    Args:
        sd: standard deviation of one observation.
        n: observations so far.
        alpha: chance that the interval is ever wrong.
        tuned_for: observations at which it is to be narrowest.
        one_sided: whether only one end is of interest.

    Raises:
        ValueError: ``alpha`` is not between 0 and ½, or ``tuned_for`` is not above 0.
    """
    if not 0 < alpha < 0.5 or tuned_for <= 0:
        raise ValueError(f"alpha {alpha} tuned for {tuned_for}: expected 0 to 0.5, and above 0")
    if n <= 0:
        return math.inf
    level = 2 * alpha if one_sided else alpha
    rho2 = (-2 * math.log(level) + math.log1p(-2 * math.log(level))) / tuned_for
    grown = n * rho2 + 1
    tail = math.log1p(math.sqrt(grown) / (2 * alpha)) if one_sided else math.log(math.sqrt(grown) / alpha)
    return sd * math.sqrt(2 * grown / (n * n * rho2) * tail)
