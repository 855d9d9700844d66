"""`morelike evaluate feedback` from captions to the page."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from backend.cli import app
from backend.ml.encoder import Encoder
from backend.ml.summarizer import AttentiveSummarizer, SummarizerConfig, dump_summarizer


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve noisy pictures in a zip, two captions each; one of them is damaged."""
    folder = tmp_path_factory.mktemp("shelf")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "rows.zip", "w") as archive, (folder / "rows.jsonl").open("w") as rows:
        for number in range(12):
            data = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(data, "PNG")
            archive.writestr(f"{number}.png", data.getvalue() if number else b"damaged")
            captions = [f"thing {number} <b>", f"number {number} of a shelf"]
            rows.write(json.dumps({"image": f"{number}.png", "captions": captions}) + "\n")
    return folder


@pytest.fixture(scope="module")
def weights(shelf: Path, tiny_encoder: Encoder) -> Path:
    """An untrained summarizer of the tiny encoder."""
    torch.manual_seed(0)
    config = SummarizerConfig(tiny_encoder.word_width, tiny_encoder.layout.width, tiny_encoder.dim, 32, 2)
    (shelf / "untrained.safetensors").write_bytes(dump_summarizer(AttentiveSummarizer(config), tiny_encoder.id))
    return shelf / "untrained.safetensors"


def run(shelf: Path, encoder: Path, *more: str) -> Result:
    arguments = ["evaluate", "feedback", str(shelf / "rows.jsonl"), "--encoder", f"local-dir:{encoder}"]
    common = ["--device", "cpu", "--threads", "1", "--out", str(shelf / "out")]
    return CliRunner(env={"MORELIKE_HOME": str(shelf / "home")}).invoke(app, [*arguments, *common, *more])


def test_it_writes_tables_numbers_plots_and_a_page_that_needs_nothing_else(
    shelf: Path, tiny_encoder_dir: Path, weights: Path
) -> None:
    done = run(
        shelf, tiny_encoder_dir, "--summarizer", f"fresh={weights}", "--references", str(shelf / "rows.jsonl"),
        "--turns", "3", "--pictures", "1", "--study", "neighbors", "--protocol", "all",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads((shelf / "out" / "report.json").read_text())
    (every,) = report["protocols"]
    assert (every["queries"], every["items"], report["unreadable"]) == (22, 11, 1)
    assert {study["name"] for study in every["studies"]} == {"neighbors"}
    by_name = {(row["strategy"], row["turn"]): row for row in every["rows"]}
    assert by_name["none", 3]["mrr_5"] == by_name["none", 1]["mrr_5"]
    assert {"afs", "afs, images only", "explicit, averaged", "auto"} <= {name for name, _ in by_name}
    assert every["policies"]["afs"]["strategy"] == "afs"
    (cost,) = report["costs"]
    assert cost["parameters"] > 0
    assert cost["milliseconds"] > 0
    page = (shelf / "out" / "page.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page.split("</style>")[1]
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert (shelf / "out" / "1-turns.png").read_bytes().startswith(b"\x89PNG")
    assert (shelf / "out" / "1-neighbors.svg").is_file()
    assert "MRR@5" in done.output


def test_a_summarizer_of_another_encoder_is_refused(shelf: Path, tiny_encoder_dir: Path, weights: Path) -> None:
    from backend.ml.summarizer import load_network

    other = shelf / "other.safetensors"
    other.write_bytes(dump_summarizer(load_network(weights.read_bytes())[0], "another@0"))
    done = run(shelf, tiny_encoder_dir, "--summarizer", str(other))
    assert done.exit_code == 1
    damaged = shelf / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    assert run(shelf, tiny_encoder_dir, "--summarizer", str(damaged)).exit_code == 1


def test_a_study_that_is_not_there_is_named_with_those_that_are(shelf: Path, tiny_encoder_dir: Path) -> None:
    done = run(shelf, tiny_encoder_dir, "--study", "weather")
    assert done.exit_code == 1
