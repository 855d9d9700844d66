"""The attentive feedback summarizer (arXiv 2511.17255, section 3.3): tokens of a query and of items to a vector.

A learned row and the words of the query attend over the words of the items' captions and the patches of their pictures;
a second block attends among the rows; the learned row becomes the summary. No positions, item ranks or modalities are
marked, so items may stand in any order and be any number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backend.ml.feedback.inputs import Tokens

STEER_STRENGTH = 5.0
"""What a patch inside a box adds to the logits of its attention: λ of appendix G."""


@dataclass(frozen=True)
class SummarizerConfig:
    """Sizes of a summarizer.

    Args:
        text_width: width of a word token, Dt.
        image_width: width of a patch token, Dv.
        output_width: width of the encoder's vectors, Dg.
        width: width inside, d.
        heads: attention heads; they divide the width.
        mlp_ratio: width of the hidden layer of an MLP over ``width``.
        mask_padding: False reproduces published weights, which saw padding: queries and captions are then filled up to
            the longest of their batch by their last token, and the filling takes part.
    """

    text_width: int
    image_width: int
    output_width: int
    width: int = 768
    heads: int = 12
    mlp_ratio: int = 4
    mask_padding: bool = True

    def __post_init__(self) -> None:
        sizes = (self.text_width, self.image_width, self.output_width, self.width, self.heads, self.mlp_ratio)
        if min(sizes) < 1 or self.width % self.heads:
            raise ValueError(f"found {self}; expected sizes of at least 1, and heads that divide the width")

    @classmethod
    def for_encoder(cls, text_width: int, image_width: int, output_width: int) -> Self:
        """The published sizes for CLIP and SigLIP, and like proportions for other encoders."""
        width = max(text_width, min(image_width, 768))
        large = width > 1024
        heads = 16 if large else max(1, width // 64)
        return cls(text_width, image_width, output_width, width - width % heads, heads, 2 if large else 4)


@dataclass(frozen=True)
class TokenBatch:
    """Tokens of B searches, filled up to the longest; masks are True where a token is.

    Args:
        query: (B, Lq, Dt) and its mask (B, Lq).
        captions: (B, K, Lc, Dt) and its mask (B, K, Lc), or None.
        images: (B, K, Np, Dv) and its mask (B, K, Np), or None.
        steer: (B, K, Np), added to the logits of the attention that patches get, or None.
    """

    query: Tensor
    query_mask: Tensor
    captions: Tensor | None = None
    caption_mask: Tensor | None = None
    images: Tensor | None = None
    image_mask: Tensor | None = None
    steer: Tensor | None = None

    @classmethod
    def of(
        cls, samples: Sequence[Tokens], *, captions: bool = True, steer_strength: float = STEER_STRENGTH
    ) -> "TokenBatch":
        """One batch of many searches' tokens, on the CPU in float32.

        Args:
            samples: at least one; each with a caption or a picture.
            captions: False leaves the captions out.
            steer_strength: what a patch with a steer of 1 adds to the logits.
        """
        query, query_mask = _filled([sample.query for sample in samples])
        words = _stacked([[item.caption if captions else None for item in sample.items] for sample in samples])
        patches = _stacked([[item.image for item in sample.items] for sample in samples])
        steered = any(item.steer is not None for sample in samples for item in sample.items)
        steer = torch.zeros(patches[1].shape) if steered and patches else None
        for row, sample in enumerate(samples if steer is not None else ()):
            for column, item in enumerate(sample.items):
                if item.steer is not None and steer is not None:
                    steer[row, column, : len(item.steer)] = steer_strength * torch.from_numpy(item.steer)
        held = (None, None)
        (word, word_mask), (patch, patch_mask) = words or held, patches or held
        return cls(query, query_mask, word, word_mask, patch, patch_mask, steer)

    def to(self, device: torch.device) -> "TokenBatch":
        """The same batch on a device."""
        moved = {name: part.to(device, non_blocking=True) for name, part in vars(self).items() if part is not None}
        return replace(self, **moved)


class AttentiveSummarizer(nn.Module):
    """The network; a learned row, two blocks, no dropout.

    Args:
        config: its sizes.
    """

    def __init__(self, config: SummarizerConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Linear(config.text_width, config.width)
        self.patches = nn.Linear(config.image_width, config.width)
        self.cls = nn.Parameter(torch.empty(1, 1, config.width))
        self.cross = AttentionBlock(config, 1)
        self.inner = AttentionBlock(config, 2)
        self.output = nn.Linear(config.width, config.output_width)
        nn.init.trunc_normal_(self.cls, std=0.02)

    def forward(self, batch: TokenBatch) -> Tensor:
        """Summaries (B, Dg), not normalised.

        Raises:
            ValueError: the batch has neither captions nor images.
        """
        return self._summaries(batch)[0]

    def with_attention(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Summaries (B, Dg) and the attention (B, K·Lc + K·Np) that captions, then images got.

        Attention is the mean over heads and query rows: each row of it sums to 1.
        """
        summaries, (rows, row_mask, keys, bias) = self._summaries(batch)
        weights = self.cross.attention.weights(rows, self.cross.norm(keys), bias).mean(dim=1)
        counted = row_mask.unsqueeze(2)
        return summaries, (weights * counted).sum(dim=1) / counted.sum(dim=1)

    def _summaries(self, batch: TokenBatch) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        rows, row_mask = self._rows(batch)
        keys, bias = self._keys(batch)
        mixed = self.cross(rows, rows, self.cross.norm(keys), bias)
        normed = self.inner.norm(mixed)
        # only the learned row is read from the second block, so only it is computed there
        first = self.inner(mixed[:, :1], normed[:, :1], normed, _bias_of(row_mask, normed.dtype))
        return self.output(first[:, 0]), (rows, row_mask, keys, bias)

    def _rows(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        rows = torch.cat([self.cls.expand(len(batch.query), -1, -1), self.words(batch.query)], dim=1)
        mask = torch.nn.functional.pad(batch.query_mask, (1, 0), value=True)
        return rows, mask if self.config.mask_padding else torch.ones_like(mask)

    def _keys(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """What is attended over, (B, S, d), and what is added to its logits, (B, S)."""
        keys, biases = [], []
        if batch.captions is not None and batch.caption_mask is not None:
            mask = batch.caption_mask
            if not self.config.mask_padding:
                mask = mask.any(dim=2, keepdim=True).expand_as(mask)
            keys.append(self.words(batch.captions).flatten(1, 2))
            biases.append(_bias_of(mask.flatten(1), keys[0].dtype))
        if batch.images is not None and batch.image_mask is not None:
            keys.append(self.patches(batch.images).flatten(1, 2))
            bias = _bias_of(batch.image_mask.flatten(1), keys[0].dtype)
            biases.append(bias if batch.steer is None else bias + batch.steer.flatten(1).to(bias.dtype))
        if not keys:
            raise ValueError("found tokens of no caption and no picture; expected some of either")
        return torch.cat(keys, dim=1), torch.cat(biases, dim=1)


class AttentionBlock(nn.Module):
    """Attention and an MLP, each added to what came in.

    Args:
        config: its sizes.
        depth: from 1; what its branches add is scaled by 1/sqrt(2·depth) at the start of training.
    """

    def __init__(self, config: SummarizerConfig, depth: int) -> None:
        super().__init__()
        width, hidden = config.width, config.width * config.mlp_ratio
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, config.heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        last = self.mlp[2]
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
                if layer in (self.attention.out, last):
                    layer.weight.data.div_(math.sqrt(2 * depth))

    def forward(self, rows: Tensor, queries: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
        """Rows (B, R, d), with what ``queries`` (B, R, d) find in ``keys`` (B, S, d) added, then the MLP of that."""
        rows = rows + self.attention(queries, keys, bias)
        mixed: Tensor = rows + self.mlp(self.mlp_norm(rows))
        return mixed


class Attention(nn.Module):
    """Multi-head attention with biases in every projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
        """(B, R, d) over (B, S, d) with (B, S) added to the logits -> (B, R, d)."""
        key, value = self.key_value(keys).chunk(2, dim=2)
        query, key, value = (self._by_head(part) for part in (self.query(queries), key, value))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias[:, None, None, :])
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def weights(self, queries: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
        """The softmax over keys, (B, H, R, S)."""
        query = self._by_head(self.query(queries))
        key = self._by_head(self.key_value(keys).chunk(2, dim=2)[0])
        logits = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
        return (logits + bias[:, None, None, :]).softmax(dim=3)

    def _by_head(self, rows: Tensor) -> Tensor:
        return rows.view(*rows.shape[:2], self.heads, -1).transpose(1, 2)


def _bias_of(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a token is and minus infinity elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))


def _filled(rows: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Token lists (L_i, D) -> (n, L, D), each filled up by its last token, and the mask (n, L)."""
    length, width = max(len(one) for one in rows), max(one.shape[1] for one in rows)
    filled = np.zeros((len(rows), length, width), np.float32)
    mask = np.zeros((len(rows), length), bool)
    for index, one in enumerate(rows):
        filled[index, : len(one)] = one
        if len(one):
            filled[index, len(one) :] = one[-1]
        mask[index, : len(one)] = True
    return torch.from_numpy(filled), torch.from_numpy(mask)


def _stacked(items: Sequence[Sequence[NDArray[np.float32] | None]]) -> tuple[Tensor, Tensor] | None:
    """Tokens by search and item, None where an item has none -> (B, K, L, D) and its mask; None where nothing is."""
    present = [one for row in items for one in row if one is not None]
    if not present:
        return None
    nothing = np.zeros((0, present[0].shape[1]), np.float32)
    most = max(len(row) for row in items)
    flat = [nothing if one is None else one for row in items for one in (*row, *[None] * (most - len(row)))]
    filled, mask = _filled(flat)
    shape = (len(items), most, -1)
    return filled.view(*shape, filled.shape[2]), mask.view(shape)
