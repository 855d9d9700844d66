"""How often the gates are right, over worlds and seeds."""

from collections import Counter

import pytest

from backend.ml.gates.judge import judge_night
from backend.ml.gates.thresholds import Thresholds
from tests.ml.gates.planted import night

# a night of 4,000 lists
SMALL = Thresholds(satisfied=500, assumed=1.0, effective=200, heaviest=0.05, coverage=0.85)

WORTH = 0.005
"""A gain in NDCG@10 below this is none."""


def routes(world: str, seeds: range) -> Counter[tuple[bool, str]]:
    """(whether the heads are better, where they went) of every candidate of every night."""
    found = Counter[tuple[bool, str]]()
    for seed in seeds:
        one = night(world, lists=4000, seed=seed)
        before = one.truth(one.evidence.production)
        for candidate in one.candidates(seed).values():
            better = one.truth(candidate.ranker) > before + WORTH
            found[better, judge_night(one.evidence, [candidate], SMALL).route] += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("world", ["pastel", "fan", "cascade", "trust", "list"])
def test_better_heads_mostly_pass_and_others_never(world: str) -> None:
    found = routes(world, range(5))
    assert found[False, "live"] + found[False, "screen"] == 0
    assert found[True, "live"] + found[True, "screen"] >= 8  # of 10
    assert found[True, "live"] >= 4


@pytest.mark.slow
@pytest.mark.parametrize("world", ["inverted", "bots"])
def test_nothing_passes_on_clicks_that_nobody_means(world: str) -> None:
    found = routes(world, range(5))
    assert {route for _, route in found} == {"none"}


def test_programs_that_click_everything_teach_nothing() -> None:
    one = night("bots", lists=2000, seed=1)
    verdict = judge_night(one.evidence, [one.candidates()["better"]], SMALL)
    assert verdict.route == "none"
    assert "clicks on everything" in {check.name for check in verdict.gates[0].failed}
