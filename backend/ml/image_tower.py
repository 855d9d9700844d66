"""The image side of an encoder: pixels to vectors and patch tokens, in the arithmetic that fits the device."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from backend.ml.transfer import Staging

Precision = Literal["auto", "fp32", "bf16", "fp16"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MIN_FIDELITY = 0.999
"""Least cosine between a vector in reduced precision and the same vector in fp32."""


@dataclass(frozen=True)
class PatchLayout:
    """How the patch tokens of one image lie.

    Args:
        rows: patches from top to bottom.
        columns: patches from left to right; patches follow one another row by row.
        prefix: tokens before the first patch (1 where there is a CLS token).
        width: numbers in a token, Dv.
    """

    rows: int
    columns: int
    prefix: int
    width: int

    @property
    def count(self) -> int:
        """Tokens of one image, Np."""
        return self.prefix + self.rows * self.columns


class ImageTower:
    """An open_clip image tower that is never trained here.

    Args:
        visual: the tower, in fp32. It is taken over: moved, or dropped for a copy in another precision.
        device: where it runs.
        precision: arithmetic wanted; ``auto`` takes what the device is fast in.

    Attributes:
        precision: arithmetic in use after the fidelity check.
        note: why it is not the one wanted, or what the check measured.
        layout: how the patch tokens lie.
    """

    def __init__(self, visual: nn.Module, device: torch.device, precision: Precision) -> None:
        self.device = device
        self.image_size = _pair(getattr(visual, "image_size", 224))
        self._convolutional = _is_convolutional(visual)
        self.precision, self.note, self._visual = self._fastest_faithful(visual, precision)
        self._staging = Staging(device, DTYPES[self.precision])
        self.layout = self._find_layout()

    def stage(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pixels (3, h, w) of each -> (n, 3, h, w) where the tower runs; safe in other threads."""
        return self._staging.put(pictures)

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) -> projected vectors (n, d), float32, not normalised."""
        pooled = self._visual(self._moved(pixels))
        return _first(pooled).float()

    @torch.inference_mode()
    def encode_with_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, h, w) -> projected vectors (n, d) and patch tokens (n, Np, Dv), both float32."""
        pooled, tokens = _vectors_and_tokens(self._visual, self._moved(pixels))
        return pooled.float(), tokens.float()

    def _moved(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(self.device, DTYPES[self.precision])
        return pixels.contiguous(memory_format=torch.channels_last) if self._convolutional else pixels

    def _fastest_faithful(self, visual: nn.Module, precision: Precision) -> tuple[str, str, nn.Module]:
        """The first precision of the candidates whose vectors agree with fp32, and the tower in it."""
        reference = self._placed(visual, "fp32")
        candidates = _candidates(self.device) if precision == "auto" else (precision,)
        notes = []
        for candidate in candidates:
            if candidate == "fp32":
                break
            reduced = self._placed(copy.deepcopy(visual), candidate)
            fidelity = self._fidelity(reference, reduced, candidate)
            notes.append(f"{candidate}: least cosine to fp32 {fidelity:.5f}")
            if fidelity >= MIN_FIDELITY:
                return candidate, notes[-1], reduced
            notes[-1] += f", below {MIN_FIDELITY}"
        return "fp32", "; ".join(notes) or "fp32, with which nothing is lost", reference

    def _placed(self, visual: nn.Module, precision: str) -> nn.Module:
        tower = visual.to(self.device, DTYPES[precision]).eval().requires_grad_(False)
        return tower.to(memory_format=torch.channels_last) if self._convolutional else tower

    def _fidelity(self, reference: nn.Module, reduced: nn.Module, precision: str) -> float:
        pixels = _probe(self.image_size).to(self.device)
        with torch.inference_mode():
            exact = _first(reference(pixels)).float()
            rounded = _first(reduced(pixels.to(DTYPES[precision]))).float()
        least = torch.cosine_similarity(exact, rounded).min().item()
        return 0.0 if math.isnan(least) else least  # not a number where the reduced tower overflowed

    def _find_layout(self) -> PatchLayout:
        with torch.inference_mode():
            _, tokens = self.encode_with_tokens(_probe(self.image_size)[:1])
        count, width = int(tokens.shape[1]), int(tokens.shape[2])
        rows, columns = _grid(self._visual, count, self.image_size)
        return PatchLayout(rows=rows, columns=columns, prefix=count - rows * columns, width=width)


def _candidates(device: torch.device) -> Sequence[str]:
    if device.type == "cuda":
        return ("fp16", "bf16")
    if device.type == "cpu" and computes_bf16():
        return ("bf16",)
    return ("fp32",)


def computes_bf16() -> bool:
    """True where the processor multiplies bf16 natively; elsewhere it is emulated and slower than fp32."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))


def _vectors_and_tokens(visual: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Projected vectors and the tokens they are pooled from.

    A timm trunk ends in its own normalisation and a head (SigLIP: after post-LN, no CLS; convolutions: the grid as
    rows). The other towers give the last hidden state before post-LN and projection, CLS first where there is one.
    """
    trunk = getattr(visual, "trunk", None)
    if trunk is not None:
        features = trunk.forward_features(pixels)
        return visual.head(trunk.forward_head(features)), _rows(features, trunk.num_features)
    if _is_convolutional(visual):
        output = visual.forward_intermediates(pixels, indices=1)
        return output["image_features"], _rows(output["image_intermediates"][-1], None)
    output = visual.forward_intermediates(pixels, indices=1, output_fmt="NLC", output_extra_tokens=True)
    tokens = [output["image_intermediates_prefix"][-1], output["image_intermediates"][-1]]
    return output["image_features"], torch.cat(tokens, dim=1)


def _rows(features: Tensor, channels: int | None) -> Tensor:
    """(n, Np, Dv), whether the features came as rows, as (n, Dv, h, w) or as (n, h, w, Dv)."""
    if features.ndim == 3:
        return features
    if channels is not None and features.shape[1] != channels:
        return features.flatten(1, 2)
    return features.flatten(2).transpose(1, 2)


def _is_convolutional(visual: nn.Module) -> bool:
    """True for towers made of convolutions beyond the one that cuts the patches."""
    return sum(isinstance(module, nn.Conv2d) for module in visual.modules()) > 1


def _grid(visual: nn.Module, count: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the patches: what the tower says, else the largest grid of the picture's shape."""
    stated = getattr(visual, "grid_size", None)
    if stated is None and hasattr(visual, "trunk"):
        stated = getattr(getattr(visual.trunk, "patch_embed", None), "grid_size", None)
    if stated is not None and 0 <= count - stated[0] * stated[1] <= 8:
        return int(stated[0]), int(stated[1])
    height, width = image_size
    rows = math.isqrt(count * height // width)
    return rows, count // rows


def _probe(image_size: tuple[int, int]) -> Tensor:
    """Four pictures (4, 3, h, w) as towers see them: smooth shapes with some noise, always the same."""
    height, width = image_size
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(4, 3, 4, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return smooth + 0.1 * torch.randn(4, 3, height, width, generator=generator)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The vectors of a tower that may also return tokens (CoCa)."""
    return output if isinstance(output, Tensor) else output[0]
