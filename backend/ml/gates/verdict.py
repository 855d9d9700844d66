"""What the gates found, as people read it and as generations keep it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Route = Literal["live", "screen", "none"]
"""Where heads go: live, to a screening by interleaving on little traffic, or nowhere."""


@dataclass(frozen=True)
class Check:
    """One number and what was asked of it.

    Args:
        name: what it is of.
        found: the number; None: there is too little to tell.
        expected: the bound.
        passed: None where it is not known, or only told.
        sense: whether ``expected`` is the least or the most that passes; "told": nothing is asked.
        low: end of its 95 % interval, where it has one. That end is what a gain must exceed the bound by; of what must
            only not be worse the number itself is asked, and that not all of the interval is below.
        high: the other end.
        why: a sentence, where it did not pass.
        coverage_only: whether a failure says that the log knows too little of this policy, and not that it is bad.
        neutral: whether it failed since an interval includes 0: no worse than what is live, and not better for sure.
    """

    name: str
    found: float | None
    expected: float | None = None
    passed: bool | None = None
    sense: Literal["least", "most", "told"] = "told"
    low: float | None = None
    high: float | None = None
    why: str = ""
    coverage_only: bool = False
    neutral: bool = False

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        shown = {
            "name": self.name,
            "found": _number(self.found),
            "expected": _number(self.expected),
            "passed": self.passed,
            "sense": self.sense,
        }
        ends = {"low": _number(self.low), "high": _number(self.high)}
        return shown | {name: end for name, end in ends.items() if end is not None}


def at_least(name: str, found: float, expected: float, *, coverage_only: bool = False, unless: str = "") -> Check:
    """A number that must not be below ``expected``; ``unless`` is what it means where it is."""
    passed = bool(found >= expected)  # not a number is no pass
    why = "" if passed else f"{unless or name} Found {found:.4g}: expected {expected:.4g} or more."
    return Check(name, found, expected, passed, "least", why=why, coverage_only=coverage_only)


def at_most(name: str, found: float, expected: float, *, coverage_only: bool = False, unless: str = "") -> Check:
    """A number that must not be above ``expected``."""
    passed = bool(found <= expected)
    why = "" if passed else f"{unless or name} Found {found:.4g}: expected {expected:.4g} or less."
    return Check(name, found, expected, passed, "most", why=why, coverage_only=coverage_only)


def told(name: str, found: float, *, low: float | None = None, high: float | None = None) -> Check:
    """A number of which nothing is asked."""
    return Check(name, found, low=low, high=high)


@dataclass(frozen=True)
class GateResult:
    """One gate.

    Args:
        id: G0 to G5.
        title: what it is about.
        checks: what it looked at.
        plots: data that a page can draw.
    """

    id: str
    title: str
    checks: tuple[Check, ...]
    plots: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool | None:
        """Whether all that is known passed; None where nothing is known."""
        known = [one.passed for one in self.checks if one.passed is not None]
        return all(known) if known else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it did not pass, a sentence each."""
        return tuple(one.why for one in self.failed)

    @property
    def failed(self) -> tuple[Check, ...]:
        """What did not pass."""
        return tuple(one for one in self.checks if one.passed is False)

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "id": self.id,
            "title": self.title,
            "passed": self.passed,
            "reasons": list(self.reasons),
            "checks": [one.to_json() for one in self.checks],
            "plots": dict(self.plots),
        }


@dataclass(frozen=True)
class ArmResult:
    """What an arm came to on the queries that decide which one is judged.

    Args:
        name: of the arm.
        gamma: what its heads were scaled by.
        validation: measures by name.
        retention: share of what golden queries found that they still find.
        chosen: whether it was judged.
    """

    name: str
    gamma: float
    validation: Mapping[str, float]
    retention: float
    chosen: bool = False

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "name": self.name,
            "gamma": self.gamma,
            "validation": {name: _number(one) for name, one in self.validation.items()},
            "retention": _number(self.retention),
            "chosen": self.chosen,
        }


@dataclass(frozen=True)
class Wait:
    """What a gate waits for.

    Args:
        gate: which.
        what: in words.
        found: how much there is.
        needed: how much is asked for.
        per_day: how much comes in a day; None where it does not come by itself.
    """

    gate: str
    what: str
    found: float
    needed: float
    per_day: float | None

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "gate": self.gate,
            "what": self.what,
            "found": _number(self.found),
            "needed": _number(self.needed),
            "per_day": _number(self.per_day),
        }


@dataclass(frozen=True)
class NightVerdict:
    """Whether anything goes live tonight, and why.

    Args:
        route: where the chosen arm goes.
        chosen: the arm that was judged; "none" where none was.
        sentence: for people.
        gates: what each found, in order; those behind one that settles the matter are missing.
        arms: what was compared.
        waits: what would have to come for a gate to pass.
        hashes: of what was judged and by which queries.
    """

    route: Route
    chosen: str
    sentence: str
    gates: tuple[GateResult, ...]
    arms: tuple[ArmResult, ...] = ()
    waits: tuple[Wait, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether it may go live."""
        return self.route == "live"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it may not."""
        return tuple(why for gate in self.gates for why in gate.reasons)

    def to_json(self) -> dict[str, Any]:
        """What a generation and its night keep."""
        return {
            "passed": self.passed,
            "route": self.route,
            "chosen": self.chosen,
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "gates": [one.to_json() for one in self.gates],
            "arms": [one.to_json() for one in self.arms],
            "waits": [one.to_json() for one in self.waits],
            "hashes": dict(self.hashes),
        }


def _number(value: float | None) -> float | None:
    """A number that JSON knows; what is not finite is not known."""
    return float(value) if value is not None and np.isfinite(value) else None
