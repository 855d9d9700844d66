"""What follows from the results of an experiment, in a sentence."""

from collections.abc import Sequence

from backend.experiments.result_schemas import (
    LooksRead,
    MetricRead,
    PreferenceRead,
    SampleRatioRead,
    Verdict,
)
from backend.ml.statistics.any_time import FEWEST


def verdict_of_arms(ratio: SampleRatioRead, metrics: Sequence[MetricRead], looks: LooksRead | None) -> Verdict:
    """Of arms that were compared: blocked before harm, harm before a decision at a look that was planned."""
    if not ratio.passed:
        said = f"The arms have other numbers of units than their weights say (p = {ratio.p:.2g}): nothing is compared."
        return Verdict(state="blocked", arm=None, sentence=said)
    for metric in metrics:
        for each in metric.changes:
            if each.harm is not None and each.harm.breached:
                found = f"{metric.title}: {each.arm} is worse than {each.against}"
                said = f"{found} by more than {each.harm.margin:.0%}, however often one looks."
                return Verdict(state="harm", arm=each.arm, sentence=said)
    return _at_looks(metrics[0], looks)


def verdict_of_draft(found: PreferenceRead) -> Verdict:
    """Of interleaved rankings: the any-time interval decides, B's win after ``needed`` units with a preference."""
    low, high = found.any_time_low, found.any_time_high
    enough = f"{found.decided:,} of {found.needed:,} shoppers with a preference"
    if low is None or high is None or found.units < FEWEST:
        return Verdict(state="undecided", arm=None, sentence=f"Not decided: {enough}.")
    interval = f"{found.value:+.3f} ({low:+.3f} to {high:+.3f})"
    if high < 0:
        return Verdict(state="worse", arm=found.b, sentence=f"Shoppers take from {found.a}: {interval}.")
    if low > 0 and found.decided >= found.needed:
        return Verdict(state="better", arm=found.b, sentence=f"Shoppers take from {found.b}: {interval}.")
    return Verdict(state="undecided", arm=None, sentence=f"Not decided: {interval}, {enough}.")


def _at_looks(primary: MetricRead, looks: LooksRead | None) -> Verdict:
    if looks is None:
        return Verdict(state="undecided", arm=None, sentence="No guardrail is breached.")
    for look, (values, boundary) in enumerate(zip(looks.z, looks.boundaries, strict=False), 1):
        crossed = [(arm, z) for arm, z in values.items() if z is not None and abs(z) > boundary * looks.factor]
        if crossed:
            arm, z = max(crossed, key=lambda one: abs(one[1]))
            better = (z > 0) == (primary.better == "higher")
            said = f"{primary.title}: {arm} is {'better' if better else 'worse'} (|z| {abs(z):.2f} at look {look})."
            return Verdict(state="better" if better else "worse", arm=arm, sentence=said)
    taken = len(looks.z)
    if taken >= looks.planned:
        said = f"{primary.title}: no difference was found in {looks.planned} looks."
        return Verdict(state="no_difference", arm=None, sentence=said)
    asks = looks.boundaries[taken] * looks.factor
    said = f"Not decided: look {taken + 1} of {looks.planned}, one every {looks.every_days:g} days, asks for |z| above"
    return Verdict(state="undecided", arm=None, sentence=f"{said} {asks:.2f}.")
