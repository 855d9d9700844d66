"""The acceptance run of GPU workers runs, here on the processor."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
def test_the_run_prints_its_tables_and_finds_each_picture_embedded_once(tiny_encoder_dir: Path) -> None:
    few = ["--batches", "8,16", "--workers", "1,2", "--count", "96", "--side", "64", "--batch", "8", "--threads", "1"]
    command = [sys.executable, "-m", "benchmarks.gpu", "--encoder", f"local-dir:{tiny_encoder_dir}", "--devices", "cpu"]
    done = subprocess.run([*command, *few], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = re.findall(r"^\| (\d+) \| .* \| ([\d +]+|-) \|$", done.stdout, re.MULTILINE)
    assert [size for size, _ in rows] == ["8", "16", "1", "2"]
    assert [sum(map(int, each.split("+"))) for _, each in rows[2:]] == [96, 96]


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from benchmarks import gpu

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="There is no GPU that torch can use"):
        gpu.main()
