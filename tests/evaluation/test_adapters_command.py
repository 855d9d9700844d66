"""`morelike evaluate adapters` from vectors to the page."""

import io
import json
import math
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from backend.cli import app
from backend.tracking import Tracker, TrackingUnavailable


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pairs of vectors, and a zip with the pictures of half of them."""
    folder = tmp_path_factory.mktemp("shelf")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(40, 12))
    texts = images + rng.normal(size=images.shape)
    titles = np.array([f"{'red' if row % 2 else 'striped'} thing {row} <b>" for row in range(40)])
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (images, texts)]
    np.savez(folder / "pairs.npz", image=unit[0], text=unit[1], id=np.arange(40), title=titles)
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for number in range(20):
            data = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(data, "PNG")
            archive.writestr(f"{number}.jpg", data.getvalue())
    return folder


def run(shelf: Path, *more: str) -> Result:
    arguments = ["evaluate", "adapters", str(shelf / "pairs.npz"), "--images", str(shelf / "pictures.zip")]
    common = ["--folds", "2", "--seeds", "1", "--threads", "1", "--set", "epochs=2", "--out", str(shelf / "out")]
    variables = {"MORELIKE_HOME": str(shelf / "home"), "COLUMNS": "80"}
    return CliRunner(env=variables).invoke(app, [*arguments, *common, *more])


def test_it_writes_tables_numbers_plots_and_a_page_that_needs_nothing_else(shelf: Path) -> None:
    done = run(
        shelf, "--retention", str(shelf / "pairs.npz"), "--method", "text", "--method", "probe", "--study", "scale",
        "--search", "1", "--pictures", "1",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads((shelf / "out" / "report.json").read_text())
    assert (report["queries"], report["gallery"], report["products"]) == (40, 40, 40)
    assert [row["name"] for row in report["rows"]] == ["zero-shot", "linear probe", "residual, text"]
    assert all(row["retention"] > 0 for row in report["rows"])
    types = {row["type"]: row["queries"] for row in report["types"]["residual, text"]}
    assert types == {"colour": 20, "pattern": 20, "noisy": 40}
    assert [study["name"] for study in report["studies"]] == ["scale"]
    assert report["search"]["trials"] == 1
    assert len((shelf / "out" / "trials.jsonl").read_text().splitlines()) == 1
    assert report["setting"]["adapter"]["epochs"] == 2
    page = (shelf / "out" / "page.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page.split("</style>")[1]
    assert 'src="http' not in page
    assert 'href="http' not in page
    for name in ("recall", "mrr", "drift", "scale", "types-1"):
        assert (shelf / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "R@10 gained, 95 %" in done.output


@pytest.mark.parametrize(
    "wrong",
    [
        ("--method", "magic"),
        ("--study", "weather"),
        ("--set", "rates=1"),
        ("--set", "rate=fast"),
        ("--set", "which=none"),
        ("--folds", "30"),
    ],
)
def test_what_cannot_be_measured_is_refused(shelf: Path, wrong: tuple[str, str]) -> None:
    assert run(shelf, *wrong).exit_code != 0


def test_retention_pairs_of_another_encoder_are_refused(shelf: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", image=np.eye(5), text=np.eye(5))
    done = run(shelf, "--retention", str(tmp_path / "other.npz"))
    assert done.exit_code != 0
    assert "another encoder" in done.output


class TestTracking:
    def test_a_row_becomes_a_run_in_a_store_of_mlflow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        mlflow = pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the lightest store; MLflow 3.7 asks to be told
        (tmp_path / "page.html").write_text("a page")
        store = f"file:{tmp_path / 'runs'}"
        Tracker(store, "adapters").log("residual, text", {"epochs": 2}, {"recall_10": 0.5, "spread": math.nan})
        Tracker(store, "adapters").log("report", {}, {}, files=tmp_path / "page.html")
        client = mlflow.MlflowClient(store)
        runs = client.search_runs([client.get_experiment_by_name("adapters").experiment_id])
        found = {run.info.run_name: run for run in runs}
        assert set(found) == {"residual, text", "report"}
        assert found["residual, text"].data.metrics == {"recall_10": 0.5}
        assert found["residual, text"].data.params == {"epochs": "2"}
        assert [file.path for file in client.list_artifacts(found["report"].info.run_id)] == ["page.html"]

    def test_a_store_that_takes_nothing_is_named(self) -> None:
        pytest.importorskip("mlflow")
        with pytest.raises(TrackingUnavailable, match="did not take"):
            Tracker("nowhere://at/all", "adapters")

    def test_without_mlflow_the_way_to_get_it_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "mlflow", None)
        with pytest.raises(TrackingUnavailable) as caught:
            Tracker("http://localhost:5000", "adapters")
        assert "morelike[mlflow]" in caught.value.sentence()
