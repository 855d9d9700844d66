"""A heat map over a picture: warm where a summarizer looked, the picture as it is elsewhere."""

import io

import numpy as np
from PIL import Image

from backend.ml.saliency import Saliency

_STOPS = np.array([0.0, 0.35, 0.7, 1.0])
_COLOURS = np.array([[255, 205, 40, 0], [255, 170, 0, 95], [238, 76, 20, 170], [176, 0, 66, 205]])
"""Red, green, blue and opacity at each stop: it shows on white and on dark pictures, and without colours by opacity."""


def heat_map(saliency: Saliency) -> Image.Image:
    """Saliency (height, width) in [0, 1] as an RGBA picture of that size, transparent where it is 0.

    Raises:
        ValueError: it is no table of numbers in [0, 1].
    """
    if saliency.ndim != 2 or not saliency.size or not ((saliency >= 0) & (saliency <= 1)).all():
        raise ValueError(f"saliency of shape {saliency.shape} found; expected a table of numbers in [0, 1]")
    channels = [np.interp(saliency, _STOPS, _COLOURS[:, channel]).round() for channel in range(4)]
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8), "RGBA")


def overlay(picture: Image.Image, saliency: Saliency) -> Image.Image:
    """``picture`` (RGB) with the heat map of ``saliency`` (height, width) over it."""
    return Image.alpha_composite(picture.convert("RGBA"), heat_map(saliency)).convert("RGB")


def as_png(picture: Image.Image) -> bytes:
    """``picture`` as a PNG file."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
