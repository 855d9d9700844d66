"""Where a build's item heads are applied to raw encoder vectors, on their way into a collection."""

import numpy as np
from numpy.typing import NDArray


def through_item_head(item_heads: bytes | None, side: str, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raw unit vectors (n, d) of one side, ``image`` or ``caption``, as the index holds them; no heads, no change."""
    if item_heads is not None:
        raise ValueError(f"item heads of {len(item_heads)} bytes for {side} found; expected none: this is the identity")
    return vectors
