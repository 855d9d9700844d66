"""Pictures for the encoders' tests."""

import numpy as np
from PIL import Image


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    """Coloured blocks of different sizes: smooth like photographs, unlike one another."""
    numbers = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        blocks = numbers.integers(0, 256, (5, 4, 3), dtype=np.uint8)
        size = (int(numbers.integers(20, 300)), int(numbers.integers(20, 300)))
        made.append(Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC))
    return made
