"""The verdict of a night: the best arm by validation, judged on queries that nothing was trained or chosen on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from backend.ml.adapter_gate import retention_of
from backend.ml.clicks.attention import usable_lists
from backend.ml.clicks.click_log import Part
from backend.ml.gates.agreement import indiscriminate, within_caps
from backend.ml.gates.data import data_gate
from backend.ml.gates.evidence import Candidate, Evidence
from backend.ml.gates.gain import Compared, gain_gate
from backend.ml.gates.held_out import Gains, held_out_gate, known_gains, measured, summed, word_terms
from backend.ml.gates.rankers import Ranker
from backend.ml.gates.retention import retention_gate
from backend.ml.gates.slices import slices_gate, slices_of
from backend.ml.gates.system import score_checksum, system_gate
from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import ArmResult, GateResult, NightVerdict, Route, Wait
from backend.ml.gates.waits import Counts, waits_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

Told = Callable[[str, int, int], None]
"""Told what is under way, and how much of how much is done."""

NONE = "none"
"""Name of the arm that is production itself."""

MOST_QUERIES = 5000
"""Queries of a part that are ranked over the whole catalogue: those whose hash comes first, so the same every night."""

_DEPTH = 10


def judge_night(
    evidence: Evidence,
    candidates: Sequence[Candidate],
    thresholds: Thresholds,
    *,
    seed: int = 0,
    told: Told = lambda *_: None,
) -> NightVerdict:
    """Choose among ``candidates`` on queries of ``validation``, and judge the chosen one on those of ``judged``.

    Args:
        evidence: of the night.
        candidates: the arms; none where there was too little to train on. What is live needs no candidate.
        thresholds: what is asked.
        seed: of the bootstrap: the same evidence and seed give the same verdict.
        told: progress.
    """
    return _Night(evidence, thresholds, seed, told).judge([one for one in candidates if one.gamma])


class _Night:
    """What several gates need, computed once."""

    def __init__(self, evidence: Evidence, thresholds: Thresholds, seed: int, told: Told) -> None:
        self.evidence, self.thresholds, self.seed, self.told = evidence, thresholds, seed, told
        log = evidence.log
        counted = ~indiscriminate(log) & within_caps(log.lists.unit.astype(np.int64))
        self.logs = {part: log.only(counted & _queries_of(evidence, part)[log.lists.query]) for part in _PARTS}
        longest = int(log.rows.position.max(initial=1))
        self.depth = max(longest, _DEPTH)

    def judge(self, candidates: Sequence[Candidate]) -> NightVerdict:
        self.told("The data", 0, 1)
        data = data_gate(self.evidence, self.thresholds)
        arms, chosen = self._choose(candidates)
        waits = waits_of(self._counts(), self.thresholds)
        if chosen is None:
            return _verdict([data], arms, NONE, waits, {"golden": self.evidence.golden.version})
        rows = np.unique(self.logs["judged"].lists.query).astype(np.int64)
        hashes = {
            "golden": self.evidence.golden.version,
            "production": score_checksum(self.evidence.production, self.evidence, rows),
            chosen.name: score_checksum(chosen.ranker, self.evidence, rows),
        }
        return _verdict([data, *self._against_production(chosen, rows)], arms, chosen.name, waits, hashes)

    def _choose(self, candidates: Sequence[Candidate]) -> tuple[tuple[ArmResult, ...], Candidate | None]:
        """Every arm on the queries that decide; the best of those the log supports, else of all.

        None where none earns more than production, which is told first.
        """
        golden, gains = self.evidence.golden.of("validation"), self._gains("validation")
        before = golden.ranks(self.evidence.frozen)
        theirs = self._tops(self.evidence.production, "validation")
        results, merits = [], []
        arms = [Candidate(NONE, self.evidence.production, 0.0), *candidates]
        for number, arm in enumerate(arms):
            self.told("Arms", number, len(arms))
            values = self._measures(arm.ranker, gains)
            values |= self._earned(arm.ranker, theirs) if number else {"gain": 0.0, "coverage": 1.0}
            kept = retention_of(before, golden.ranks(arm.ranker)).least
            results.append(ArmResult(arm.name, arm.gamma, values, kept))
            merits.append((bool(values["coverage"] >= self.thresholds.coverage), values["gain"]))
        better = [place for place, (_, gain) in enumerate(merits) if gain > 0]
        best = max(better, key=lambda place: merits[place], default=0)
        results[best] = replace(results[best], chosen=True)
        return tuple(results), arms[best] if best else None

    def _earned(self, ranker: Ranker, theirs: Ints) -> dict[str, float]:
        log = self.logs["validation"]
        if not (usable := usable_lists(log)).any():
            return {"gain": 0.0, "coverage": 0.0}
        compared = Compared(log, usable, self._tops(ranker, "validation"), theirs, self.evidence.frozen)
        gain = compared.at(self.evidence.propensities).gain
        return {"gain": gain.value, "coverage": gain.coverage}

    def _measures(self, ranker: Ranker, gains: Gains) -> dict[str, float]:
        found = measured(gains, self._scores(ranker, gains), gains.gain)
        return {name: float(one.sum() / max(found.totals[name].sum(), 1e-12)) for name, one in found.sums.items()}

    def _against_production(self, chosen: Candidate, rows: Ints) -> tuple[GateResult, ...]:
        evidence, log = self.evidence, self.logs["judged"]
        gains = self._gains("judged")
        ours, theirs = (self._tops(one, "judged") for one in (chosen.ranker, evidence.production))
        weights = np.bincount(log.lists.query, minlength=len(ours)).astype(np.float64)[rows]
        compared = Compared(log, usable_lists(log), ours, theirs, evidence.frozen)
        scores = [self._scores(one, gains) for one in (chosen.ranker, evidence.production)]
        words = None if evidence.generation is None else word_terms(log, evidence.generation, gains, scores[1])
        gates: tuple[Callable[[], GateResult], ...] = (
            lambda: retention_gate(evidence, chosen, ours[rows], theirs[rows], weights, rows, self.thresholds),
            lambda: held_out_gate(gains, scores[0], scores[1], self.thresholds, seed=self.seed, words=words),
            lambda: gain_gate(compared, evidence.propensities, self.thresholds),
            lambda: slices_gate(compared, evidence.propensities, self.thresholds, evidence.fresh),
            lambda: system_gate(evidence, chosen, rows, self.thresholds),
        )
        results = []
        for number, gate in enumerate(gates):
            self.told("Gates", number, len(gates))
            results.append(gate())
        return tuple(results)

    def _tops(self, ranker: Ranker, part: Part) -> Ints:
        """(q, k) first products of every query that the lists of ``part`` ask; -1 elsewhere."""
        log = self.logs[part]
        rows = np.unique(log.lists.query).astype(np.int64)
        tops = np.full((len(log.asked.keys), min(self.depth, len(log.products))), -1, np.int64)
        tops[rows] = ranker.first(log.asked, rows, log.products, self.depth)
        return tops

    def _gains(self, part: Part) -> Gains:
        return known_gains(self.logs[part], self.evidence.propensities.of_rows(self.logs[part]))

    def _scores(self, ranker: Ranker, gains: Gains) -> Floats:
        return ranker.scores(self.evidence.log.asked, gains.query, gains.product, self.evidence.log.products)

    def _counts(self) -> Counts:
        log, judged = self.evidence.log, self.logs["judged"]
        served = log.lists.served
        of = summed(judged.list_of_rows(), judged.rows.satisfied, len(judged.lists.start))
        return Counts(
            days=float(served.max() - served.min()) / 86_400.0 if len(served) else 0.0,
            satisfied=int(np.count_nonzero(log.rows.satisfied)),
            judging=int(of.sum()),
            golden=len(self.evidence.golden.of("judged")),
            harvested=self.evidence.propensities.clicks,
            slices={name: int(of[one].sum()) for name, one in slices_of(judged, usable_lists(judged)).items()},
        )


_PARTS: tuple[Part, ...] = ("judged", "validation")


def _queries_of(evidence: Evidence, part: Part) -> NDArray[np.bool_]:
    """(q,) queries of a part that are ranked."""
    asked = evidence.log.asked
    own = np.flatnonzero(asked.parts() == part)
    chosen = np.zeros(len(asked.keys), np.bool_)
    if len(own) > MOST_QUERIES:
        hashes = [sha256(asked.keys[row].encode("utf-8", "surrogatepass")).digest() for row in own]
        own = own[sorted(range(len(own)), key=hashes.__getitem__)[:MOST_QUERIES]]
    chosen[own] = True
    return chosen


def _verdict(
    gates: Sequence[GateResult],
    arms: tuple[ArmResult, ...],
    chosen: str,
    waits: tuple[Wait, ...],
    hashes: dict[str, str],
) -> NightVerdict:
    """What the gates come to: live, a screening where nothing speaks against it but coverage, or nothing."""
    failed = [check for gate in gates for check in gate.failed]
    route: Route = "none"
    if chosen == NONE:
        sentence = f"No update tonight: {failed[0].why if failed else 'no arm does better than what is live.'}"
    elif not failed:
        route, sentence = "live", f"The arm {chosen} passed every gate."
    elif all(check.coverage_only for check in failed):
        route, sentence = "screen", f"The log alone cannot tell: {failed[0].why}"
    elif all(check.neutral for check in failed):
        sentence = "No update tonight: the interval includes 0."
    else:
        worst = [one for one in failed if not one.neutral and not one.coverage_only] or failed
        sentence = f"No update tonight: {worst[0].why}"
    return NightVerdict(route, chosen, sentence, tuple(gates), arms, waits, hashes)
