"""G3: what the candidate's lists would earn more than production's, by estimators that the log supports.

Satisfied clicks a list, doubly robust and paired (``clicks/counterfactual.py``). The estimate overstates differences a
little, so that its lower end must exceed a margin; and it must not hang on what is assumed of attention: its sign is
the same at both ends of the propensities' intervals, with attention that falls off more slowly and more steeply, and,
unless the log speaks against it, under the dependent click model, whose shoppers read on until they found something.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.attention import Attention
from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.context_propensities import ContextPropensities
from backend.ml.clicks.counterfactual import (
    clip_of,
    difference,
    direct,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)
from backend.ml.clicks.estimates import Estimate
from backend.ml.clicks.policy_log import PolicyLog, Reward, policy_log
from backend.ml.clicks.relevance_model import relevance_model
from backend.ml.gates.rankers import Ranker
from backend.ml.gates.reading_on import going_on, read_on_gain, read_relevance, speaks_against
from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import Check, GateResult, at_least, at_most, told

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

OURS, THEIRS = "candidate", "production"
POWERS = (0.7, 1.3)


@dataclass(frozen=True)
class Compared:
    """Two rankings on some of a log's lists.

    Args:
        log: of the window.
        lists: (m,) which of its lists count: of those whose odds are known.
        ours: (q, k) products that the candidate shows for each query of the log, best first; -1 for none.
        theirs: (q, k) that production shows.
        frozen: the encoder alone, from which is guessed what was not clicked.
    """

    log: ClickLog
    lists: Bools
    ours: Ints
    theirs: Ints
    frozen: Ranker

    def at(self, propensities: ContextPropensities, reward: Reward = "satisfied") -> "Valued":
        """Under these propensities."""
        tops = {OURS: self.ours, THEIRS: self.theirs}
        attention = Attention.of(self.log, propensities)
        found = policy_log(self.log, attention, tops, lists=self.lists, reward=reward)
        scores = self.frozen.scores(self.log.asked, found.pairs.query, found.pairs.product, self.log.products)
        return Valued(found, scores, relevance_model(found.log, found.pairs.product, scores))

    def among(self, lists: Bools) -> "Compared":
        """The same on some of these lists."""
        return Compared(self.log, self.lists & lists, self.ours, self.theirs, self.frozen)


@dataclass(frozen=True)
class Valued:
    """What the estimators need, under one assumption about attention."""

    policies: PolicyLog
    frozen: Floats
    relevance: Floats

    @property
    def gain(self) -> Estimate:
        """The candidate's value less production's, a list."""
        attention = self.policies.attention
        log = self.policies.log
        return difference(log, attention[OURS], attention[THEIRS], self.relevance, clip=clip_of(log.impressions))

    def values(self, name: str) -> dict[str, Estimate]:
        """Of one of both, by estimator."""
        log, attention = self.policies.log, self.policies.attention[name]
        clip = clip_of(log.impressions)
        return {
            "IPS": inverse_propensity(log, attention),
            "clipped IPS": inverse_propensity(log, attention, clip=clip),
            "SNIPS": self_normalised(log, attention, clip=clip),
            "DM": direct(log, attention, self.relevance),
            "DR": doubly_robust(log, attention, self.relevance, clip=clip),
        }


def gain_gate(compared: Compared, propensities: ContextPropensities, thresholds: Thresholds) -> GateResult:
    """G3."""
    if not compared.lists.any():
        nothing = Check("gain", None, 0.0, False, "least", why="No list judges.", coverage_only=True)
        return GateResult("G3", _TITLE, (nothing,))
    valued = compared.at(propensities)
    gain, ours, theirs = valued.gain, valued.values(OURS), valued.values(THEIRS)
    clicks = float(np.count_nonzero(valued.policies.log.clicked))
    supports = [
        *(
            at_least(f"coverage of {name}", one["DR"].coverage, thresholds.coverage, coverage_only=True, unless=_UNSEEN)
            for name, one in ((OURS, ours), (THEIRS, theirs))
        ),
        at_least("effective sample", gain.effective, thresholds.effective, coverage_only=True, unless=_FEW),
        at_least(
            "effective share of clicks",
            gain.effective / max(clicks, 1.0),
            thresholds.effective_share,
            coverage_only=True,
            unless=_FEW,
        ),
        at_most("heaviest click", gain.heaviest, thresholds.heaviest, coverage_only=True, unless=_FEW),
    ]
    others = _assumptions(compared, propensities)
    reading, unlikely = _read_on(compared, propensities)
    defined = all(one.passed for one in supports)
    checks = [_exceeds(gain, theirs["DR"].value, thresholds, defined=defined), *supports]
    checks += [_same_sign(name, found, defined=defined) for name, found in others.items()]
    checks.append(told(_NOT_SO, reading) if unlikely else _same_sign(_READING, reading, defined=defined))
    others |= {_READING: reading}
    checks += [_told(f"{name} of {whose}", one) for whose, found in ((OURS, ours), (THEIRS, theirs))
               for name, one in found.items()]  # fmt: skip
    return GateResult("G3", _TITLE, tuple(checks), _plots(gain, ours, theirs, others))


_TITLE = "It earns more, by what the log supports"
_UNSEEN = "Too much of what it would show was never shown: the log cannot tell what it is worth."
_FEW = "Too few clicks decide it."
_READING = "dependent click model"
_NOT_SO = "gain, dependent click model, which the log speaks against"


def _assumptions(compared: Compared, propensities: ContextPropensities) -> dict[str, float]:
    """The gain under other assumptions about attention."""
    found = {
        "lower end of propensities": propensities.at_end("low"),
        "upper end of propensities": propensities.at_end("high"),
    } | {f"propensities to the power {power:g}": propensities.bent(power) for power in POWERS}
    return {name: compared.at(one).gain.value for name, one in found.items()}


def _read_on(compared: Compared, propensities: ContextPropensities) -> tuple[float, bool]:
    """The gain in clicks under the dependent click model, and whether the log speaks against that model."""
    level, placed = compared.at(propensities.bent(0.0), "clicked"), compared.at(propensities, "clicked")
    read = read_relevance(level.policies.log, level.policies.pairs.product, level.frozen)
    gain = read_on_gain(level.policies, len(compared.log.products), read, (compared.ours, compared.theirs))
    return gain, speaks_against(placed.policies.log, placed.relevance, read, going_on(placed.policies.log))


def _exceeds(gain: Estimate, production: float, thresholds: Thresholds, *, defined: bool) -> Check:
    """The lower end beyond the margin; where the log does not support the estimate it is not a verdict."""
    margin = thresholds.margin * production
    passed = bool(gain.low > margin)
    why = (
        f"The gain is not beyond doubt: {gain.value:+.4f} satisfied clicks a list, 95 % interval {gain.low:+.4f} to "
        f"{gain.high:+.4f}: expected all of it above {margin:.4f}."
    )
    verdict = passed if defined else None
    why, neutral = (why, gain.high >= 0) if verdict is False else ("", False)
    return Check("gain", gain.value, margin, verdict, "least", gain.low, gain.high, why, neutral=neutral)


def _same_sign(name: str, found: float, *, defined: bool) -> Check:
    passed = bool(found > 0)
    why = f"The gain hangs on what is assumed of attention: {found:+.4f} with the {name}."
    verdict = passed if defined else None
    return Check(f"gain, {name}", found, 0.0, verdict, "least", why=why if verdict is False else "")


def _told(name: str, one: Estimate) -> Check:
    return told(name, one.value, low=one.low, high=one.high)


def _plots(
    gain: Estimate, ours: Mapping[str, Estimate], theirs: Mapping[str, Estimate], others: Mapping[str, float]
) -> dict[str, Any]:
    def row(name: str, one: Estimate) -> dict[str, Any]:
        return {"name": name, "value": one.value, "low": one.low, "high": one.high}

    return {
        "gain": row("gain", gain),
        "estimators": [
            {"name": name, "candidate": row(name, ours[name]), "production": row(name, theirs[name])} for name in ours
        ],
        "assumptions": [{"name": name, "value": value} for name, value in others.items()],
    }
