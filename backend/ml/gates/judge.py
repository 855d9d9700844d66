"""The verdict of a night: the best arm by validation, judged on queries that nothing was trained or chosen on."""

from collections.abc import Callable, Sequence

import numpy as np

from backend.ml.clicks.click_log import Part
from backend.ml.gates.agreement import indiscriminate, within_caps
from backend.ml.gates.data import data_gate
from backend.ml.gates.evidence import Candidate, Curves, Evidence
from backend.ml.gates.held_out import PRIMARY, Gains, held_out_gate, known_gains, measured
from backend.ml.gates.rankers import Ranker
from backend.ml.gates.retention import DEPTH, retention_gate
from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import ArmResult, GateResult, NightVerdict, Route

Told = Callable[[str, int, int], None]
"""Told what is under way, and how much of how much is done."""

NONE = "none"
"""Name of the arm that is production itself."""


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
    return _Night(evidence, thresholds, seed, told).judge(candidates)


class _Night:
    """What several gates need, computed once."""

    def __init__(self, evidence: Evidence, thresholds: Thresholds, seed: int, told: Told) -> None:
        self.evidence, self.thresholds, self.seed, self.told = evidence, thresholds, seed, told
        log = evidence.log
        of = log.list_of_rows()
        self.theta = Curves.of(evidence.propensities, log).theta[log.lists.context[of], log.rows.position - 1]
        self.parts = log.asked.parts()
        self.counted = ~indiscriminate(log) & within_caps(log.lists.unit.astype(np.int64))

    def judge(self, candidates: Sequence[Candidate]) -> NightVerdict:
        log = self.evidence.log
        self.told("The data", 0, 1)
        query = log.lists.query[log.list_of_rows()].astype(np.int64)
        frozen = self.evidence.frozen.scores(log.asked, query, log.rows.product.astype(np.int64), log.products)
        gates = [data_gate(self.evidence, self.theta, frozen, self.thresholds)]
        arms, chosen = self._choose(candidates)
        if chosen is None or not gates[0].passed:
            return _verdict(gates, arms, NONE, neutral=chosen is None)
        gates += [*self._against_production(chosen)]
        return _verdict(gates, arms, chosen.name, neutral=False)

    def _choose(self, candidates: Sequence[Candidate]) -> tuple[tuple[ArmResult, ...], Candidate | None]:
        """Every arm on the queries that decide, production first; the best one, or None where that is production."""
        gains = self._gains("validation")
        golden = self.evidence.golden.of("validation")
        arms = [Candidate(NONE, self.evidence.production, 0.0), *candidates]
        results = []
        for number, arm in enumerate(arms):
            self.told("Arms", number, len(arms))
            found = measured(gains, self._scores(arm.ranker, gains), gains.gain)
            values = {name: float(one.sum() / max(found.totals[name].sum(), 1e-12)) for name, one in found.sums.items()}
            kept = golden.retention(self.evidence.frozen, arm.ranker).least
            results.append(ArmResult(arm.name, arm.gamma, values, kept))
        best = max(range(len(arms)), key=lambda place: (results[place].validation[PRIMARY], -place))
        results[best] = ArmResult(
            arms[best].name, arms[best].gamma, results[best].validation, results[best].retention, chosen=True
        )
        return tuple(results), None if best == 0 else arms[best]

    def _against_production(self, chosen: Candidate) -> tuple[GateResult, ...]:
        log, production = self.evidence.log, self.evidence.production
        gains = self._gains("judged")
        lists = np.bincount(log.lists.query[self.counted], minlength=len(self.parts)).astype(np.float64)
        rows = np.flatnonzero((self.parts == "judged") & (lists > 0))
        ours, theirs = (one.first(log.asked, rows, log.products, DEPTH) for one in (chosen.ranker, production))
        first = retention_gate(self.evidence, chosen, ours, theirs, lists[rows], rows, self.thresholds)
        second, _ = held_out_gate(
            gains,
            self._scores(chosen.ranker, gains),
            self._scores(production, gains),
            self.thresholds,
            seed=self.seed,
        )
        return first, second

    def _gains(self, part: Part) -> Gains:
        log = self.evidence.log
        chosen = self.counted & (self.parts == part)[log.lists.query]
        return known_gains(log.only(chosen), self.theta[chosen[log.list_of_rows()]])

    def _scores(self, ranker: Ranker, gains: Gains) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return ranker.scores(self.evidence.log.asked, gains.query, gains.product, self.evidence.log.products)


def _verdict(gates: Sequence[GateResult], arms: tuple[ArmResult, ...], chosen: str, *, neutral: bool) -> NightVerdict:
    """What the gates come to: live, a screening where nothing speaks against it but coverage, or nothing."""
    failed = [gate for gate in gates if gate.passed is not True]
    route: Route = "none"
    if chosen == NONE or neutral:
        sentence = "No update tonight: no arm does better than what is live."
        if failed:
            sentence = f"No update tonight: {failed[0].reasons[0]}"
        return NightVerdict("none", chosen, sentence, tuple(gates), arms)
    if not failed:
        route, sentence = "live", f"The arm {chosen} passed every gate."
    elif all(gate.coverage_only for gate in failed):
        route, sentence = "screen", f"Not known from the log alone: {failed[0].reasons[0]}"
    else:
        sentence = f"No update tonight: {failed[0].reasons[0]}"
    return NightVerdict(route, chosen, sentence, tuple(gates), arms)
