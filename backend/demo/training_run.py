"""One training run of the demo encoder: its configuration, loss, optimiser, moving average, checkpoint and export."""

import math
import shutil
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from backend.demo.retrieval import TwoTowers, normalise
from backend.ml.encoder import build_model

ARCHITECTURE = Path(__file__).parent / "encoder"


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides what a run learns; saved in its checkpoint."""

    minutes: float
    seed: int
    drawings: int = 40_000
    batch: int = 256
    kinds_per_batch: int = 4
    rate: float = 1e-3
    warmup_steps: int = 80
    weight_decay: float = 0.1
    caption_weight: float = 0.5
    average_decay: float = 0.997


def learning_rate(config: TrainingConfig, step: int, elapsed_s: float) -> float:
    """Linear warm-up over steps, then a cosine over the time the run was given."""
    done = min(1.0, elapsed_s / (60 * config.minutes))
    return (
        config.rate * min(1.0, (step + 1) / config.warmup_steps) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
    )


def contrast(first: Tensor, second: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of unit rows (n, d): row i of one belongs to row i of the other."""
    logits = scale * first @ second.T
    target = torch.arange(len(first), device=first.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


class Run:
    """A training run: the model, its moving average, the optimiser and how far it has come."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        """Start from a fresh model."""
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.model = cast(TwoTowers, build_model(ARCHITECTURE, pretrained=False).to(device))
        self.average = deepcopy(self.model).requires_grad_(False).eval()
        matrices = [weight for weight in self.model.parameters() if weight.ndim > 1]
        others = [weight for weight in self.model.parameters() if weight.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.rate, betas=(0.9, 0.98))
        self.step = 0
        self.elapsed_s = 0.0

    def train_step(self, drawings: NDArray[np.float32], tokens: Tensor) -> float:
        """One step on drawings (n, s, s, 3) and tokens (2n, context); returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step, self.elapsed_s)
        pixels = normalise(torch.from_numpy(drawings).to(self.device))
        with torch.autocast(self.device.type, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            images = self.model.encode_image(pixels, normalize=True)
            words = self.model.encode_text(tokens.to(self.device), normalize=True)
        first, second = words.float().chunk(2)
        images, scale = images.float(), self.model.logit_scale.exp().clamp(max=100)
        matches = (contrast(images, first, scale) + contrast(images, second, scale)) / 2
        loss = matches + self.config.caption_weight * contrast(first, second, scale)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self._follow()
        self.step += 1
        return float(loss.detach())

    def _follow(self) -> None:
        """Move the average a little towards the model."""
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.model.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)

    def save(self, path: Path) -> None:
        """Write the checkpoint in one move."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "config": asdict(self.config),
        }
        torch.save(state, path.with_suffix(".partial"))
        path.with_suffix(".partial").rename(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]


def export(model: torch.nn.Module, directory: Path) -> None:
    """Write the model in fp16 with the configuration that loads it."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("open_clip_config.json", "morelike_encoder.json"):
        if directory.resolve() != ARCHITECTURE.resolve():
            shutil.copy(ARCHITECTURE / name, directory / name)
    weights = {
        name: weight.detach().to("cpu", torch.float16).contiguous() for name, weight in model.state_dict().items()
    }
    save_file(weights, directory / "open_clip_model.safetensors.partial")
    (directory / "open_clip_model.safetensors.partial").rename(directory / "open_clip_model.safetensors")
