"""What a summary attended to, for people to see (arXiv 2511.17255, appendix E.3): patches and whole words, 0 to 1."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backend.ml.image_tower import PatchLayout
from backend.ml.regions import Framing
from backend.ml.word_spans import WordSpan

Attention = NDArray[np.float64]
Saliency = NDArray[np.float32]


def patch_saliency(attention: Sequence[Attention], layout: PatchLayout) -> tuple[Saliency | None, ...]:
    """For each item the saliency (rows, columns) of its patches, 0 and 1 being the least and the most of all items'.

    Args:
        attention: of each item's image tokens, (Np,); the tokens before the patches (CLS) are left out.
        layout: of the encoder. An item whose tokens lie otherwise, pooled or none at all, gets None.
    """
    present = [len(one) == layout.count for one in attention]
    patches = [one[layout.prefix :] for one, there in zip(attention, present, strict=True) if there]
    scaled = iter(_scaled_together(patches))
    return tuple(next(scaled).reshape(layout.rows, layout.columns) if there else None for there in present)


def word_saliency(attention: Sequence[Attention], words: Sequence[Sequence[WordSpan]]) -> tuple[Saliency, ...]:
    """For each item the saliency (n,) of its n words, 0 and 1 being the least and the most of all items' words.

    What a word got is the sum over its pieces, as attention is shared out among them.

    Args:
        attention: of each item's word tokens, (Lc,).
        words: of each item's caption, none where its tokens are not the caption's.
    """
    sums = [
        np.array([one[list(word.tokens)].sum() for word in spans]) for one, spans in zip(attention, words, strict=True)
    ]
    return tuple(_scaled_together(sums))


def over_picture(grid: Saliency, framing: Framing, size: tuple[int, int]) -> Saliency:
    """Patches (rows, columns) -> (height, width) over the original, smoothly; 0 where the encoder sees nothing of it.

    Args:
        grid: one value a patch.
        framing: of the encoder.
        size: width and height wanted, of the original or of a smaller copy of it.
    """
    left, top, right, bottom = framing.seen(*size)
    down = _interpolation(size[1], top, bottom, grid.shape[0])
    across = _interpolation(size[0], left, right, grid.shape[1])
    return (down @ grid @ across.T).astype(np.float32, copy=False)


def _scaled_together(parts: Sequence[Attention]) -> list[Saliency]:
    """The same arrays, moved and stretched together to reach from 0 to 1; all 0 where all are equal."""
    present = [part for part in parts if part.size]
    least = min((part.min() for part in present), default=0.0)
    most = max((part.max() for part in present), default=0.0)
    return [((part - least) / (most - least or 1.0)).astype(np.float32) for part in parts]


def _interpolation(length: int, start: float, end: float, count: int) -> Saliency:
    """(length, count): what each cell of [start, end] gives to each pixel, linearly between the cells' centres."""
    share = ((np.arange(length) + 0.5) / length - start) / (end - start)
    place = np.clip(share * count - 0.5, 0, count - 1)
    weights = np.clip(1 - abs(place[:, None] - np.arange(count)), 0, None).astype(np.float32)
    weights[(share < 0) | (share > 1)] = 0
    return weights
