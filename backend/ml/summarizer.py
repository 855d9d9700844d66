"""A trained attentive feedback summarizer: kept as bytes, and asked for one search at a time on one core."""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from backend.ml.feedback.inputs import ItemTokens, Summary, Tokens
from backend.ml.image_tower import MIN_FIDELITY, computes_bf16
from backend.ml.packed_linear import HalvedLinear
from backend.ml.summarizer_network import STEER_STRENGTH, AttentiveSummarizer, SummarizerConfig, TokenBatch

__all__ = [
    "STEER_STRENGTH",
    "AttentiveSummarizer",
    "SummarizerConfig",
    "TokenBatch",
    "TokenSummarizer",
    "dump_summarizer",
    "load_network",
    "load_summarizer",
]

FORMAT = "morelike-summarizer-1"


class TokenSummarizer:
    """Summaries of single searches, the same numbers as the network's with fewer operations.

    Keys and values are never made: each query row goes through the key projection instead and meets the normalised
    tokens directly, and what it gathers goes through the value projection. A search has some 20 rows and hundreds of
    tokens, so that this halves the work.

    Args:
        network: is not changed.
        encoder_id: whose tokens it understands.
        precision: arithmetic of the linear layers; ``auto`` takes bf16 where the processor computes in it and random
            tokens keep their summary, else fp32. Norms, attention and sums are always fp32.

    Attributes:
        config: of the network.
        precision: arithmetic in use.
    """

    def __init__(
        self, network: AttentiveSummarizer, encoder_id: str, *, precision: Literal["auto", "fp32", "bf16"] = "fp32"
    ) -> None:
        self.encoder_id = encoder_id
        self.config = network.config
        self._network = copy.deepcopy(network).eval().requires_grad_(False)
        attention, norm = self._network.cross.attention, self._network.cross.norm
        heads, size = attention.heads, self.config.width // attention.heads
        key, value = attention.key_value.weight.chunk(2)
        # the gain of the norm goes into both projections; what its shift and the key's bias add to the logits of a
        # row is the same for every token, and the softmax does not see it
        self._key = (key * norm.weight).reshape(heads, size, -1) / size**0.5
        self._value = (value * norm.weight).reshape(heads, size, -1).transpose(1, 2).contiguous()
        self._shift = value @ norm.bias + attention.key_value.bias.chunk(2)[1]
        self.precision = "fp32"
        if precision == "bf16" or (precision == "auto" and computes_bf16()):
            self._halve(checked=precision == "auto")

    @torch.inference_mode()
    def summarize(self, tokens: Tokens, *, captions: bool = True, steer_strength: float = STEER_STRENGTH) -> Summary:
        """The summary of ``tokens``.

        Args:
            tokens: of the query, possibly none, and of the items; captions and pictures may be missing here and there.
            captions: False leaves the captions out.
            steer_strength: what a patch with a steer of 1 adds to the logits of the attention.

        Raises:
            ValueError: no item has a caption or a picture, or tokens of another width.
        """
        if not self.config.mask_padding:
            return self._with_filling(tokens, captions, steer_strength)
        words = [item.caption if captions else None for item in tokens.items]
        patches = [item.image for item in tokens.items]
        text, image = self.config.text_width, self.config.image_width
        keys = [*_projected(words, text, self._network.words), *_projected(patches, image, self._network.patches)]
        if not keys:
            raise ValueError("found tokens of no caption and no picture; expected some of either")
        rows = torch.cat([self._network.cls[0], *_projected([tokens.query], text, self._network.words)])
        steer = _steer(tokens, sum(map(len, keys)), steer_strength)
        vector, attention = self._attend(rows, torch.cat(keys), steer)
        ends = np.cumsum([_count(one) for one in (*words, *patches)])
        pieces = np.split(attention, ends[:-1])
        return Summary(vector, tuple(pieces[len(words) :]), tuple(pieces[: len(words)]))

    def _halve(self, *, checked: bool) -> None:
        """Compute linear layers in bf16; where ``checked``, only if random tokens keep their summary."""
        probe = _probe(self.config)
        exact, network = self.summarize(probe).vector, self._network
        self._network, self.precision = copy.deepcopy(network), "bf16"
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Linear):
                self._network.set_submodule(name, HalvedLinear(layer))
        halved = self.summarize(probe).vector
        # written so that a summary that is not a number fails
        if checked and not exact @ halved >= MIN_FIDELITY * np.linalg.norm(exact) * np.linalg.norm(halved):
            self._network, self.precision = network, "fp32"

    def _attend(
        self, rows: Tensor, keys: Tensor, steer: Tensor | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Rows (R, d) and keys (S, d) -> the summary (Dg,) and the attention (S,) that each key got."""
        cross, inner = self._network.cross, self._network.inner
        seen = nn.functional.layer_norm(keys, keys.shape[1:], eps=cross.norm.eps)
        query = cross.attention.query(rows).unflatten(1, (cross.attention.heads, -1)).transpose(0, 1)
        logits = (query @ self._key).flatten(0, 1) @ seen.T
        weights = (logits if steer is None else logits + steer).softmax(dim=1)
        gathered = (weights @ seen).unflatten(0, (cross.attention.heads, -1)) @ self._value
        rows = rows + cross.attention.out(gathered.transpose(0, 1).flatten(1) + self._shift)
        rows = (rows + cross.mlp(cross.mlp_norm(rows))).unsqueeze(0)
        normed = inner.norm(rows)
        first = inner(rows[:, :1], normed[:, :1], normed, rows.new_zeros(1, rows.shape[1]))
        return self._network.output(first[0, 0]).numpy(), weights.mean(dim=0).double().numpy()

    def _with_filling(self, tokens: Tokens, captions: bool, steer_strength: float) -> Summary:
        """As published weights were used; what filling got is counted for the token that it repeats."""
        batch = TokenBatch.of([tokens], captions=captions, steer_strength=steer_strength)
        vectors, attention = self._network.with_attention(batch)
        shapes = [None if mask is None else mask.shape[1:] for mask in (batch.caption_mask, batch.image_mask)]
        parts = torch.split(attention[0].double(), [0 if shape is None else shape.numel() for shape in shapes])
        counts = ([_count(item.caption) for item in tokens.items], [_count(item.image) for item in tokens.items])
        words, patches = (
            tuple(_folded(row, count) for row, count in zip(part.reshape(len(wanted), -1).numpy(), wanted, strict=True))
            for part, wanted in zip(parts, counts, strict=True)
        )
        return Summary(vectors[0].numpy(), patches, words)


def dump_summarizer(network: AttentiveSummarizer, encoder_id: str, *, precision: torch.dtype = torch.float16) -> bytes:
    """A safetensors file: the weights, and in its header the configuration and the encoder that they belong to."""
    weights = {name: weight.detach().cpu().to(precision).contiguous() for name, weight in network.state_dict().items()}
    stated = json.dumps({"encoder": encoder_id, "config": asdict(network.config)}, sort_keys=True)
    return save(weights, {FORMAT: stated})  # one string: the order of several is another in every process


def load_summarizer(data: bytes, *, precision: Literal["auto", "fp32", "bf16"] = "auto") -> TokenSummarizer:
    """What `dump_summarizer` wrote, to be asked on the CPU; ``precision`` as `TokenSummarizer` takes it.

    Raises:
        ValueError: the bytes are not such a file, or its weights do not fit its configuration.
    """
    return TokenSummarizer(*load_network(data), precision=precision)


def load_network(data: bytes) -> tuple[AttentiveSummarizer, str]:
    """The network that `dump_summarizer` wrote, in float32 on the CPU, and the id of its encoder.

    Raises:
        ValueError: the bytes are not such a file, or its weights do not fit its configuration.
    """
    stated = _header(data)
    try:
        config = SummarizerConfig(**stated["config"])
        with torch.device("meta"):  # every weight comes from the file: none is initialised first
            network = AttentiveSummarizer(config)
        weights = {name: weight.float() for name, weight in load(data).items()}
        network.load_state_dict(weights, assign=True)
        if not all(torch.isfinite(weight).all() for weight in weights.values()):
            raise ValueError("found weights that are not finite numbers; expected finite ones: the file is damaged")
        return network.eval(), str(stated["encoder"])
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"found {type(error).__name__}: {why}; expected the weights of a summarizer") from error


def _header(data: bytes) -> dict[str, Any]:
    """What a safetensors file states about itself: 8 bytes of length, then JSON whose values are strings."""
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return dict(json.loads(header["__metadata__"][FORMAT]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"found {type(error).__name__}; expected a safetensors file with {FORMAT}") from error


def _projected(lists: Sequence[NDArray[np.float32] | None], width: int, projection: nn.Module) -> list[Tensor]:
    """All rows of all lists through a projection, as one tensor; none where there are no rows."""
    present = [one for one in lists if one is not None and len(one)]
    if wrong := [one.shape for one in present if one.shape[1] != width]:
        raise ValueError(f"found tokens of shape {wrong[0]}; expected {width} numbers in each")
    return [projection(torch.from_numpy(np.concatenate(present)))] if present else []


def _probe(config: SummarizerConfig) -> Tokens:
    """Random tokens of five items, always the same."""
    numbers = np.random.default_rng(1)
    words, patches = (
        [numbers.standard_normal((count, width), dtype=np.float32) for _ in range(5)]
        for count, width in ((12, config.text_width), (20, config.image_width))
    )
    return Tokens(words[0], tuple(map(ItemTokens, patches, words)))


def _steer(tokens: Tokens, keys: int, strength: float) -> Tensor | None:
    """What is added to the logits of each key, (S,): pictures stand last; None where nothing is."""
    if all(item.steer is None for item in tokens.items):
        return None
    steers = [np.zeros(_count(item.image)) if item.steer is None else item.steer for item in tokens.items]
    for item, steer in zip(tokens.items, steers, strict=True):
        if len(steer) != _count(item.image):
            raise ValueError(f"found a steer of {len(steer)} patches; expected {_count(item.image)}, one a patch token")
    added = strength * torch.from_numpy(np.concatenate(steers)).float()
    return nn.functional.pad(added, (keys - len(added), 0))


def _count(tokens: NDArray[np.float32] | None) -> int:
    return 0 if tokens is None else len(tokens)


def _folded(attention: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The first ``count`` numbers, the last of them with all that follow."""
    kept = attention[:count].copy()
    kept[-1:] += attention[count:].sum()
    return kept
