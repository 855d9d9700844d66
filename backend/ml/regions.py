"""Which patches a box on the original picture touches, through the encoder's own resizing and cropping."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.ml.image_tower import PatchLayout

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2, 0 to 1 on the upright original."""

ResizeMode = Literal["shortest", "longest", "squash"]

_WHOLE = 1e-6
"""A coordinate this near to a whole pixel is on it: 0.1 * 320 is a little more than 32."""


@dataclass(frozen=True)
class Framing:
    """How an encoder brings pictures to its own size, as open_clip does it.

    Args:
        width: of what the tower sees, in pixels.
        height: likewise.
        mode: ``shortest`` fills the frame and cuts off what is over, ``longest`` fits the whole picture in and pads,
            ``squash`` stretches it.
    """

    width: int
    height: int
    mode: ResizeMode

    @classmethod
    def of(cls, preprocess_cfg: dict[str, Any]) -> "Framing":
        """The framing that a model of open_clip states."""
        size = preprocess_cfg["size"]
        height, width = (size, size) if isinstance(size, int) else size
        return cls(int(width), int(height), cast(ResizeMode, preprocess_cfg.get("resize_mode", "shortest")))

    def seen(self, width: int, height: int) -> Box:
        """The part of a picture of this size that the tower sees, as a box on it; with padding beyond 0 and 1."""
        resized = self._resized(width, height)
        left, right = _placed(resized[0], self.width)
        top, bottom = _placed(resized[1], self.height)
        return left, top, right, bottom

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after resizing, before cropping or padding, rounded as torchvision and open_clip do."""
        if self.mode == "squash":
            return self.width, self.height
        if self.mode == "shortest" and self.width == self.height:
            longer = int(self.width * max(width, height) / min(width, height))
            return (self.width, longer) if width <= height else (longer, self.width)
        ratios = (width / self.width, height / self.height)
        ratio = max(ratios) if self.mode == "longest" else min(ratios)
        return round(width / ratio), round(height / ratio)


def pad_to_frame(picture: Image.Image, framing: Framing) -> Image.Image:
    """A picture of the frame's proportions with ``picture`` in its middle, so that nothing is cut off or stretched.

    What is around it has the mean colour of its corners, mostly the background of what was boxed. A tall box whose
    ends the encoder cuts off finds its own product far less often (docs/benchmarks.md).

    Args:
        picture: in RGB.
        framing: of the encoder.
    """
    width, height = picture.size
    wide = max(width, math.ceil(height * framing.width / framing.height))
    high = max(height, math.ceil(width * framing.height / framing.width))
    if framing.mode == "longest" or (wide, high) == picture.size:
        return picture
    corners = np.asarray(picture)[[0, 0, -1, -1], [0, -1, 0, -1]]
    red, green, blue = (round(level) for level in corners.mean(axis=0).tolist())
    padded = Image.new("RGB", (wide, high), (red, green, blue))
    padded.paste(picture, ((wide - width) // 2, (high - height) // 2))
    return padded


def steer_patches(
    boxes: Sequence[tuple[Box, float]],
    framing: Framing,
    layout: PatchLayout,
    size: tuple[int, int],
    *,
    prefix: float = 0.0,
) -> NDArray[np.float32]:
    """What boxes say of each patch token, (Np,): the paper's mask M (appendix G), graded.

    A box touches the patches from the one that its left edge falls into to the one that its right edge falls into,
    both included, and likewise from top to bottom. Of boxes that overlap, the later one counts.

    Args:
        boxes: each with what is said of it, in [-1, 1].
        framing: of the encoder.
        layout: of its patch tokens.
        size: width and height of the original in pixels.
        prefix: what is said of the tokens before the patches (CLS). The reference says 1 for every picture as soon as
            there is a box on one, which pulls attention away from all patches.
    """
    left, top, right, bottom = framing.seen(*size)
    grid = np.zeros((layout.rows, layout.columns), np.float32)
    for (x1, y1, x2, y2), grade in boxes:
        rows = _cells((y1 - top) / (bottom - top), (y2 - top) / (bottom - top), layout.rows)
        columns = _cells((x1 - left) / (right - left), (x2 - left) / (right - left), layout.columns)
        grid[rows, columns] = grade
    return np.concatenate([np.full(layout.prefix, prefix, np.float32), grid.ravel()])


def _cells(start: float, end: float, count: int) -> slice:
    """Of ``count`` cells between 0 and 1 those that [start, end] touches; none where it lies outside."""
    if end < 0 or start >= 1:
        return slice(0, 0)
    first, last = (math.floor(edge * count + _WHOLE) for edge in (start, end))
    return slice(max(0, first), min(count - 1, last) + 1)


def _placed(resized: int, frame: int) -> tuple[float, float]:
    """Where along one side the frame begins and ends, as shares of the picture that was resized."""
    # where there is padding, an odd pixel of it goes behind
    start = -((frame - resized) // 2) if frame > resized else round((resized - frame) / 2)
    return start / resized, (start + frame) / resized
