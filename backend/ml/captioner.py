"""Sentences about pictures: beam search over a CoCa, whose decoder reads the picture while it writes the words."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from backend.ml.dual_encoder import EncoderParts
from backend.ml.image_tower import DTYPES, Precision

BEAMS = 3
MOST_TOKENS = 24
LEAST_TOKENS = 4
"""A caption's tokens, the end left out."""

MIN_FIDELITY = 0.999
"""Least cosine between scores of words in reduced precision and in fp32."""


class NotACaptioner(ValueError):
    """The model has no decoder of text, or its tokenizer cannot turn ids into words."""


class CocaCaptioner:
    """A frozen CoCa.

    Args:
        parts: an open_clip CoCa in fp32 with its tokenizer; the model is taken over.
        device: where it runs.
        precision: arithmetic wanted; ``auto`` is half precision on a GPU and fp32 elsewhere.

    Attributes:
        precision: arithmetic in use, after a check against fp32.
        batch: pictures captioned at a time that fit the device.

    Raises:
        NotACaptioner: it is a model of another kind.
    """

    def __init__(self, parts: EncoderParts, device: torch.device, precision: Precision = "auto") -> None:
        model: Any = parts.model
        if not hasattr(model, "text_decoder") or not hasattr(parts.tokenizer, "eot_token_id"):
            raise NotACaptioner(f"found {type(model).__name__}; expected a CoCa of open_clip with its own tokenizer")
        self._tokenizer = parts.tokenizer
        self._preprocess = parts.preprocess
        self._device = device
        self._start, self._end = int(parts.tokenizer.sot_token_id), int(parts.tokenizer.eot_token_id)
        self._longest = min(MOST_TOKENS, int(model.context_length) - 1)
        self._model: Any = model.to(device).eval().requires_grad_(False)
        self.precision = "fp32"
        self._reduce(_wanted(precision, device))
        self.batch = 64 if device.type == "cuda" else 4

    @torch.inference_mode()
    def caption(self, images: Sequence[Image.Image]) -> list[str]:
        """One sentence for each of n images (RGB), in lower case as CoCa writes."""
        pixels = torch.stack([self._preprocess(image) for image in images])
        if self._device.type == "cuda":
            pixels = pixels.pin_memory().to(self._device, non_blocking=True)
        _, patches = self._model.visual(pixels.to(self._device, DTYPES[self.precision]))
        found = beam_search(
            lambda rows, words: self._scores(patches[rows], words),
            len(images),
            start=self._start,
            end=self._end,
            beams=BEAMS,
            least=min(LEAST_TOKENS, self._longest),
            most=self._longest,
            device=self._device,
        )
        return [self._tokenizer.decode(words).strip() for words in found]

    def _scores(self, patches: Tensor, words: Tensor) -> Tensor:
        """(n, p, d) patches and (n, l) word ids -> log probabilities (n, vocabulary) of the next word, float32."""
        _, states = self._model.text(words)
        logits = self._model.text_decoder(patches, states)[:, -1]
        return torch.log_softmax(logits.float(), dim=-1)

    def _reduce(self, precision: str) -> None:
        if precision == "fp32":
            return
        exact = self._probe()
        full, self._model = self._model, copy.deepcopy(self._model).to(DTYPES[precision])
        self.precision = precision
        if not torch.cosine_similarity(exact, self._probe()).min().item() >= MIN_FIDELITY:  # false for "not a number"
            self._model, self.precision = full, "fp32"

    @torch.inference_mode()
    def _probe(self) -> Tensor:
        """Scores of the first word about four pictures of noise, always the same."""
        noise = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        images = [Image.fromarray((one.permute(1, 2, 0) * 255).byte().numpy()) for one in noise]
        pixels = torch.stack([self._preprocess(image) for image in images])
        _, patches = self._model.visual(pixels.to(self._device, DTYPES[self.precision]))
        return self._scores(patches, torch.full((4, 1), self._start, device=self._device))


def beam_search(
    scores: Callable[[Tensor, Tensor], Tensor],
    count: int,
    *,
    start: int,
    end: int,
    beams: int,
    least: int,
    most: int,
    device: torch.device,
) -> list[list[int]]:
    """The likeliest sentence for each of ``count`` subjects, by mean log probability a word.

    Args:
        scores: (rows (m,), words (m, l)) -> log probabilities (m, vocabulary) of the next word of each subject row.
        count: subjects, n.
        start: id that opens every sentence.
        end: id that closes one; not part of what is returned.
        beams: sentences kept of each subject at every length, b.
        least: words before the end, at least.
        most: words before the end, at most.
        device: where ``scores`` computes.

    Returns:
        Word ids of each sentence, without ``start`` and ``end``.
    """
    rows = torch.arange(count, device=device).repeat_interleave(beams)
    words = torch.full((count * beams, 1), start, device=device)
    totals = torch.full((count, beams), -torch.inf, device=device)
    totals[:, 0] = 0.0  # all beams are the same sentence yet
    done = torch.zeros(count * beams, dtype=torch.bool, device=device)
    for length in range(most + 1):
        step = scores(rows, words).clone()
        step[:, start] = -torch.inf
        if length < least:
            step[:, end] = -torch.inf
        elif length == most:  # nothing but the end
            step[:, :end] = step[:, end + 1 :] = -torch.inf
        step[done] = -torch.inf
        step[done, 0] = 0.0  # a finished sentence goes on unchanged, filled up with zeros
        totals, best = (totals[..., None] + step.view(count, beams, -1)).flatten(1).topk(beams)
        kept = (best // step.shape[1] + torch.arange(count, device=device)[:, None] * beams).flatten()
        chosen = best.flatten() % step.shape[1]
        words = torch.cat([words[kept], chosen[:, None]], dim=1)
        done = done[kept] | (chosen == end)
        if bool(done.all()):
            break
    return _best(words.view(count, beams, -1), totals, end)


def _best(words: Tensor, totals: Tensor, end: int) -> list[list[int]]:
    lengths = (words == end).int().argmax(-1)  # place of the end: words before it, and the start
    best = (totals / lengths.clamp(min=1)).argmax(-1)
    return [words[row, place, 1 : int(lengths[row, place])].tolist() for row, place in enumerate(best.tolist())]


def _wanted(precision: Precision, device: torch.device) -> str:
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
