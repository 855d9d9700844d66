"""How well the two sides of a space agree, and how well they fill it: what recall alone does not explain.

A projection can lose retrieval by tearing pairs apart (alignment), by pressing everything together (uniformity), or by
moving one side as a whole away from the other (modality gap). Vectors are unit rows throughout.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

_ROWS = 2048
"""Rows compared at a time: memory stays at this many squared, whatever the number of rows."""


@dataclass(frozen=True)
class SpaceReport:
    """What a space of texts and images is like.

    Args:
        alignment: of pairs; 0 where each text is its image, 2 where they are at right angles.
        uniformity_text: of the texts; 0 where all are one, the lower the more evenly they fill the sphere.
        uniformity_image: of the images.
        gap: distance between the mean text and the mean image.
    """

    alignment: float
    uniformity_text: float
    uniformity_image: float
    gap: float


def alignment(texts: Matrix, images: Matrix) -> float:
    """Mean squared distance of pairs, row by row: E‖x - y‖², both (n, d).

    Wang and Isola 2020 (arXiv 2005.10242), section 4.1, with exponent 2.

    Raises:
        ValueError: different shapes, or no row.
    """
    if texts.shape != images.shape or texts.ndim != 2 or not len(texts):
        raise ValueError(f"found shapes {texts.shape} and {images.shape}; expected two of (n, d) with n above 0")
    total = 0.0
    for start in range(0, len(texts), _ROWS):
        apart = texts[start : start + _ROWS].astype(np.float64) - images[start : start + _ROWS]
        total += float(np.einsum("nd,nd->", apart, apart))
    return total / len(texts)


def uniformity(vectors: Matrix, *, t: float = 2.0) -> float:
    """Logarithm of the mean Gaussian potential of different rows: log E exp(-t‖x - y‖²), ``vectors`` (n, d).

    Wang and Isola 2020, section 4.1. 0 where all rows are the same; on the sphere the least, reached by the uniform
    distribution, comes near -2t as d grows. n² comparisons, in blocks.

    Raises:
        ValueError: fewer than two rows.
    """
    if vectors.ndim != 2 or len(vectors) < 2:
        raise ValueError(f"found the shape {vectors.shape}; expected (n, d) with n of 2 at least")
    count, total = len(vectors), 0.0
    for start in range(0, count, _ROWS):
        rows = vectors[start : start + _ROWS]
        for other in range(start, count, _ROWS):
            cosines = (rows @ vectors[other : other + _ROWS].T).astype(np.float64)
            potential = np.exp(2.0 * t * (cosines - 1.0))  # ‖x - y‖² = 2 - 2 cos on unit rows
            # a block on the diagonal holds each pair twice and each row with itself once, another one each pair once
            total += float((potential.sum() - np.trace(potential)) / 2 if other == start else potential.sum())
    return float(np.log(total / (count * (count - 1) / 2)))


def modality_gap(texts: Matrix, images: Matrix) -> float:
    """Distance between the mean of ``texts`` (n, d) and the mean of ``images`` (m, d).

    Liang et al. 2022 (arXiv 2203.02053), section 4.1.
    """
    text, image = (side.mean(axis=0, dtype=np.float64) for side in (texts, images))
    return float(np.linalg.norm(text - image))


def space_report(texts: Matrix, images: Matrix, image_of: NDArray[np.int64]) -> SpaceReport:
    """All of them, of ``texts`` (n, d) and ``images`` (m, d), text ``i`` being of image ``image_of[i]``."""
    return SpaceReport(
        alignment(texts, images[image_of]), uniformity(texts), uniformity(images), modality_gap(texts, images)
    )
