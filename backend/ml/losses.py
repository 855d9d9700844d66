"""The contrastive loss of two towers, and which products of a batch are no negatives of a text."""

import torch
from torch import Tensor
from torch.nn import functional


def symmetric_info_nce(
    texts: Tensor,
    images: Tensor,
    scale: Tensor,
    *,
    masked: Tensor | None = None,
    harder: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Mean of the cross-entropies of finding the picture of each text and the text of each picture.

    L = 1/2 (CE(rows of S) + CE(columns of S)), S = scale * T I^T (arXiv 2103.00020), the right one on the diagonal.

    Args:
        texts: (b, d) unit vectors.
        images: (b, d) unit vectors; row i belongs to text i.
        scale: () inverse temperature.
        masked: (b, b) true where picture j is no negative of text i, but not its own either: left out of both sums.
        harder: (b, h) cosines of each text to further negatives, and (b, h) where there are any.
    """
    logits = scale * (texts @ images.T)  # (b, b)
    if masked is not None:
        logits = logits.masked_fill(masked, -torch.inf)
    own = torch.arange(len(texts), device=texts.device)
    wide = logits
    if harder is not None:
        cosines, there = harder
        # masked after the product: an infinite cosine would make the gradient of the scale not a number
        wide = torch.cat([logits, (scale * cosines).masked_fill(~there, -torch.inf)], dim=1)  # (b, b + h)
    return 0.5 * (functional.cross_entropy(wide, own) + functional.cross_entropy(logits.T, own))


def no_negatives(products: Tensor, texts: Tensor, images: Tensor | None, alike: float) -> Tensor:
    """Which pairs (b, b) of a batch must not be told apart: another right picture for the text, as far as is known.

    Args:
        products: (b,) product of each pair.
        texts: (b,) number of each text; equal texts have equal numbers.
        images: (b, d) raw unit vectors of the pictures; None where no two are taken for the same by their looks.
        alike: cosine from which two pictures are taken for the same.
    """
    masked = (products[:, None] == products) | (texts[:, None] == texts)
    if images is not None:
        masked |= (images @ images.T) >= alike
    return masked.fill_diagonal_(False)
