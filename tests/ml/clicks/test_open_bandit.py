"""Values of one policy from the log of another: by hand, and on the Open Bandit sample where it is at hand."""

import os
from pathlib import Path

import pytest

from benchmarks.open_bandit import campaigns, read

HEAD = "timestamp,item_id,position,click,propensity_score\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two products at one place. At random each is shown 10 times and clicked 1 and 4 times; the other policy shows
    the second in 3 of 4 cases and is clicked once in five on it, never on the first."""
    random = ["t,0,1,1,0.5"] + ["t,0,1,0,0.5"] * 9 + ["t,1,1,1,0.5"] * 4 + ["t,1,1,0,0.5"] * 6
    learned = ["t,0,1,0,0.25"] * 5 + ["t,1,1,1,0.75"] * 3 + ["t,1,1,0,0.75"] * 12
    for name, rows in (("random", random), ("bts", learned)):
        (tmp_path / f"{name}-men.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return tmp_path


def test_each_policy_is_valued_by_what_the_other_s_clicks_weigh(folder: Path) -> None:
    """Of the learned one: (1 * .25 + 4 * .75) / .5 / 20 = .325; of the random one: 3 * .5 / .75 / 20 = .1."""
    random, learned = campaigns(folder)
    assert (random.policy, learned.policy) == ("random", "bts")
    assert random.truth.value == pytest.approx(0.25)
    assert random.found["IPS"].value == pytest.approx(0.1)
    assert learned.truth.value == pytest.approx(0.15)
    assert learned.found["IPS"].value == pytest.approx(0.325)
    assert learned.found["SNIPS"].value == pytest.approx(0.325)
    assert learned.found["IPS"].coverage == pytest.approx(1.0)


def test_rows_are_read_as_they_are_written(folder: Path) -> None:
    shown = read(folder / "bts-men.csv")
    assert shown.place.tolist() == [0] * 20
    assert shown.chance[:6].tolist() == [0.25] * 5 + [0.75]
    assert shown.shares(2, 1).tolist() == [[0.25, 0.75]]


SAMPLE = Path(os.environ.get("OPEN_BANDIT_SAMPLE", "/nowhere"))


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="OPEN_BANDIT_SAMPLE names no folder")
def test_what_a_real_policy_earned_lies_where_the_other_s_log_says() -> None:
    """Every interval by SNIPS and DR meets that of the policy's own traffic; with a few dozen clicks, they are wide."""
    for one in campaigns(SAMPLE):
        for name in ("SNIPS", "DR"):
            found = one.found[name]
            assert found.low <= one.truth.high, (one.campaign, one.policy, name)
            assert one.truth.low <= found.high, (one.campaign, one.policy, name)
