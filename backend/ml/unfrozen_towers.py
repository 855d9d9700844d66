"""Towers of an encoder in two parts: what stays frozen is computed once, last blocks and projection are trained.

A tower is put together here from parts that open_clip names. Whether that is what the model itself computes is proved
on the data before anything is trained; a tower for which it is not is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from backend.errors import Unprocessable
from backend.ml.dual_encoder import EncoderParts

Matrix = NDArray[np.float32]
Ints = NDArray[np.int64]
Progress = Callable[[str, int, int], None]

AT_ONCE = 64
TOLERANCE = 1e-4
"""Largest difference between the unit vectors of the parts and of the whole."""


class TowerNotDivisible(Unprocessable):
    """A tower that this cannot take apart, or not into these parts."""

    title = "Tower not divisible"


class TextTail(nn.Module):
    """The last blocks of a CLIP text tower, its final normalisation and its projection."""

    def __init__(self, tower: Any, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_last(tower.transformer.resblocks, blocks))
        self.norm = tower.ln_final
        self.projection = tower.text_projection
        self._mask = getattr(tower, "attn_mask", None)

    def forward(self, hidden: Tensor, ends: Tensor) -> Tensor:
        """Hidden states (n, L, w) and the position (n,) that is pooled -> vectors (n, d), not normalised."""
        length = hidden.shape[1]
        mask = None if self._mask is None else self._mask[:length, :length].to(hidden.device)
        for block in self.blocks:
            hidden = block(hidden, attn_mask=mask)
        return _projected(self.norm(hidden[torch.arange(len(hidden)), ends]), self.projection)


class ViTTail(nn.Module):
    """The last blocks of open_clip's vision transformer, its final normalisation and its projection."""

    def __init__(self, visual: Any, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_last(visual.transformer.resblocks, blocks))
        self.norm = visual.ln_post
        self.projection = visual.proj

    def forward(self, hidden: Tensor, ends: Tensor) -> Tensor:
        """Hidden states (n, Np, w) and the position (n,) that is pooled -> vectors (n, d), not normalised."""
        for block in self.blocks:
            hidden = block(hidden)
        return _projected(self.norm(hidden[torch.arange(len(hidden)), ends]), self.projection)


class ConvolutionTail(nn.Module):
    """The last stages of a timm network such as EfficientNet, and open_clip's projection behind it.

    Running statistics of batch normalisation stay as they are.
    """

    def __init__(self, visual: Any, blocks: int) -> None:
        super().__init__()
        trunk = visual.trunk
        self.blocks = nn.ModuleList(_last(trunk.blocks, blocks))
        self.widening, self.norm = trunk.conv_head, trunk.bn2
        self.projection = visual.head
        self._pool = trunk.forward_head

    def forward(self, grid: Tensor, ends: Tensor) -> Tensor:  # noqa: ARG002 - a grid is pooled as a whole
        """A grid (n, c, h, w) -> vectors (n, d), not normalised."""
        for block in self.blocks:
            grid = block(grid)
        vectors: Tensor = self.projection(self._pool(self.norm(self.widening(grid))))
        return vectors


@dataclass
class Side:
    """One tower over one set of inputs.

    Args:
        tail: what is trained; None where the tower stays as it is.
        hidden: (n, ...) what the tail begins from, a file that is read as it is needed; vectors (n, d) without a tail.
        ends: (n,) position that is pooled.
    """

    tail: nn.Module | None
    hidden: Matrix
    ends: Ints

    def vectors(self, rows: Ints, device: torch.device) -> Tensor:
        """Unit vectors (k, d) of the inputs ``rows`` as the tower now makes them."""
        hidden = torch.from_numpy(np.asarray(self.hidden[rows])).to(device)
        if self.tail is None:
            return hidden
        return functional.normalize(self.tail(hidden, torch.from_numpy(self.ends[rows]).to(device)), dim=1)

    def all_vectors(self, device: torch.device, rows: Ints | None = None) -> Matrix:
        """Unit vectors (k, d) of the inputs ``rows``, or of all."""
        rows = np.arange(len(self.hidden)) if rows is None else rows
        with torch.inference_mode():
            parts = [
                self.vectors(rows[start : start + AT_ONCE], device).cpu().numpy()
                for start in range(0, len(rows), AT_ONCE)
            ]
        return np.concatenate(parts)


def text_side(
    parts: EncoderParts, texts: Sequence[str], blocks: int | None, folder: Path, device: torch.device, told: Progress
) -> Side:
    """The text tower over ``texts``, its last ``blocks`` to be trained; 0 is its projection, None nothing.

    Raises:
        TowerNotDivisible: the tower is no causal transformer of open_clip that pools the end of the text.
    """
    model: Any = parts.model
    ids = parts.tokenizer(list(texts)).to(device)
    if blocks is None:
        return _frozen(lambda rows: model.encode_text(ids[torch.from_numpy(rows)]), len(texts), "Texts", told)
    tower = getattr(model, "text", model)
    pool = getattr(tower, "pool_type", None) or getattr(model, "text_pool_type", None)
    if pool != "argmax" or not hasattr(tower, "transformer") or getattr(tower, "cls_emb", None) is not None:
        raise TowerNotDivisible("This text tower cannot be unfrozen in part.", found=pool, expected="CLIP's own")
    ends, tail = ids.argmax(dim=1), TextTail(tower, blocks)
    ids = ids[:, : int(ends.max()) + 1]  # a causal tower: nothing behind the end reaches it, which is proved below
    early = tower.transformer.resblocks[: len(tower.transformer.resblocks) - blocks]

    def begin(rows: Ints) -> Tensor:
        some = ids[torch.from_numpy(rows)]
        hidden = tower.token_embedding(some) + tower.positional_embedding[: some.shape[1]]
        mask = None if tower.attn_mask is None else tower.attn_mask[: some.shape[1], : some.shape[1]].to(device)
        for block in early:
            hidden = block(hidden, attn_mask=mask)
        return torch.as_tensor(hidden)

    side = _begun(begin, tail, ends.cpu().numpy(), folder / "texts.npy", "Texts", told)
    with torch.inference_mode():
        _prove(side, model.encode_text(parts.tokenizer(list(texts[:AT_ONCE])).to(device)), device)
    return side


def image_side(
    parts: EncoderParts,
    pictures: "Pictures",
    blocks: int | None,
    folder: Path,
    device: torch.device,
    told: Progress,
) -> Side:
    """The image tower over ``pictures``, its last ``blocks`` to be trained; 0 is its projection, None nothing.

    Raises:
        TowerNotDivisible: the tower is neither open_clip's vision transformer with a class token nor one of timm's
            networks of convolutions in stages.
    """
    visual: Any = parts.model.visual

    def pixels(rows: Ints) -> Tensor:
        read = [parts.preprocess(pictures.picture(int(row))) for row in rows]
        return torch.stack(read).to(device)

    if blocks is None:
        return _frozen(lambda rows: visual(pixels(rows)), pictures.count, "Pictures", told)
    begin, tail = _divided(visual, blocks)
    ends = np.zeros(pictures.count, np.int64)  # the class token comes first
    side = _begun(lambda rows: begin(pixels(rows)), tail, ends, folder / "pictures.npy", "Pictures", told)
    with torch.inference_mode():
        _prove(side, visual(pixels(np.arange(min(AT_ONCE, pictures.count)))), device)
    return side


@dataclass(frozen=True)
class Pictures:
    """``count`` pictures, read one by one."""

    count: int
    picture: Callable[[int], Image.Image]


def _divided(visual: Any, blocks: int) -> tuple[Callable[[Tensor], Tensor], nn.Module]:
    """What stays frozen of an image tower, as a function of pixels, and its tail."""
    trunk = getattr(visual, "trunk", None)
    if trunk is not None and all(hasattr(trunk, part) for part in ("conv_stem", "bn1", "blocks", "conv_head", "bn2")):
        tail: nn.Module = ConvolutionTail(visual, blocks)
        early = trunk.blocks[: len(trunk.blocks) - blocks]
        return lambda pixels: early(trunk.bn1(trunk.conv_stem(pixels))), tail
    if trunk is None and hasattr(visual, "ln_post") and getattr(visual, "attn_pool", None) is None:
        tail = ViTTail(visual, blocks)
        last = len(visual.transformer.resblocks) - blocks - 1

        def begin(pixels: Tensor) -> Tensor:
            found = visual.forward_intermediates(
                pixels, indices=[last], stop_early=True, intermediates_only=True, output_fmt="NLC",
                output_extra_tokens=True,
            )  # fmt: skip
            return torch.cat([found["image_intermediates_prefix"][0], found["image_intermediates"][0]], dim=1)

        return begin, tail
    raise TowerNotDivisible(
        "This image tower cannot be unfrozen in part.",
        found=type(trunk or visual).__name__,
        expected="open_clip's vision transformer with a class token, or convolutions of timm in stages",
    )


@torch.inference_mode()
def _begun(begin: Callable[[Ints], Tensor], tail: nn.Module, ends: Ints, path: Path, what: str, told: Progress) -> Side:
    """A side whose frozen part was computed once, into the file ``path``."""
    count, written = len(ends), None
    for start in range(0, count, AT_ONCE):
        told(what, start, count)
        rows = np.arange(start, min(start + AT_ONCE, count))
        hidden = begin(rows).float().cpu().numpy()
        if written is None:
            written = open_memmap(path, "w+", np.float32, (count, *hidden.shape[1:]))
        written[rows] = hidden
    told(what, count, count)
    if written is None:
        raise TowerNotDivisible("There is nothing to learn from.", found=0, expected=f"{what.lower()}")
    written.flush()
    return Side(tail.eval(), np.load(path, mmap_mode="r"), ends)


@torch.inference_mode()
def _frozen(encode: Callable[[Ints], Tensor], count: int, what: str, told: Progress) -> Side:
    """A side that is encoded once and stays as it is."""
    parts = []
    for start in range(0, count, AT_ONCE):
        told(what, start, count)
        vectors = encode(np.arange(start, min(start + AT_ONCE, count)))
        parts.append(functional.normalize(vectors, dim=1).cpu().numpy())
    told(what, count, count)
    return Side(None, np.concatenate(parts), np.zeros(count, np.int64))


@torch.inference_mode()
def _prove(side: Side, whole: Tensor, device: torch.device) -> None:
    """Refuse a tower whose parts, put together, do not give what the whole does."""
    apart = side.vectors(np.arange(len(whole)), device) - functional.normalize(whole, dim=1)
    if not (most := float(apart.abs().max())) <= TOLERANCE:
        raise TowerNotDivisible(
            "The parts of this tower do not give its vectors.", found=most, expected=f"at most {TOLERANCE} apart"
        )


def _last(blocks: Any, count: int) -> list[nn.Module]:
    if not 0 <= count < len(blocks):
        raise TowerNotDivisible(
            "The tower does not have so many blocks to unfreeze.", found=count, expected=f"0 to {len(blocks) - 1}"
        )
    return list(blocks[len(blocks) - count :])


def _projected(pooled: Tensor, projection: Any) -> Tensor:
    if projection is None:
        return pooled
    vectors: Tensor = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
    return vectors
