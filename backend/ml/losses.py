"""The contrastive loss of two towers, and which products of a batch are no negatives of a text."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.ml.image_tower import computes_bf16

Rows = NDArray[np.int64]
Masked = Tensor | tuple[Tensor, Tensor]

_NOTHING = -1e9
"""Logit of what is left out: its exponential is 0, and unlike an infinity it keeps gradients finite."""

_LEAST = 1e-30
"""A sum of exponentials below this may have lost some of them to the range of float32: in float64 nothing is lost."""

_STRIP = 256
"""Rows of logits at a time: they stay in the cache from one pass to the next."""

_ROUGH = 0.01
"""More than bf16 can be wrong by in the cosine of two unit vectors: 2^-9 for either and for the result."""

_FEW = 4
_NONE = np.zeros(0, np.int64)


def symmetric_info_nce(
    texts: Tensor,
    images: Tensor,
    scale: Tensor,
    *,
    masked: Masked | None = None,
    harder: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Mean of the cross-entropies of finding the picture of each text and the text of each picture.

    L = 1/2 (CE(rows of S) + CE(columns of S)), S = scale * T I^T (arXiv 2103.00020), the right one on the diagonal.

    Args:
        texts: (b, d) unit vectors.
        images: (b, d) unit vectors; row i belongs to text i.
        scale: () inverse temperature.
        masked: where in S a picture is no negative of a text, but not its own either, and left out of both sums: rows
            and columns (k,), (k,), or (b, b) true there.
        harder: (b, h) cosines of each text to further negatives, and (b, h) where there are any.
    """
    further = None if harder is None else (scale * harder[0]).masked_fill(~harder[1], _NOTHING)
    loss: Tensor = _SymmetricInfoNCE.apply(texts, images, scale, masked, further)
    return loss


class _SymmetricInfoNCE(torch.autograd.Function):
    """Loss and gradients in one go.

    With P and Q the softmax of S along rows and along columns, dL/dS = (P + Q - 2 Id) / 2b. Left to autograd, the
    passes over (b, b) that softmax, its gradient, and transposed copies take cost more than the matrix products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        texts: Tensor,
        images: Tensor,
        scale: Tensor,
        masked: Masked | None,
        further: Tensor | None,
    ) -> Tensor:
        loss, gradient, beyond, least = _contrast(texts * scale, images, masked, further)
        if least < _LEAST:
            wide = None if further is None else further.double()
            found = _contrast((texts * scale).double(), images.double(), masked, wide)
            loss, gradient = found[0].to(texts.dtype), found[1].to(texts.dtype)
            beyond = None if found[2] is None else found[2].to(texts.dtype)
        ctx.save_for_backward(texts, images, scale, gradient, beyond)
        return loss

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        texts, images, scale, gradient, beyond = ctx.saved_tensors
        to_texts, to_images, to_scale = ctx.needs_input_grad[:3]
        factor = above[0] * scale
        for_texts = (gradient @ images) if to_texts or to_scale else None
        for_scale = None
        if to_scale and for_texts is not None:
            for_scale = torch.dot(texts.reshape(-1), for_texts.view(-1)) * above[0]
        return (
            for_texts.mul_(factor) if to_texts and for_texts is not None else None,
            (gradient.T @ texts).mul_(factor) if to_images else None,
            for_scale,
            None,
            None if beyond is None else beyond * above[0],
        )


def _contrast(
    texts: Tensor, images: Tensor, masked: Masked | None, further: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, float]:
    """The loss of S = ``texts`` ``images``^T, its gradients by S and by ``further``, and the least sum that was met.

    One exponential serves both softmaxes: shifted by the highest of all logits, not by that of each row and column.
    """
    count = len(texts)
    weights = texts @ images.T  # (b, b): S, then exp(S - highest), then the gradient, in one place
    own = weights.diagonal().clone()
    if masked is not None:
        weights[masked] = _NOTHING
    highest = weights.amax() if further is None else torch.maximum(weights.amax(), further.amax())
    row_sums, column_sums = weights.new_empty(count), weights.new_zeros(count)
    for start in range(0, count, _STRIP):
        strip = weights[start : start + _STRIP].sub_(highest).exp_()
        torch.sum(strip, dim=1, out=row_sums[start : start + _STRIP])
        column_sums += strip.sum(dim=0)
    beyond = None
    if further is not None:
        beyond = (further - highest).exp_()
        row_sums += beyond.sum(dim=1)
    loss = (2 * highest + row_sums.log() + column_sums.log() - 2 * own).mean() / 2
    by_row, by_column = (0.5 / count / row_sums)[:, None], 0.5 / count / column_sums
    for start in range(0, count, _STRIP):
        weights[start : start + _STRIP].mul_(by_row[start : start + _STRIP] + by_column)
    weights.diagonal().sub_(1 / count)
    if beyond is not None:
        beyond.mul_(by_row)
    return loss, weights, beyond, min(row_sums.amin().item(), column_sums.amin().item())


def no_negatives(products: Rows, texts: Rows, images: Tensor | None, alike: float) -> tuple[Tensor, Tensor]:
    """Which pairs of a batch must not be told apart: pictures that are right for another's text, as far as is known.

    Args:
        products: (b,) product of each pair.
        texts: (b,) number of each text; equal texts have equal numbers.
        images: (b, d) raw unit vectors of the pictures; None where no two are taken for the same by their looks.
        alike: cosine from which two pictures are taken for the same.

    Returns:
        Rows and columns (k,), (k,) of them; never the diagonal. Few where products are many, so numbers, not a mask.
    """
    found = [_equal(products), _equal(texts)]
    if images is not None:
        found.append(_looking_alike(images, alike))
    first, second = (np.concatenate(side) for side in zip(*found, strict=True))
    return torch.from_numpy(np.concatenate([first, second])), torch.from_numpy(np.concatenate([second, first]))


def _equal(numbers: Rows) -> tuple[Rows, Rows]:
    """Places of every two equal numbers."""
    order = np.argsort(numbers, kind="stable")
    ordered, first, second = numbers[order], list[Rows](), list[Rows]()
    for apart in range(1, len(numbers)):
        met = np.flatnonzero(ordered[apart:] == ordered[:-apart])
        if not len(met):
            break
        first.append(order[met])
        second.append(order[met + apart])
    return np.concatenate([_NONE, *first]), np.concatenate([_NONE, *second])


def _looking_alike(images: Tensor, alike: float) -> tuple[Rows, Rows]:
    """Places of every two pictures of a cosine from ``alike`` on: sifted in bf16 where that is quick, then exactly."""
    native = images.device.type != "cpu" or computes_bf16()
    rough = images.bfloat16() if native else images
    cosines = (rough @ rough.T).fill_diagonal_(-1)  # (b, b)
    least = alike - _ROUGH
    if cosines.max().item() < least:
        return _NONE, _NONE
    first, second = (cosines >= least).nonzero(as_tuple=True)
    later = second > first
    first, second = first[later], second[later]
    if len(first) <= _FEW * len(images):
        exact = torch.linalg.vecdot(images[first], images[second])
    else:
        exact = (images @ images.T)[first, second]
    kept = exact >= alike
    return first[kept].cpu().numpy(), second[kept].cpu().numpy()
