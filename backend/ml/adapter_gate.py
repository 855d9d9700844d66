"""Whether trained heads may go live: better than the untouched encoder beyond doubt, and nothing forgotten.

A gain counts where the paired bootstrap intervals of Recall@10 and of MRR both lie above 0; nothing is forgotten where
queries that nothing was trained on keep .98 of both. Heads that gain but forget are scaled back first (WiSE-FT, arXiv
2109.01903, applied to the residual).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.exact_ranks import pair_ranks
from backend.ml.heads import Head
from backend.ml.metrics import Interval, hits, paired_bootstrap, reciprocal_rank
from backend.ml.pairs import Pairs, Rows

DEPTH = 10
LEAST_RETENTION = 0.98
GAMMAS = (1.0, 0.75, 0.5, 0.35, 0.2, 0.1, 0.0)


@dataclass(frozen=True)
class Change:
    """A mean over queries before and after, and the interval of the mean difference."""

    before: float
    after: float
    interval: Interval


@dataclass(frozen=True)
class Retention:
    """How much of what queries found before they find after: after / before, 1 where nothing was found before."""

    queries: int
    recall_at_10: float
    mrr: float

    @property
    def least(self) -> float:
        """The lower of both."""
        return min(self.recall_at_10, self.mrr)


@dataclass(frozen=True)
class GateReport:
    """The verdict on heads, and what it rests on.

    Args:
        queries: held-out queries that the changes are of.
        recall_at_10: change of Recall@10.
        mrr: change of the mean reciprocal rank.
        retention: on queries that nothing was trained on.
        gamma: what the adapters were scaled by; 0 is no update.
        reasons: why they may not go live; none where they may.
    """

    queries: int
    recall_at_10: Change
    mrr: Change
    retention: Retention
    gamma: float
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether they may go live."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON keeps it."""
        return {"passed": self.passed, **asdict(self), "reasons": list(self.reasons)}


def judge(
    before: Rows,
    after: Rows,
    retention_before: Rows,
    retention_after: Rows,
    *,
    gamma: float = 1.0,
    products: Rows | None = None,
    least_retention: float = LEAST_RETENTION,
    samples: int = 2000,
    seed: int = 0,
) -> GateReport:
    """Judge heads by the ranks of right products, without them and with them.

    Args:
        before: (n,) ranks of held-out queries without the heads.
        after: (n,) ranks of the same queries with them.
        retention_before: (r,) ranks of queries like none that was trained on, without the heads.
        retention_after: (r,) ranks of those with them.
        gamma: what the adapters were scaled by.
        products: (n,) product that each query asks for: queries for one product are drawn together in the bootstrap,
            since they do not err independently. None where each asks for another.
        least_retention: retention below this is a reason to refuse.
        samples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: no ranks, or not as many before as after.
    """
    recall = _change(hits(before, DEPTH), hits(after, DEPTH), products, samples, seed)
    mrr = _change(reciprocal_rank(before), reciprocal_rank(after), products, samples, seed)
    retention = retention_of(retention_before, retention_after)
    reasons = [] if gamma else ["The adapters were scaled to 0: there is nothing to update."]
    reasons += [
        f"{name} is not above the untouched encoder: {change.interval.mean:+.4f}, "
        f"95 % interval {change.interval.low:+.4f} to {change.interval.high:+.4f}."
        for name, change in (("Recall@10", recall), ("MRR", mrr))
        if not change.interval.above
    ]
    reasons += [
        f"Retention of {name} is {value:.4f}, below {least_retention}."
        for name, value in (("Recall@10", retention.recall_at_10), ("MRR", retention.mrr))
        if value < least_retention
    ]
    return GateReport(len(before), recall, mrr, retention, gamma, tuple(reasons))


def retention_of(before: Rows, after: Rows) -> Retention:
    """How much of what queries found before they find after, by the ranks (n,) of what they ask for."""
    return Retention(
        len(before),
        _ratio(hits(before, DEPTH), hits(after, DEPTH)),
        _ratio(reciprocal_rank(before), reciprocal_rank(after)),
    )


@dataclass(frozen=True)
class Scaled:
    """What heads come to with their adapters times ``gamma``: on validation, and in retention."""

    gamma: float
    recall_at_10: float
    mrr: float
    retention: Retention

    @property
    def merit(self) -> float:
        """What decides which gamma is best: Recall@10 + MRR."""
        return self.recall_at_10 + self.mrr


@dataclass(frozen=True)
class Scaling:
    """The best scale and the heads at that scale; every scale tried, from the largest."""

    best: Scaled
    text: Head
    image: Head | None
    tried: tuple[Scaled, ...]


def scaled_best(
    text: Head,
    image: Head | None,
    validation: Pairs,
    retention: Pairs,
    *,
    gammas: tuple[float, ...] = GAMMAS,
    least_retention: float = LEAST_RETENTION,
) -> Scaling:
    """The scale of the adapters that does best on ``validation`` of those that forget nothing on ``retention``.

    Args:
        text: head of texts.
        image: head of pictures, or None; may be ``text`` itself.
        validation: pairs that decide.
        retention: pairs with queries that nothing was trained on.
        gammas: scales to try; 0, the untouched encoder, which forgets nothing, is always among them.
        least_retention: what both of Recall@10 and MRR must keep.
    """
    untouched = pair_ranks(retention)
    tried, heads = list[Scaled](), dict[float, tuple[Head, Head | None]]()
    for gamma in sorted({*gammas, 0.0}, reverse=True):
        pair = text.scaled(gamma), None if image is None else image.scaled(gamma)
        ranks = pair_ranks(validation, text=pair[0], image=pair[1])
        kept = retention_of(untouched, pair_ranks(retention, text=pair[0], image=pair[1]))
        heads[gamma] = pair
        tried.append(Scaled(gamma, float(hits(ranks, DEPTH).mean()), float(reciprocal_rank(ranks).mean()), kept))
    # of equals the smaller scale: it changes less
    best = max(
        (one for one in reversed(tried) if one.retention.least >= least_retention or not one.gamma),
        key=lambda one: one.merit,
    )
    return Scaling(best, *heads[best.gamma], tuple(tried))


def _change(
    before: NDArray[np.float64], after: NDArray[np.float64], products: Rows | None, samples: int, seed: int
) -> Change:
    ours, theirs = after, before
    if products is not None:
        ours, theirs = _by_product(after, products), _by_product(before, products)
    interval = paired_bootstrap(ours, theirs, samples=samples, seed=seed)
    return Change(float(before.mean()), float(after.mean()), interval)


def _by_product(values: NDArray[np.float64], products: Rows) -> NDArray[np.float64]:
    """Mean value of each product."""
    _, places = np.unique(products, return_inverse=True)
    return np.asarray(np.bincount(places, values) / np.bincount(places))


def _ratio(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    found = float(before.mean())
    return float(after.mean()) / found if found else 1.0
