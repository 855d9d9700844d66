"""What heads are trained to do on clicks, as losses of logits."""

from dataclasses import dataclass

import torch
from torch import Tensor

_NOTHING = -1e9


def listwise(logits: Tensor, weights: Tensor, present: Tensor, allowed: Tensor | None = None) -> Tensor:
    """- sum of w_c log(e^s_c / sum of e^s over what was in view), per click.

    With w = y / θ its expectation is the loss under full information: a click's chance is θ times its relevance (Ai et
    al., arXiv 1804.05938; Joachims et al., arXiv 1608.04468).

    Args:
        logits: (l, k).
        weights: (l, k), 0 where there was no click.
        present: (l, k) where there is a product.
        allowed: (l, k) whose gradients pass (:func:`within_reach`); None: all.
    """
    logits = logits.masked_fill(~present, _NOTHING)
    if allowed is not None and logits.requires_grad:
        lifted, lowered = allowed
        logits.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient * torch.where(gradient < 0, lifted, lowered)
        )
    logs = torch.log_softmax(logits, dim=1)
    return -(weights * logs).sum() / (weights > 0).sum().clamp_min(1)


def within_reach(logits: Tensor, present: Tensor, reach: tuple[float, float]) -> Tensor:
    """(2, l, k) which products may still be lifted, and which lowered.

    With x the discount 1 / log2(1 + rank) that a product has now over that of the place it was shown at, there is
    nothing to gain by lifting it beyond ``reach[1]`` or lowering it below ``reach[0]`` (proximal ranking policy
    optimisation, Gupta et al., arXiv 2409.09881: min(x r, clip(x) r) has no gradient there).

    Args:
        logits: (l, k) as they are now; columns are in the order of the ranking in use.
        present: (l, k) where there is a product.
        reach: least and greatest ratio.
    """
    order = torch.argsort(logits.detach().masked_fill(~present, _NOTHING), dim=1, descending=True, stable=True)
    rank = torch.argsort(order, dim=1)
    before = torch.arange(logits.shape[1])[None, :]
    ratio = torch.log2(before + 2.0) / torch.log2(rank + 2.0)
    return torch.stack([ratio <= reach[1], ratio >= reach[0]])


@dataclass(frozen=True)
class Drawn:
    """Negatives of a batch, m distinct products.

    Args:
        frequency: (m,) Q, the chance of each in one draw.
        count: (m,) how often each was drawn.
        masked: (n, m) where a product is no negative of a click.
    """

    frequency: Tensor
    count: Tensor
    masked: Tensor


def corrected_info_nce(positive: Tensor, logits: Tensor, own: Tensor, weights: Tensor, drawn: Drawn) -> Tensor:
    """InfoNCE whose negatives are corrected for how often they are drawn, per click.

    - w (1 - P_c) [s_c - log sum over j of e^(s_j - log Q'_j)],  Q'_j = Q_j / (1 - Q_c),

    P_c = e^s_c / (e^s_c + Z) held fixed, Z the mean over draws of e^(s_j - log Q'_j). The right product is there with
    certainty, so it is not shifted (Khrylchenko et al., arXiv 2507.09331).

    Args:
        positive: (n,) s_c.
        logits: (n, m) s_j.
        own: (n,) Q_c.
        weights: (n,) w.
        drawn: what the columns are.
    """
    shifted = logits - drawn.frequency.log()[None, :] + torch.log1p(-own)[:, None] + drawn.count.log()[None, :]
    shifted = shifted.masked_fill(drawn.masked, _NOTHING)
    draws = torch.where(drawn.masked, 0.0, drawn.count[None, :]).sum(dim=1)
    total = torch.logsumexp(shifted, dim=1)
    known = draws > 0
    with torch.no_grad():
        wrong = torch.sigmoid(total - draws.clamp_min(1).log() - positive)
    each = torch.where(known, weights * wrong * (total - positive), 0.0)
    return each.sum() / known.sum().clamp_min(1)


def distilled(frozen: Tensor, logits: Tensor) -> Tensor:
    """Mean KL(softmax(frozen) || softmax(logits)) of rows (n, m)."""
    return torch.nn.functional.kl_div(
        torch.log_softmax(logits, dim=1), torch.log_softmax(frozen, dim=1), reduction="batchmean", log_target=True
    )


def moved(raw: Tensor, adapted: Tensor) -> Tensor:
    """Mean of ||z - e||^2 of rows (n, d)."""
    return (adapted - raw).square().sum(dim=1).mean()
