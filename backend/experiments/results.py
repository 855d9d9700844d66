"""What an experiment came to: read from what its units did, judged, and kept with it."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from backend.errors import Conflict
from backend.experiments.comparison import by_slice, compare, ratio_of_units
from backend.experiments.metrics import primary_of
from backend.experiments.models import Experiment
from backend.experiments.result_schemas import ArmUnits, ExperimentResults, LooksRead, PreferenceRead
from backend.experiments.team_credit import TeamCredit, read_team_credit
from backend.experiments.unit_sums import Period, UnitSums, read_p95, read_unit_sums
from backend.experiments.verdicts import verdict_of_arms, verdict_of_draft
from backend.ml.statistics.interleaving import preference
from backend.ml.statistics.looks import LOOKS, boundaries

EVERY = timedelta(days=7)
"""Between two looks at the primary metric."""

SETTLED = timedelta(hours=24)
"""How long after the end of an experiment what belongs to it may still come."""

NEEDED = 2000
"""Shoppers with a preference after whom one between interleaved rankings is believed."""

LEVEL = 0.9
"""Of the intervals of a preference."""


class NeverRan(Conflict):
    """There is nothing to compare."""

    title = "Experiment never ran"


def results_of(
    session: Session, experiment: Experiment, *, needed: int = NEEDED, before: bool = True, decides: bool = False
) -> ExperimentResults:
    """Read what an experiment came to, and keep it; what was kept last where its lists are dropped already.

    What is kept of a trial that runs by itself is what decided about it, and when: whoever else looks leaves it alone.

    Args:
        session: the transaction.
        experiment: it runs, or ran.
        needed: units with a preference that an interleaved one is to have.
        before: whether units are compared with what they did before (CUPED): takes four weeks of lists more to read.
        decides: whether something is decided by this look.

    Raises:
        NeverRan: it was never started.
    """
    if experiment.started_at is None:
        raise NeverRan("an experiment has results once it has run", found=experiment.status, expected="running")
    if experiment.results.get("final"):
        return ExperimentResults.model_validate(experiment.results)
    began, now = time.monotonic(), datetime.now(UTC)
    until = experiment.ended_at or now
    period = Period(f"e{experiment.id}", experiment.layer, _names(experiment)[0], experiment.started_at, until, before)
    judged = _drafted if experiment.method == "interleave" else _divided
    told = {
        "experiment": period.name,
        "name": experiment.name,
        "method": experiment.method,
        "metric": experiment.metric,
        "status": experiment.status,
        "purpose": experiment.purpose,
        "since": period.since,
        "until": until,
        "days": (until - period.since) / timedelta(days=1),
        "final": experiment.ended_at is not None and now > until + SETTLED,
        "at": now,
        **judged(session, experiment, period, needed),
        "took_s": round(time.monotonic() - began, 3),
    }
    found = ExperimentResults.model_validate(told)
    if decides or found.final or not experiment.purpose:
        kept = found.model_dump(mode="json")
        session.execute(update(Experiment).where(Experiment.id == experiment.id).values(results=kept))
    return found


def _divided(session: Session, experiment: Experiment, period: Period, _needed: int) -> dict[str, Any]:
    """Of an experiment whose units have an arm each."""
    names, weights = _names(experiment), [arm["weight"] for arm in experiment.arms]
    read = read_unit_sums(session, period, names)
    rows, primary = read.only(read.left_out == ""), primary_of(experiment.metric)
    ratio = ratio_of_units(rows, weights)
    metrics = compare(rows, primary, read_p95(session, period, names))
    looks = _looks(session, experiment, period) if not experiment.purpose else None
    return {
        "arms": _arms(experiment, rows),
        "left_out": {why: len(set(read.unit[read.left_out == why])) for why in ("bots", "testers", "crossed")},
        "sample_ratio": ratio,
        "metrics": metrics,
        "slices": by_slice(rows, primary),
        "looks": looks,
        "interleaving": None,
        "verdict": verdict_of_arms(ratio, metrics, looks),
    }


def _drafted(session: Session, experiment: Experiment, period: Period, needed: int) -> dict[str, Any]:
    """Of an experiment whose units are shown both arms in each list."""
    credit = read_team_credit(session, period)
    read = _preference(experiment, credit, needed)
    share = 1 / len(experiment.arms)
    arms = [
        ArmUnits(name=name, generation=generation, units=credit.units, queries=credit.lists, expected_share=share)
        for name, generation in zip(_names(experiment), _generations(experiment), strict=True)
    ]
    return {
        "arms": arms,
        "left_out": credit.left_out,
        "sample_ratio": None,
        "metrics": [],
        "slices": [],
        "looks": None,
        "interleaving": read,
        "verdict": verdict_of_draft(read),
    }


def _preference(experiment: Experiment, credit: TeamCredit, needed: int) -> PreferenceRead:
    found = preference(credit.unit, credit.a, credit.b, level=LEVEL, tuned_for=needed)
    a, b = _names(experiment)
    known = found.units > 1
    interval = ("value", "low", "high", "any_time_low", "any_time_high")
    told = {name: getattr(found, name) if known else None for name in interval}
    same = {name: getattr(found, name) for name in ("units", "decided", "wins_a", "wins_b", "ties", "p")}
    return PreferenceRead.model_validate(
        {"a": a, "b": b, "lists": credit.lists, "needed": needed, "level": LEVEL, **same, **told}
    )


def _looks(session: Session, experiment: Experiment, period: Period) -> LooksRead:
    """Looks whose time has come, each at what was known then; those that were taken before are not taken again."""
    taken = min(LOOKS, int((period.until - period.since) / EVERY))
    known = (experiment.results.get("looks") or {}).get("z", [])
    values: list[dict[str, float | None]] = known[:taken]
    primary = primary_of(experiment.metric)
    for look in range(len(values) + 1, taken + 1):
        then = Period(**{**vars(period), "until": period.since + look * EVERY})
        read = read_unit_sums(session, then, _names(experiment))
        metric = compare(read.only(read.left_out == ""), primary, [None] * len(experiment.arms))[0]
        values.append({each.arm: each.z for each in metric.changes})
    arms, normal = len(experiment.arms) - 1, NormalDist()
    return LooksRead(
        planned=LOOKS,
        every_days=EVERY / timedelta(days=1),
        boundaries=list(boundaries()),
        factor=normal.inv_cdf(1 - 0.025 / arms) / normal.inv_cdf(0.975),
        z=values,
    )


def _arms(experiment: Experiment, rows: UnitSums) -> list[ArmUnits]:
    now = rows.only(~rows.before)
    whole = sum(arm["weight"] for arm in experiment.arms)
    return [
        ArmUnits(
            name=arm["name"],
            generation=generation,
            units=len(set(now.unit[now.arm == place])),
            queries=int(now.of("queries")[now.arm == place].sum()),
            expected_share=arm["weight"] / whole,
        )
        for place, (arm, generation) in enumerate(zip(experiment.arms, _generations(experiment), strict=True))
    ]


def _names(experiment: Experiment) -> list[str]:
    return [arm["name"] for arm in experiment.arms]


def _generations(experiment: Experiment) -> Sequence[str | None]:
    return [f"g{arm['generation_id']}" if arm["generation_id"] else None for arm in experiment.arms]
