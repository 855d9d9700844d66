"""A summary inside Rocchio's update: formulas (6) to (8) of arXiv 2511.17255."""

import numpy as np

from backend.ml.feedback.geometry import Floats, Wide, known, softmax
from backend.ml.feedback.inputs import Summary
from backend.ml.feedback.policy import NegativeWeighting
from backend.ml.feedback.rocchio import Evidence, Sum, weighted


def attentive(
    images: Floats,
    captions: Floats | None,
    summary: Summary,
    *,
    weighting: NegativeWeighting,
    tau: float,
    similarity: Floats | None = None,
) -> Evidence:
    """(8) without its query: p = s, and m = half the sum of what the negative weights make of images and of captions.

    Args:
        images: (k, d) of the products that ``summary`` is of.
        captions: (k, d) likewise; None leaves captions out of m, which then is the images' sum alone. So does a list
            without any.
        summary: with attention that sums to 1.
        weighting: of m. ``uniform`` weighs all alike, a plain sum; ``attention`` weighs by (6) and (7); ``similarity``
            weighs by 1 - w_i, hard negatives as in (2).
        tau: temperature of (6) and (7).
        similarity: (k,) w_i, for ``similarity``.

    Raises:
        ValueError: ``images`` and ``summary`` are not of equally many products.
    """
    if not len(summary.image_attention) == len(summary.caption_attention) == len(images):
        raise ValueError(f"a summary of {len(summary.image_attention)} products, expected {len(images)}")
    image = _item_sums(summary.image_attention)
    caption = _item_sums(summary.caption_attention)
    similarity = np.zeros(len(images)) if similarity is None else similarity
    sides = [(images, negative_weights(images, image, weighting, tau, similarity))]
    if captions is not None:
        sides.append((captions, negative_weights(captions, caption, weighting, tau, similarity)))
    sides = [(vectors, weights) for vectors, weights in sides if weights.any()]
    sums = [weighted(vectors, weights) for vectors, weights in sides]
    share = 1.0 / max(len(sums), 1)
    negative = Sum(
        np.asarray(sum((one.vector * share for one in sums), np.zeros(images.shape[1]))),
        sum(one.weight * share for one in sums),
    )
    relevance = np.nan_to_num(image) + np.nan_to_num(caption)
    irrelevance = sum((weights * share for _, weights in sides), np.zeros(len(image)))
    positive = Sum(np.asarray(summary.vector, dtype=np.float64), 1.0)
    return Evidence(positive, negative, relevance / max(float(relevance.sum()), 1e-12), np.asarray(irrelevance))


def negative_weights(
    vectors: Floats, attention: Wide, weighting: NegativeWeighting, tau: float, similarity: Floats
) -> Wide:
    """(6), (7): softmax of -a_i / tau over the items; or 1 each; or 1 - w_i by ``similarity`` (k,).

    ``attention`` (k,) is what each item got in all; NaN where the summary did not see it. An item that it did not see,
    or that has no vector, weighs 0.
    """
    weights = np.zeros(len(vectors))
    there = known(vectors) & ~np.isnan(attention)
    if not there.any():
        return weights
    match weighting:
        case "uniform":
            weights[there] = 1.0
        case "attention":
            weights[there] = softmax(-attention[there] / tau)
        case "similarity":
            weights[there] = 1.0 - np.asarray(similarity)[there]
    return weights


def _item_sums(attention: tuple[Floats, ...]) -> Wide:
    return np.array([float(np.sum(one)) if len(one) else np.nan for one in attention])
