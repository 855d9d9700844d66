"""Encoders on disk: a directory with a configuration, weights and a card, as open_clip's ``local-dir:`` opens it."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file

from backend.errors import Unavailable
from backend.ml.dual_encoder import EncoderCard, EncoderParts

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
CARD = "morelike_encoder.json"
"""File in an encoder directory that says its name, its vocabulary and what it knows."""


class EncoderUnavailableError(Unavailable, ValueError):
    """The encoder named cannot be had here: no such model, tag or directory, or no network."""

    title = "Encoder unavailable"

    def __str__(self) -> str:
        return f"{self.detail} Found: {self.found}. Expected: {self.expected}."


def require_free(directory: Path) -> None:
    """Refuse a place for an encoder where something is already.

    Raises:
        EncoderUnavailableError: the directory holds something, or is none.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise EncoderUnavailableError(
            f"{directory} is not free.", found="files", expected="an absent or empty directory"
        )


def place_encoder(parts: EncoderParts, model_config: dict[str, Any], directory: Path) -> Path:
    """Write an encoder into a free directory, which appears whole or not at all.

    Args:
        parts: the encoder.
        model_config: what open_clip makes its model of.
        directory: where to write.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".fetch-") as scratch:
        whole = Path(scratch) / "encoder"
        whole.mkdir()
        _write(parts, model_config, whole)
        whole.replace(directory)
    return directory


def _write(parts: EncoderParts, model_config: dict[str, Any], directory: Path) -> None:
    stated = cast(Any, parts.model.visual).preprocess_cfg
    preprocess = {key: stated[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    (directory / CONFIG).write_text(json.dumps({"model_cfg": model_config, "preprocess_cfg": preprocess}, indent=2))
    (directory / CARD).write_text(json.dumps(asdict(parts.card)))
    weights = {name: weight.cpu().contiguous() for name, weight in parts.model.state_dict().items()}
    save_file(weights, directory / WEIGHTS)
    if hasattr(parts.tokenizer, "save_pretrained"):  # SigLIP's vocabulary comes with the model, CLIP's with open_clip
        parts.tokenizer.save_pretrained(directory)


def read_card(directory: Path) -> EncoderCard:
    """What the directory says about itself; a plain open_clip directory is named after its folder."""
    path = directory / CARD
    if not path.is_file():
        return EncoderCard(name=directory.resolve().name)
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return EncoderCard(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise EncoderUnavailableError(
            f"{path} cannot be read.", found=text[:200], expected="name, bpe_merges, drawings_only as JSON"
        ) from error
