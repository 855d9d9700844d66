"""How well an encoder finds drawings by words: encoding in batches and recall."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Vectors = NDArray[np.float32]
Tokenizer = Callable[[list[str]], Tensor]

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
BATCH = 128


class TwoTowers(torch.nn.Module):
    """What the demo uses of open_clip's model: both towers and the scale of their cosines."""

    encode_image: Callable[..., Tensor]
    encode_text: Callable[..., Tensor]
    logit_scale: torch.nn.Parameter


def normalise(drawings: Tensor) -> Tensor:
    """Pixels (n, h, w, 3) from 0 to 255 to the encoder's input (n, 3, h, w)."""
    pixels = drawings.permute(0, 3, 1, 2).to(torch.float32) / 255
    return (pixels - pixels.new_tensor(MEAN)[:, None, None]) / pixels.new_tensor(DEVIATION)[:, None, None]


def _device(model: TwoTowers) -> torch.device:
    """Where the model's weights are."""
    return model.logit_scale.device


def encode_drawings(model: TwoTowers, drawings: NDArray[np.uint8]) -> Vectors:
    """Unit vectors (n, d) of drawings (n, 96, 96, 3)."""
    with torch.inference_mode():
        parts = [
            model.encode_image(normalise(_pixels(drawings[start : start + BATCH], model)), normalize=True)
            for start in range(0, len(drawings), BATCH)
        ]
    return np.concatenate([part.float().cpu().numpy() for part in parts])


def _pixels(drawings: NDArray[np.uint8], model: TwoTowers) -> Tensor:
    """Drawings as a tensor of their own where the model's weights are."""
    return torch.from_numpy(np.array(drawings)).to(_device(model))


def encode_words(model: TwoTowers, tokenizer: Tokenizer, texts: Sequence[str]) -> Vectors:
    """Unit vectors (n, d) of texts."""
    with torch.inference_mode():
        parts = [
            model.encode_text(tokenizer(list(texts[start : start + BATCH])).to(_device(model)), normalize=True)
            for start in range(0, len(texts), BATCH)
        ]
    return np.concatenate([part.float().cpu().numpy() for part in parts])


@dataclass(frozen=True)
class Recall:
    """Share of queries whose first 1, 5 and 10 results hold a right answer."""

    at_1: float
    at_5: float
    at_10: float


def recall(scores: Vectors, relevant: Sequence[frozenset[int]]) -> Recall:
    """Recall of scores (queries, products); `relevant` holds the right columns of each row."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    hits = np.array(
        [[column in columns for column in row] for row, columns in zip(order.tolist(), relevant, strict=True)]
    )
    return Recall(*(float(hits[:, :cut].any(axis=1).mean()) for cut in (1, 5, 10)))
