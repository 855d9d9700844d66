"""The benchmark of nights, here on few products: its own main, a real night, every step of it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.nightly import held

ROOT = Path(__file__).resolve().parent.parent.parent.parent
STEPS = ["sessions", "propensities", "training", "gates", "build", "report"]


@pytest.mark.slow
def test_the_run_prints_what_each_step_of_a_night_cost() -> None:
    few = ["--impressions", "5000", "--products", "200", "--dim", "32"]
    command = [sys.executable, "-m", "benchmarks.nightly", *few]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "5,000 impressions in 500 lists, 200 products, 32 dimensions" in done.stdout
    rows = [
        [cell.strip() for cell in line.split("|")] for line in re.findall(r"^\| (\w.+) \|$", done.stdout, re.MULTILINE)
    ]
    found = {name: cells for name, *cells in rows if name not in ("step", "all")}
    assert [name for name in found if name != "flip"] == STEPS, "flip is left out by a night that changes nothing"
    assert "lists 500" in found["sessions"][-1]
    assert all(float(megabytes.replace(",", "")) > 10 for cells in found.values() for megabytes in cells[3:6])


def steps(seconds: float, megabytes: float) -> list[dict[str, Any]]:
    """A night of two steps, the second of no time that could be measured."""
    first = {"name": "training", "cpu": seconds, "postgres_cpu": 1.0, "held_mb": megabytes}
    return [first, {"name": "report", "cpu": 0.0, "postgres_cpu": 0.0, "held_mb": megabytes}]


@pytest.mark.parametrize(
    ("seconds", "megabytes", "kept"), [(99.0, 190.0, True), (130.0, 100.0, False), (99.0, 210.0, False)]
)
def test_time_may_grow_in_proportion_and_memory_twice(
    seconds: float, megabytes: float, kept: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert held({10_000: steps(9.0, 100.0), 100_000: steps(seconds, megabytes)}) is kept
    printed = capsys.readouterr().out
    assert "10 times the impressions" in printed
    assert f"| training | {(seconds + 1) / 10:.1f} | {megabytes / 100:.2f} |" in printed
    assert "| report | 1.0 |" in printed
