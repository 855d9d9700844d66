"""Examination by rank in each context of a log, from what moved products; where too little did, from wider contexts.

Contexts pool as device, layout, columns and kind of query -> device and layout -> layout -> all -> the prior. Evidence
is only ever compared within one context and then added up, for those who come from two contexts differ. An estimate
counts where its ranks are connected (Chen et al., arXiv 2309.15560) and both estimators agree; none is extrapolated,
but where most ranks are connected the others may be those of the wider context.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog, Context
from backend.ml.clicks.context_propensities import ContextEstimate, ContextPropensities
from backend.ml.clicks.drift import steady
from backend.ml.clicks.harvest import Clicks, Counts
from backend.ml.clicks.log_counts import Counted, counted, nodes
from backend.ml.clicks.propensities import (
    AGREEMENT,
    PRIOR_DEVIATION,
    Evidence,
    Propensities,
    estimate,
    prior,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BETWEEN = 0.25
"""Standard deviation of log theta between contexts of a kind: how far one is expected to be from the wider one."""

_JUDGED = 10
"""Ranks that must be connected: what stands behind them is read by few."""

_MATTERS = 0.01
"""Share of the lists, or of what is in view, below which nothing hangs on a context or on a rank."""


@dataclass(frozen=True)
class ContextOptions:
    """How propensities are estimated.

    Args:
        days: of the window's end that are harvested: relevance must not have moved meanwhile.
        least_clicks: harvested clicks from which on the prior is left.
        least_edge: clicks on both sides that join two ranks.
        replicates: of the bootstrap.
        list_decay: of the prior over ranks of a list.
        row_decay: of the prior over rows of a grid.
        seed: of the bootstrap.
    """

    days: float = 14.0
    least_clicks: float = 2_000.0
    least_edge: float = 50.0
    replicates: int = 200
    list_decay: float = 1.0
    row_decay: float = 0.6
    seed: int = 0


def estimate_contexts(
    log: ClickLog, options: ContextOptions, previous: Sequence[ContextPropensities] = ()
) -> ContextPropensities:
    """Propensities of every context of ``log``.

    Args:
        log: as collected.
        options: how.
        previous: of nights before, at most seven: one that is far from their median is not used, the median is.
    """
    found = _Estimates.of(log, options)
    contexts = tuple(steady(found.context(place), previous) for place in range(len(log.contexts)))
    total = max(sum(one.lists for one in contexts), 1)
    wanting = [one for one in contexts if not one.trusted and one.lists / total >= _MATTERS]
    reasons = [f"{one.context.name}: {said}" for one in wanting for said in one.reasons]
    if not len(log.lists.start):
        reasons = ["found no list: expected some"]
    return ContextPropensities(
        days=options.days,
        clicks=found.clicks(),
        trusted=not reasons,
        reasons=tuple(reasons),
        contexts=contexts,
    )


@dataclass(frozen=True)
class _Group:
    """Contexts that are estimated as one.

    Args:
        name: as reports say it.
        members: places in the log's contexts.
    """

    name: str
    members: tuple[int, ...]


def _widening(contexts: tuple[Context, ...], place: int) -> list[_Group]:
    """From the context at ``place`` to all: wider ones that hold no more contexts are left out."""
    own = contexts[place]
    wider: list[tuple[str, list[bool]]] = [
        (own.name, [one == own for one in contexts]),
        (f"{own.device} {own.layout}", [(one.device, one.layout) == (own.device, own.layout) for one in contexts]),
        (f"every {own.layout}", [one.layout == own.layout for one in contexts]),
        ("every context", [True] * len(contexts)),
    ]
    groups: list[_Group] = []
    for name, within in wider:
        members = tuple(np.flatnonzero(within).tolist())
        if not groups or members != groups[-1].members:
            groups.append(_Group(name, members))
    return groups


@dataclass(frozen=True)
class _Found:
    """An estimate of a group, and why it may not be used."""

    propensities: Propensities
    harvest: Literal["all", "coins"]
    reasons: tuple[str, ...]
    disagreement: float


class _Estimates:
    """Estimates of groups, each made once, from the widest to the narrowest."""

    def __init__(self, log: ClickLog, options: ContextOptions, lists: Bools, length: int) -> None:
        self._log, self._options, self._lists, self._length = log, options, lists, length
        self._node = nodes(length)
        self._all = counted(log, lists, length)
        self._coins: Counted | None = None
        self._known: dict[tuple[int, ...], _Found] = {}

    @classmethod
    def of(cls, log: ClickLog, options: ContextOptions) -> "_Estimates":
        served = log.lists.served
        lists = served >= served.max(initial=0.0) - 86_400.0 * options.days
        return cls(log, options, lists, max(int(log.rows.position.max(initial=1)), 1))

    def clicks(self) -> float:
        """Harvested clicks of all contexts."""
        return float(sum(one.counts.clicked.sum() for one in self._all.evidence))

    def context(self, place: int) -> ContextEstimate:
        """What is used in one context: the narrowest estimate that counts."""
        groups = _widening(self._log.contexts, place)
        used: tuple[_Group, _Found] | None = None
        for group in reversed(groups):
            own = self._group(group, used[1] if used else None)
            if not own.reasons:
                used = group, own
        return self._said(place, own, groups[0], used)

    def _said(self, place: int, own: _Found, group: _Group, used: tuple[_Group, _Found] | None) -> ContextEstimate:
        node, context = self._node, self._log.contexts[place]
        assumed = self._prior_of_ranks(context)
        wide = np.exp(1.96 * PRIOR_DEVIATION * (np.arange(self._length) > 0))
        curve = (assumed, assumed / wide, assumed * wide)
        if used:
            found = used[1].propensities
            curve = (found.theta[node], found.low[node], found.high[node])
        rate = self._all.clicked[place] / np.maximum(self._all.seen[place], 1)
        linked = (used[1] if used else own).propensities.connection
        return ContextEstimate(
            context=context,
            lists=int(self._all.lists[place]),
            clicks=own.propensities.clicks,
            pooled_with=used[0].name if used and used[0] != group else None,
            source="estimated" if used else "prior",
            harvest=used[1].harvest if used else "all",
            trusted=used is not None,
            reasons=own.reasons,
            theta=_floats(curve[0]),
            low=_floats(curve[1]),
            high=_floats(curve[2]),
            estimated=_floats(curve[0]),
            harvested=_floats(own.propensities.harvested[node]),
            likelihood=_floats(own.propensities.likelihood[node]),
            prior=_floats(assumed),
            naive=_floats(rate / rate[0] if rate[0] > 0 else np.full(self._length, np.nan)),
            connected=tuple(linked.connected[node].tolist()),
            weakest=None if linked.weakest is None else (self._rank(linked.weakest[0]), self._rank(linked.weakest[1])),
            weakest_clicks=linked.clicks,
            pairs=tuple(self._pairs(linked.strength)),
            disagreement=(used[1] if used else own).disagreement,
        )

    def _pairs(self, strength: Floats) -> Iterator[tuple[int, int, float]]:
        for one, other in np.argwhere(np.triu(strength, 1) > 0).tolist():
            yield self._rank(one + 1), self._rank(other + 1), float(strength[one, other])

    def _rank(self, node: int) -> int:
        """The first rank of a node, which counts from 1."""
        return int(np.flatnonzero(self._node == node - 1)[0]) + 1

    def _prior_of_ranks(self, context: Context) -> Floats:
        given = self._options
        return prior(self._length, context.layout, context.columns,
                     list_decay=given.list_decay, row_decay=given.row_decay)  # fmt: skip

    def _group(self, group: _Group, above: _Found | None) -> _Found:
        if group.members not in self._known:
            found = self._estimated(self._all, group, above, "all")
            if found.reasons and found.disagreement > AGREEMENT and len(self._log.coins.list):
                coins = self._estimated(self._by_coins(), group, above, "coins")
                found = found if coins.reasons else coins
            self._known[group.members] = found
        return self._known[group.members]

    def _by_coins(self) -> Counted:
        if self._coins is None:
            tossed = np.zeros(len(self._lists), dtype=np.bool_)
            tossed[self._log.coins.list] = True
            self._coins = counted(self._log, self._lists & tossed, self._length, by_coins=True)
        return self._coins

    def _estimated(
        self, given: Counted, group: _Group, above: _Found | None, harvest: Literal["all", "coins"]
    ) -> _Found:
        evidence = _together([given.evidence[place] for place in group.members])
        assumed, deviation = self._assumed(given, group, above)
        needed = self._needed(given, group)
        found = estimate(
            evidence,
            assumed,
            assumed_deviation=deviation,
            replicates=self._options.replicates,
            least_clicks=self._options.least_edge,
            needed=int(np.flatnonzero(needed)[-1]) + 1,
            seed=self._options.seed,
        )
        apart = found.disagreement(needed)
        reasons = tuple(self._reasons(found, needed, apart, above))
        return _Found(found, harvest, reasons, apart)

    def _assumed(self, given: Counted, group: _Group, above: _Found | None) -> tuple[Floats, Floats]:
        """Theta of nodes that is shrunk to, and the standard deviation of its logarithm."""
        if above:
            theta, high = above.propensities.theta, above.propensities.high
            return theta, np.hypot(BETWEEN, np.log(high / theta) / 1.96)
        lists = np.maximum(given.lists[list(group.members)], 1).astype(np.float64)
        logs = np.stack([np.log(self._prior_of_ranks(self._log.contexts[place])) for place in group.members])
        ranks = lists @ logs / lists.sum()
        by_node = np.bincount(self._node, ranks) / np.bincount(self._node)
        return np.exp(by_node), np.full(len(by_node), PRIOR_DEVIATION)

    def _needed(self, given: Counted, group: _Group) -> Bools:
        """(nodes,) which of the first ranks are in view often enough to matter."""
        seen = np.bincount(self._node, given.seen[list(group.members)].sum(axis=0))
        needed = (np.arange(len(seen)) < _JUDGED) & (seen >= _MATTERS * max(seen.sum(), 1))
        needed[0] = True
        return np.asarray(needed)

    def _reasons(self, found: Propensities, needed: Bools, apart: float, above: _Found | None) -> Iterator[str]:
        if above is None and found.clicks < self._options.least_clicks:
            yield f"found {found.clicks:.0f} harvested clicks: expected {self._options.least_clicks:g} or more"
        loose = np.flatnonzero(needed & ~found.connection.connected) + 1
        # single ranks are taken from the wider context, to which the estimate is shrunk
        if found.connection.weakest and len(loose) > (needed.sum() // 2 if above else 0):
            one, other = found.connection.weakest
            yield (
                f"found ranks {', '.join(map(str, loose))} not joined to rank 1; the weakest pair is {one} and {other} "
                f"with {found.connection.clicks:.0f} clicks: expected {self._options.least_edge:g} or more"
            )
        if apart > AGREEMENT:
            yield f"found two estimates {apart:.0%} apart: expected at most {AGREEMENT:.0%}"


def _together(parts: Sequence[Evidence]) -> Evidence:
    """Evidence of several contexts, added up."""
    if len(parts) == 1:
        return parts[0]
    by_query = parts[0].by_query
    for one in parts[1:]:
        by_query = by_query + one.by_query
    behind = np.cumsum([0, *(len(one.counts.rank) for one in parts)])
    known = [(one.by_unit, first) for one, first in zip(parts, behind, strict=False) if one.by_unit is not None]
    by_unit = Clicks(
        np.concatenate([clicks.row + first for clicks, first in known]),
        np.concatenate([clicks.group for clicks, _ in known]),
        np.concatenate([clicks.times for clicks, _ in known]),
    )
    return Evidence(Counts.together([one.counts for one in parts]), by_query, by_unit)


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(float(one) for one in values)
