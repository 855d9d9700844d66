import json
from dataclasses import replace

import numpy as np
import pytest

from backend.ml.clicks.click_log import Part
from backend.ml.gates.data import data_gate
from backend.ml.gates.judge import judge_night
from backend.ml.gates.thresholds import Thresholds
from tests.ml.gates.planted import Night, night

# ten thousand lists are a quiet week of a small shop: its gates ask for less than the usual ones
SMALL = Thresholds(effective=300, heaviest=0.03, coverage=0.93)


@pytest.fixture(scope="module")
def pastel() -> Night:
    return night("pastel", lists=6000, seed=1)


def test_heads_that_are_truly_better_pass_every_gate(pastel: Night) -> None:
    better = pastel.candidates()["better"]
    assert pastel.truth(better.ranker) > pastel.truth(pastel.evidence.production) + 0.05
    found = judge_night(pastel.evidence, [better], SMALL)
    assert found.route == "live", found.reasons
    assert found.chosen == "better"
    assert [gate.id for gate in found.gates] == ["G0", "G1", "G2", "G3", "G4", "G5"]
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("name", ["same", "worse", "noise", "one product"])
def test_heads_that_are_not_better_never_go_live(pastel: Night, name: str) -> None:
    candidate = pastel.candidates()[name]
    assert pastel.truth(candidate.ranker) <= pastel.truth(pastel.evidence.production)
    found = judge_night(pastel.evidence, [candidate], SMALL)
    assert found.route == "none"
    assert found.sentence.startswith("No update tonight: ")


def test_of_several_arms_the_one_that_the_log_supports_is_judged(pastel: Night) -> None:
    arms = pastel.candidates()
    found = judge_night(pastel.evidence, [arms["worse"], arms["better"], arms["noise"]], SMALL)
    assert [arm.name for arm in found.arms if arm.chosen] == ["better"] == [found.chosen]
    assert found.arms[0].name == "none"


def test_what_moves_beyond_the_log_goes_to_a_screening_and_not_live(pastel: Night) -> None:
    found = judge_night(pastel.evidence, [pastel.candidates()["much better"]], SMALL)
    assert found.route == "screen", found.reasons
    gates = {gate.id: gate for gate in found.gates}
    assert {check.name for check in gates["G3"].failed} <= {"coverage of candidate", "heaviest click"}
    gain = next(check for check in gates["G3"].checks if check.name == "gain")
    assert gain.passed is None, "an estimate that is not defined is no verdict"


def test_shoppers_half_of_whom_mean_the_opposite_teach_nothing() -> None:
    found = night("inverted", lists=4000, seed=1)
    candidates = found.candidates()
    for name in ("worse", "noise"):
        verdict = judge_night(found.evidence, [candidates[name]], SMALL)
        assert verdict.route == "none", name
        assert "agreement with what is live" in {check.name for check in verdict.gates[0].failed}


def test_honest_clicks_agree_with_what_chose_the_list_and_need_not_with_the_encoder() -> None:
    found = night("fan", lists=4000, seed=2)
    checks = {check.name: check for check in data_gate(found.evidence, SMALL).checks}
    live, encoder = checks["agreement with what is live"], checks["agreement with the encoder"]
    assert live.passed
    assert live.found == pytest.approx(0.597, abs=0.03)
    assert encoder.passed is None, "told, and not asked"
    assert encoder.found == pytest.approx(0.494, abs=0.016)


def test_a_night_without_a_search_says_what_it_waits_for(pastel: Night) -> None:
    log = pastel.evidence.log
    empty = replace(pastel.evidence, log=log.only(np.zeros(len(log.lists.start), np.bool_)))
    found = judge_night(empty, [pastel.candidates()["better"]], Thresholds())
    assert found.route == "none"
    assert found.waits[0].to_json() == {"gate": "G0", "what": "satisfied clicks", "found": 0.0, "needed": 2000.0,
                                        "per_day": None}  # fmt: skip
    json.dumps(found.to_json(), allow_nan=False)


def test_lists_with_unknown_odds_vouch_for_nothing(pastel: Night) -> None:
    """Of phones nobody knows what else could have been shown: no estimate is no pass; without any odds nothing is."""
    log, better = pastel.evidence.log, pastel.candidates()["better"]
    phone = np.array([one.device == "mobile" for one in log.contexts])[log.lists.context][log.list_of_rows()]
    for unknown in (phone, np.ones_like(phone)):
        rows = replace(log.rows, p_show=np.where(unknown, np.float32(np.nan), log.rows.p_show))
        found = judge_night(replace(pastel.evidence, log=replace(log, rows=rows)), [better], SMALL)
        assert all(check.found is None or np.isfinite(check.found) for gate in found.gates for check in gate.checks)
        tested = [
            check.name for gate in found.gates if gate.id == "G4" for check in gate.checks if check.low is not None
        ]
        assert "device: mobile" not in tested
        assert bool(tested) != bool(unknown.all())


def test_the_same_evidence_gives_the_same_verdict(pastel: Night) -> None:
    better = pastel.candidates()["better"]
    one, other = (judge_night(pastel.evidence, [better], SMALL, seed=3).to_json() for _ in range(2))
    assert one == other


def test_clicks_of_queries_that_judge_do_not_decide_which_arm_is_judged(pastel: Night) -> None:
    """Turning all clicks of judged queries off changes the verdict, not the choice."""
    log = pastel.evidence.log
    judged = (log.asked.parts() == _JUDGED)[log.lists.query][log.list_of_rows()]
    silent = replace(
        log.rows,
        clicked=log.rows.clicked & ~judged,
        satisfied=log.rows.satisfied & ~judged,
        label=np.where(judged, np.float32(0), log.rows.label),
    )
    evidence = replace(pastel.evidence, log=replace(log, rows=silent))
    arms = list(pastel.candidates().values())
    found, quiet = judge_night(pastel.evidence, arms, SMALL), judge_night(evidence, arms, SMALL)
    assert found.arms == quiet.arms
    assert quiet.route == "none"


_JUDGED: Part = "judged"
