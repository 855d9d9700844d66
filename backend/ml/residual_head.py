"""A residual head while it is trained: the function of `heads`, in torch, with gradients."""

import math
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from backend.ml.heads import NORM_EPS, Head, HeadConfig

_TINY = 1e-30


class ResidualHead(nn.Module):
    """h(x) as `heads` states it; new, it is the identity to the last bit.

    At d = 512 and a hidden width of 128 it has 132,224 weights. W1 starts as He et al. (arXiv 1502.01852) draw it, W2
    at zero: the first step moves W2 alone, and through it everything else.

    Args:
        config: sizes and blend.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.inward = nn.Linear(config.dim, config.width)
        self.outward = nn.Linear(config.width, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        if config.learn_alpha:
            self.theta = nn.Parameter(torch.tensor(math.log(config.alpha / (1 - config.alpha))))
        nn.init.kaiming_normal_(self.inward.weight, nonlinearity="relu")
        nn.init.zeros_(self.inward.bias)
        nn.init.zeros_(self.outward.weight)

    @property
    def alpha(self) -> float:
        """α now."""
        return float(torch.sigmoid(self.theta.detach())) if self.config.learn_alpha else self.config.alpha

    def forward(self, x: Tensor) -> Tensor:
        """Raw rows (n, d) -> adapted rows (n, d), each as long as it was."""
        x = x.contiguous()  # one order of summation for both lengths, so that their ratio is 1 where nothing changed
        lengths = x.norm(dim=1, keepdim=True)
        hidden = nn.functional.gelu(self.inward(self.norm(x / lengths.clamp_min(_TINY))), approximate="tanh")
        # the hidden layer is scaled, not what comes out of it: a quarter of the width
        hidden = self.dropout(hidden) * (self._ratio() * lengths)
        adapted: Tensor = _AsLong.apply(torch.addmm(x, hidden, self.outward.weight.T), lengths)
        return adapted

    def frozen(self) -> Head:
        """The head as it is now, to serve; later training does not change it.

        Raises:
            ValueError: a weight is not finite.
        """
        weights = {
            "gain": self.norm.weight,
            "shift": self.norm.bias,
            "inward": self.inward.weight,
            "bias": self.inward.bias,
            "outward": self.outward.weight,
        }
        arrays: dict[str, Any] = {name: weight.detach().float().cpu().numpy() for name, weight in weights.items()}
        return Head(**arrays, alpha=self.alpha)

    @classmethod
    def of(cls, head: Head, *, learn_alpha: bool = False, dropout: float = 0.1) -> Self:
        """A head to be trained further; γ goes into W2."""
        made = cls(HeadConfig(head.dim, head.hidden, head.alpha, learn_alpha, dropout))
        with torch.no_grad():
            for weight, value in (
                (made.norm.weight, head.gain),
                (made.norm.bias, head.shift),
                (made.inward.weight, head.inward),
                (made.inward.bias, head.bias),
                (made.outward.weight, head.gamma * head.outward),
            ):
                weight.copy_(torch.from_numpy(np.array(value, dtype=np.float32)))
        return made

    def _ratio(self) -> Tensor | float:
        """The ratio r = α/(1-α); with α = sigmoid(θ) that is exp(θ)."""
        return torch.exp(self.theta) if self.config.learn_alpha else self.config.alpha / (1 - self.config.alpha)


class _AsLong(torch.autograd.Function):
    """y (n, d) -> y * lengths / |y|, in its place, whose gradient is (g - u (u . g)) lengths / |y|, u = y / |y|.

    Left to autograd, the passes over (n, d) of this one step take longer than the head's matrix products.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, lengths: Tensor) -> Tensor:
        ratio = lengths / y.norm(dim=1, keepdim=True).clamp_min(_TINY)
        adapted = y.mul_(ratio)
        ctx.mark_dirty(y)
        ctx.save_for_backward(adapted, ratio, lengths)
        return adapted

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor | None]:
        adapted, ratio, lengths = ctx.saved_tensors
        gradient, length = above[0], lengths.clamp_min(_TINY)
        along = torch.linalg.vecdot(gradient, adapted)[:, None] / length
        for_y = torch.addcmul(gradient, adapted, along / length, value=-1).mul_(ratio)
        return for_y, along if ctx.needs_input_grad[1] else None
