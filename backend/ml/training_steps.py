"""What every training here has in common: seeds, the optimiser, its rate over time, and a state that is kept whole."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

_CPU = torch.device("cpu")


class DivergedError(ValueError):
    """The loss of a step is no finite number."""


@contextmanager
def seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Draw from ``seed``, and leave what others draw as it was, on the processor and on ``device``."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def adamw(named: Iterable[tuple[str, nn.Parameter]], rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW; scales, biases and norms have no decay."""
    weights = [weight for _, weight in named]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def rate_after(epochs: float, *, rate: float, warmup: float, last: int) -> float:
    """The learning rate after ``epochs`` passes: a straight rise, then half a cosine that ends at ``last``."""
    risen = min(1.0, epochs / warmup) if warmup else 1.0
    done = max(0.0, epochs - warmup) / max(last - warmup, 1e-9)
    return rate * risen * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def keep_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a state, whole or not at all."""
    torch.save(dict(state), path.with_suffix(".partial"))
    path.with_suffix(".partial").replace(path)
