"""Opening encoders: by open_clip's name and tag, from the hub or from a directory. The only importer of open_clip."""

import difflib
import gzip
import io
import json
import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors import SafetensorError
from torch import nn

from backend.ml.captioner import CocaCaptioner, NotACaptioner
from backend.ml.dual_encoder import Encoder, EncoderCard, EncoderParts, ImageFeatures, TextFeatures, hash_weights
from backend.ml.encoder_directory import (
    CONFIG,
    WEIGHTS,
    EncoderUnavailableError,
    place_encoder,
    read_card,
    require_free,
)
from backend.ml.image_tower import Precision

__all__ = [
    "Encoder",
    "EncoderCard",
    "EncoderSpec",
    "EncoderUnavailableError",
    "ImageFeatures",
    "TextFeatures",
    "build_model",
    "build_tokenizer",
    "cores",
    "fetch_encoder",
    "hash_weights",
    "load_encoder",
    "open_captioner",
    "open_parts",
    "require_free",
    "write_encoder",
]

_LOAD_ERRORS = (
    *(RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError, AssertionError, ImportError),
    *(SafetensorError, UnpicklingError),
)
"""What open_clip raises when a configuration, weights or the network are not as it needs them."""


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder: ``demo``, ``NAME:PRETRAINED`` of open_clip, ``hf-hub:ID`` or ``local-dir:PATH``."""

    source: str

    def directory(self, demo_dir: Path | None) -> Path | None:
        """The local directory meant, if one is."""
        if self.source == "demo":
            if demo_dir is None:
                raise EncoderUnavailableError(
                    "demo names no directory here.", found="demo", expected="a demo directory"
                )
            return demo_dir
        kind, _, rest = self.source.partition(":")
        return Path(rest).expanduser() if kind == "local-dir" else None

    @property
    def absolute(self) -> str:
        """The source as a process in another folder would write it."""
        kind, _, rest = self.source.partition(":")
        return f"local-dir:{Path(rest).expanduser().resolve()}" if kind == "local-dir" else self.source

    def name_and_tag(self) -> tuple[str, str | None]:
        """What open_clip's factory takes: a model name and, unless it comes from the hub, the tag of its weights."""
        if self.source.startswith("hf-hub:"):
            return self.source, None
        name, _, tag = self.source.partition(":")
        names = open_clip.list_models()
        if name not in names:
            raise EncoderUnavailableError(
                f"open_clip knows no model {name!r}.",
                found=self.source,
                expected=f"demo, local-dir:PATH, hf-hub:ID or NAME:PRETRAINED, {_nearest(name, names)}",
            )
        tags = open_clip.list_pretrained_tags_by_model(name)
        if tag not in tags and not Path(tag).is_file():
            raise EncoderUnavailableError(
                f"open_clip knows no weights {tag!r} for {name}." if tag else f"{name} alone names no weights.",
                found=self.source,
                expected=f"{name}:TAG, where TAG is a file of weights or one of {', '.join(tags) or 'none'}",
            )
        return name, tag


def load_encoder(
    source: str,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int = 0,
    demo_dir: Path | None = None,
) -> Encoder:
    """Open an encoder and check it on sample inputs.

    Args:
        source: ``demo``, ``NAME:PRETRAINED``, ``hf-hub:ID`` or ``local-dir:PATH``.
        device: ``auto`` takes a GPU where there is one; or ``cpu``, ``cuda``, ``cuda:N``.
        precision: arithmetic of the image tower; ``auto`` takes what the device is fast in.
        threads: torch threads of this process; 0 takes one per core that it may use.
        demo_dir: directory that ``demo`` stands for.

    Raises:
        EncoderUnavailableError: the model, its weights or the device cannot be had.
    """
    place = _device(device)
    torch.set_num_threads(threads or cores())
    return Encoder(_open(EncoderSpec(source), demo_dir), place, precision)


def open_captioner(
    source: str, *, device: str = "auto", precision: Precision = "auto", threads: int = 0
) -> CocaCaptioner:
    """Open a CoCa, which writes sentences about pictures.

    Args:
        source: ``NAME:PRETRAINED``, ``hf-hub:ID`` or ``local-dir:PATH``.
        device: ``auto`` takes a GPU where there is one; or ``cpu``, ``cuda``, ``cuda:N``.
        precision: arithmetic; ``auto`` is half precision on a GPU and fp32 elsewhere.
        threads: torch threads of this process; 0 takes one per core that it may use.

    Raises:
        EncoderUnavailableError: the model, its weights or the device cannot be had, or it writes no sentences.
    """
    place = _device(device)
    torch.set_num_threads(threads or cores())
    try:
        return CocaCaptioner(_open(EncoderSpec(source)), place, precision)
    except NotACaptioner as error:
        raise EncoderUnavailableError(
            f"{source} writes no captions.", found=str(error), expected="a CoCa, for instance coca_ViT-L-14"
        ) from error


def open_parts(source: str, *, demo_dir: Path | None = None) -> EncoderParts:
    """What an encoder is made of, in fp32 on the CPU, for who wants to train it.

    Raises:
        EncoderUnavailableError: the model or its weights cannot be had.
    """
    return _open(EncoderSpec(source), demo_dir)


def _open(spec: EncoderSpec, demo_dir: Path | None = None) -> EncoderParts:
    directory = spec.directory(demo_dir)
    if directory is not None:
        model = build_model(directory, pretrained=True)
        card = read_card(directory)
        return EncoderParts(model, build_tokenizer(directory), _preprocess(model), card, spec.absolute)
    name, tag = spec.name_and_tag()
    if tag is not None:
        _require_tokenizer(open_clip.get_model_config(name))  # before a download of its size
    try:
        model = open_clip.create_model(name, tag, require_pretrained=True, force_quick_gelu=_quick_gelu(name, tag))
        tokenizer = open_clip.get_tokenizer(name)
    except _LOAD_ERRORS as error:
        raise EncoderUnavailableError(
            f"{spec.source} cannot be loaded here.",
            found=f"{type(error).__name__}: {error}",
            expected="weights in the cache or a network to fetch them from; on a machine that has one, "
            f"`morelike encoder fetch {spec.source}` writes a directory to use as local-dir:PATH",
        ) from error
    short = name.removeprefix("hf-hub:").rpartition("/")[2]
    card = EncoderCard(name=short if tag is None else f"{short}:{Path(tag).name}")
    return EncoderParts(model.eval(), tokenizer, _preprocess(model), card, spec.absolute)


def fetch_encoder(source: str, directory: Path) -> Path:
    """Download an encoder into a directory of its own, which ``local-dir:`` then opens without a network.

    Args:
        source: ``NAME:PRETRAINED`` or ``hf-hub:ID``.
        directory: where to write; absent or empty. It appears whole or not at all.

    Raises:
        EncoderUnavailableError: the model or the network is missing, or the directory holds something.
    """
    require_free(directory)
    spec = EncoderSpec(source)
    name, tag = spec.name_and_tag()
    return place_encoder(_open(spec), _model_config(name, tag), directory)


def write_encoder(parts: EncoderParts, directory: Path, *, name: str, demo_dir: Path | None = None) -> Path:
    """Write an encoder whose weights were changed since it was opened, as :func:`fetch_encoder` writes one.

    Args:
        parts: the encoder.
        directory: where to write; absent or empty. It appears whole or not at all.
        name: what it is called from now on.
        demo_dir: directory that ``demo`` stands for.

    Raises:
        EncoderUnavailableError: the directory holds something.
    """
    require_free(directory)
    spec = EncoderSpec(parts.source)
    opened = spec.directory(demo_dir)
    if opened is not None:
        config = json.loads((opened / CONFIG).read_text(encoding="utf-8"))["model_cfg"]
    else:
        config = _model_config(*spec.name_and_tag())
    return place_encoder(replace(parts, card=replace(parts.card, name=name)), config, directory)


def _model_config(name: str, tag: str | None) -> dict[str, Any]:
    config: dict[str, Any] = open_clip.get_model_config(name)
    return config | {"quick_gelu": True} if _quick_gelu(name, tag) else config


def build_model(directory: Path, *, pretrained: bool) -> nn.Module:
    """The open_clip model that a local directory configures, in fp32, with its weights or freshly initialised."""
    if not (directory / CONFIG).is_file():
        raise EncoderUnavailableError(
            f"{directory} is no encoder directory.",
            found=sorted(path.name for path in directory.iterdir())[:10] if directory.is_dir() else "no such directory",
            expected=f"{CONFIG} and {WEIGHTS}",
        )
    try:
        model: nn.Module = open_clip.create_model(
            f"local-dir:{directory}", load_weights=pretrained, require_pretrained=pretrained, pretrained_text=False
        )
    except _LOAD_ERRORS as error:
        raise EncoderUnavailableError(
            f"{directory} does not hold a model that open_clip can load.",
            found=f"{type(error).__name__}: {error}",
            expected="a model_cfg of open_clip and weights that fit it",
        ) from error
    return model.train(not pretrained)


def build_tokenizer(directory: Path) -> Any:
    """The tokenizer of a local directory: open_clip's own, with as many merges as the card keeps."""
    kept = read_card(directory).bpe_merges
    config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))["model_cfg"]
    if kept is None:
        _require_tokenizer(config)
        return open_clip.get_tokenizer(f"local-dir:{directory}")
    # the installed file is a header and the merges, the most frequent first; the constructor opens with gzip what it
    # is given, and gzip opens a file in memory too
    with gzip.open(open_clip.tokenizer.default_bpe(), "rt", encoding="utf-8") as installed:
        lines = installed.read().split("\n")[: kept + 1]
    tokenizer = open_clip.SimpleTokenizer(
        bpe_path=io.BytesIO(gzip.compress("\n".join(lines).encode(), mtime=0)),
        context_length=config["text_cfg"].get("context_length", 77),
    )
    if tokenizer.vocab_size != config["text_cfg"]["vocab_size"]:
        raise EncoderUnavailableError(
            f"{directory}: tokenizer and model disagree on the vocabulary.",
            found=f"{tokenizer.vocab_size} tokens with {kept} merges",
            expected=f"{config['text_cfg']['vocab_size']} tokens",
        )
    return tokenizer


def _require_tokenizer(model_config: dict[str, Any]) -> None:
    """Models with a vocabulary of their own (SigLIP) need a package that CLIP does not."""
    named = {"hf_tokenizer_name", "hf_model_name"} & set(model_config["text_cfg"])
    if named and find_spec("transformers") is None:
        raise EncoderUnavailableError(
            "The tokenizer of this model needs the package transformers.",
            found="it is not installed",
            expected="the extra `siglip`: pip install '.[siglip]'",
        )


def _quick_gelu(name: str, tag: str | None) -> bool:
    """True where the weights were trained with the quick GELU (OpenAI's): without it a model is silently wrong."""
    return tag is not None and bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False))


def _preprocess(model: Any) -> Any:
    return image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or ["ViT-B-32", "ViT-B-16-SigLIP"]
    return f"for instance {', '.join(near)}"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EncoderUnavailableError("There is no GPU that torch can use.", found=wanted, expected="auto or cpu")
    return device
