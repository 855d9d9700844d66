"""`morelike train encoder`: written when it finds more and forgets nothing, refused with the reasons otherwise."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from backend.cli import app
from backend.ml.encoder import load_encoder
from tests.fixtures.encoders import TINY_CLIP, write_encoder

COLOURS = {
    "red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "white": (245, 245, 245),
    "black": (15, 15, 15), "yellow": (240, 220, 40), "pink": (240, 130, 180), "brown": (120, 70, 30),
}  # fmt: skip


def banners(folder: Path, captions: dict[str, tuple[str, str]]) -> Path:
    """Pictures of two stripes, each with a caption: JSON lines beside them."""
    folder.mkdir()
    lines = []
    for number, (caption, stripes) in enumerate(captions.items()):
        colours = np.array([[COLOURS[stripe]] for stripe in stripes], dtype=np.uint8)
        Image.fromarray(colours).resize((32, 32), Image.Resampling.NEAREST).save(folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "caption": caption}))
    path = folder / "captions.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command over banners whose captions name both stripes; nothing that could be forgotten."""
    place = tmp_path_factory.mktemp("banners")
    every = {f"{above} over {below}": (above, below) for above, below in product(COLOURS, COLOURS)}
    data, keep = banners(place / "data", every), banners(place / "keep", {"a flag": ("red", "white")})
    encoder = write_encoder(place / "tiny", TINY_CLIP)
    return ["train", "encoder", str(data), "--keep", str(keep), "--encoder", f"local-dir:{encoder}", "--threads", "1"]


def run(monkeypatch: pytest.MonkeyPatch, home: Path, *given: str) -> tuple[int, str]:
    monkeypatch.setenv("MORELIKE_HOME", str(home))
    found = CliRunner().invoke(app, [*given])
    return found.exit_code, found.output


def test_an_encoder_that_finds_more_is_written(
    told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "adapted"
    trained = ("--image-blocks", "1", "--rate", "2e-3", "--epochs", "60", "--batch", "45", "--pull", "0")
    code, said = run(monkeypatch, tmp_path, *told, *trained, "--out", str(out))
    assert code == 0, said
    assert f"morelike encoder switch local-dir:{out}" in said
    assert load_encoder(f"local-dir:{out}", device="cpu", threads=1).name == "adapted"
    assert not list(tmp_path.glob("unfreeze-*"))


def test_an_encoder_that_finds_no_more_is_not_written(
    told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "adapted"
    code, said = run(monkeypatch, tmp_path, *told, "--rate", "0", "--epochs", "1", "--out", str(out))
    assert code == 1
    assert "scaled to 0" in said
    assert not out.exists()
