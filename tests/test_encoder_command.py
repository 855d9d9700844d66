"""``morelike encoder``: what it writes opens, and what it prints can be pasted."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.ml.encoder import load_encoder


def test_fetching_prints_the_setting_that_opens_what_was_written(named_source: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["encoder", "fetch", named_source, "--to", str(tmp_path / "here")])
    assert done.exit_code == 0, done.output
    setting = re.search(r"MORELIKE_ENCODER='(local-dir:.+)'", done.output)
    assert setting
    assert load_encoder(setting[1], device="cpu", threads=1).name.startswith("tiny-named:")


def test_fetching_goes_to_the_home_folder_unless_told_otherwise(
    named_source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORELIKE_HOME", str(tmp_path / "home"))
    assert CliRunner().invoke(app, ["encoder", "fetch", named_source]).exit_code == 0
    (written,) = (tmp_path / "home" / "encoders").iterdir()
    assert re.fullmatch(r"[\w.-]+", written.name)


def test_a_wrong_tag_is_one_sentence_and_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["encoder", "fetch", "ViT-B-32:nope"])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "open_clip knows no weights 'nope' for ViT-B-32" in said
    assert "Traceback" not in said
