"""Examination by rank in each context, as a night keeps it: what is used, what it rests on, and why not more."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import ClickLog, Context

Floats = NDArray[np.float64]

_BLOCK = 1 << 20
"""Rows that are looked up at a time."""


@dataclass(frozen=True)
class ContextEstimate:
    """One context; tuples have a number for each rank, from 1.

    Args:
        context: which.
        lists: how many lists it has in the window.
        clicks: harvested: of products that stood at several ranks for the same query.
        pooled_with: name of the wider context whose estimate is used; None: its own, or the prior.
        source: what ``theta`` is: estimated, kept from nights before, or the prior.
        harvest: what it was estimated from: everything that moved products, or coins alone.
        trusted: whether it may be learned with.
        reasons: why its own estimate is not used.
        theta: P(looked at | in view) relative to rank 1.
        low: end of the 95 % interval of ``theta``.
        high: the other end.
        estimated: what this night estimates, whether used or not.
        harvested: by weighted least squares; NaN where it cannot be.
        likelihood: by maximum likelihood; NaN likewise.
        prior: what is assumed without clicks.
        naive: clicks of what is in view, relative to rank 1: what the estimate corrects.
        connected: whether the rank can be compared with rank 1.
        weakest: pair of ranks with the fewest clicks on the way, where coins help most.
        weakest_clicks: that number.
        pairs: ranks that the same product stood at for the same query, and the clicks at that of both which has fewer.
        disagreement: of both estimators, as a share.
    """

    context: Context
    lists: int
    clicks: float
    pooled_with: str | None
    source: Literal["estimated", "kept", "prior"]
    harvest: Literal["all", "coins"]
    trusted: bool
    reasons: tuple[str, ...]
    theta: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    estimated: tuple[float, ...]
    harvested: tuple[float, ...]
    likelihood: tuple[float, ...]
    prior: tuple[float, ...]
    naive: tuple[float, ...]
    connected: tuple[bool, ...]
    weakest: tuple[int, int] | None
    weakest_clicks: float
    pairs: tuple[tuple[int, int, float], ...]
    disagreement: float

    def to_json(self) -> dict[str, Any]:
        """JSON object; what is not known is null."""
        found: dict[str, Any] = {"name": self.context.name, **asdict(self.context)}
        for name, value in vars(self).items():
            if name == "context":
                continue
            curve = isinstance(value, tuple) and any(isinstance(one, float) for one in value)
            found[name] = (
                [_number(one) for one in value] if curve else list(value) if isinstance(value, tuple) else value
            )
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "ContextEstimate":
        """Inverse of ``to_json``."""
        given = {name: value for name, value in found.items() if name in cls.__dataclass_fields__}
        for name, value in given.items():
            if isinstance(value, list):
                given[name] = tuple(_read(one) for one in value)
        context = Context(found["device"], found["layout"], found["columns"], found["query_type"])
        return cls(**(given | {"context": context}))


def _read(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else np.nan if value is None else value


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


@dataclass(frozen=True)
class ContextPropensities:
    """Of every context of a log.

    Args:
        days: of the log that were harvested.
        clicks: that were harvested in all.
        trusted: whether every context that matters may be learned with.
        reasons: why not, or what is to be known of it.
        contexts: one by one.
    """

    days: float
    clicks: float
    trusted: bool
    reasons: tuple[str, ...]
    contexts: tuple[ContextEstimate, ...]

    def theta(self, context: Context, length: int) -> Floats:
        """(length,) of a context; behind its last known rank as at that one. One that is not known: 1 everywhere.

        Raises:
            KeyError: no such context.
        """
        for one in self.contexts:
            if one.context == context:
                return np.asarray(one.theta)[np.minimum(np.arange(length), len(one.theta) - 1)]
        raise KeyError(
            f"found no context {context.name}: expected one of {[one.context.name for one in self.contexts]}"
        )

    def table(self, log: ClickLog, length: int) -> Floats:
        """(contexts of ``log``, length)."""
        curves = [self.theta(one, length) for one in log.contexts]
        return np.stack(curves) if curves else np.ones((0, length))

    def of_rows(self, log: ClickLog) -> Floats:
        """(n,) theta of each row at its rank in its list's context: 1 at rank 1, given that it is in view."""
        position = log.rows.position
        table = self.table(log, max(int(position.max(initial=1)), 1))
        found = np.empty(len(position))
        for begin in range(0, len(position), _BLOCK):
            rows = np.arange(begin, min(begin + _BLOCK, len(position)))
            lists = np.searchsorted(log.lists.start, rows, side="right") - 1
            found[rows] = table[log.lists.context[lists], position[rows] - 1]
        return found

    def at_end(self, end: Literal["low", "high"]) -> "ContextPropensities":
        """The same with theta at this end of its interval, for what must not hang on where in it the truth lies."""
        return self._with({one.context: getattr(one, end) for one in self.contexts})

    def bent(self, power: float) -> "ContextPropensities":
        """The same with theta to this power: below 1 attention falls off more slowly than is estimated."""
        return self._with({one.context: tuple(float(t**power) for t in one.theta) for one in self.contexts})

    def _with(self, curves: Mapping[Context, tuple[float, ...]]) -> "ContextPropensities":
        return replace(self, contexts=tuple(replace(one, theta=curves[one.context]) for one in self.contexts))

    def to_json(self) -> dict[str, Any]:
        """JSON object, as kept with a night and drawn on its page."""
        return {
            "days": self.days,
            "clicks": self.clicks,
            "trusted": self.trusted,
            "reasons": list(self.reasons),
            "contexts": [one.to_json() for one in self.contexts],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "ContextPropensities":
        """Inverse of ``to_json``."""
        contexts = tuple(ContextEstimate.from_json(one) for one in found["contexts"])
        return cls(found["days"], found["clicks"], found["trusted"], tuple(found["reasons"]), contexts)
