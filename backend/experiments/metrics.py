"""Metrics that experiments are judged by: what is divided by what, which way is better, and how much worse is harm."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric.

    Args:
        name: in results, and in an experiment's ``metric``.
        title: for people.
        unit: what its values are in.
        better: higher or lower.
        above: which of ``unit_sums.SUMS`` is the numerator.
        below: which is the denominator; None: units.
        margin: relative change for the worse that is put up with; None: it is no guardrail.
    """

    name: str
    title: str
    unit: Literal["per query", "per shopper", "share", "s", "ms"]
    better: Literal["higher", "lower"]
    above: str
    below: str | None
    margin: float | None = None


METRICS = (
    Metric("satisfied_clicks_per_query", "Satisfied clicks per query", "per query", "higher", "satisfied", "queries"),
    Metric("labels_per_query", "Graded labels per query", "per query", "higher", "labels", "queries"),
    Metric("clicks_per_query", "Clicks per query", "per query", "higher", "clicks", "queries"),
    Metric("add_to_cart_per_shopper", "Carts filled per shopper", "per shopper", "higher", "carts", None, 0.02),
    Metric("purchases_per_shopper", "Purchases per shopper", "per shopper", "higher", "purchases", None),
    Metric("abandonment", "Queries without a click", "share", "lower", "abandoned", "queries", 0.03),
    Metric("reformulation", "Queries asked anew", "share", "lower", "reformulated", "queries"),
    Metric("zero_results", "Queries that found nothing", "share", "lower", "zero_results", "queries", 0.05),
    Metric("new_product_views", "New products seen per query", "per query", "higher", "new_views", "queries", 0.1),
    Metric("time_to_satisfaction", "Time to the first that satisfied", "s", "lower", "answered_s", "answered"),
)
"""All of them but the latency; the first is what is judged by unless an experiment says otherwise."""

LATENCY = Metric("latency_p95", "95th percentile of the latency", "ms", "lower", "slower", "timed", 0.1)
"""More than 5 % of an arm's lists take longer than 1.1 times the control's p95 exactly where its own p95 is higher."""

HARM_ALPHA = 0.01
"""Chance that a guardrail is ever called breached where the arms are alike; one side, at all times together."""


def primary_of(metric: str) -> Metric:
    """The metric that an experiment is judged by; the first of ``METRICS`` where it names none of them."""
    return next((one for one in METRICS if one.name == metric), METRICS[0])
