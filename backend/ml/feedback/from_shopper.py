"""Feedback that a shopper gave: words, boxes on pictures, likes and dislikes."""

import numpy as np

from backend.ml.feedback.from_list import ListFeedback, Move, summarized
from backend.ml.feedback.geometry import Floats, mean_known, unit
from backend.ml.feedback.inputs import Items, ItemTokens, Query, Regions, Tokens, Vector
from backend.ml.feedback.likes import pairwise_step
from backend.ml.feedback.modality import Modalities
from backend.ml.feedback.policy import Boxes, Likes, Policy
from backend.ml.feedback.rocchio import Sum, mixed, toward, weighted


def by_words(query: Query, words: Vector, policy: Policy, modalities: Modalities) -> Query:
    """Both sides moved by the same ``words`` (d,): n(q + g), or mixed as ``policy.text`` says, without a negative."""
    said = unit(modalities.words(words))
    if policy.explicit_mode == "average":
        return Query(_narrow(toward(query.image, 1.0, said)), _narrow(toward(query.caption, 1.0, said)))
    positive, nothing = Sum(said, 1.0), Sum(np.zeros(len(said)), 0.0)
    image, caption = (mixed(side, positive, nothing, policy.text) for side in (query.image, query.caption))
    return Query(_narrow(image), _narrow(caption))


def by_crops(query: Query, regions: Regions, boxes: Boxes, modalities: Modalities) -> Query:
    """Mixed with the grade-weighted means of what liked and disliked boxes hold; a kind without boxes weighs nothing.

    What is inside is a picture: on the caption side it is brought to captions.
    """
    nothing = np.full_like(regions.vectors, np.nan)
    image = _cropped(query.image, modalities.image_side(regions.vectors, nothing), regions, boxes)
    caption = _cropped(query.caption, modalities.caption_side(regions.vectors, nothing), regions, boxes)
    return Query(image, caption)


def by_steering(query: Query, about: ListFeedback) -> Move | None:
    """A summary of the pictures alone whose attention boxes steer; None without summarizer, tokens or a steer."""
    tokens, boxes = about.feedback.tokens, about.policy.boxes
    if about.summarizer is None or tokens is None or np.isnan(query.image).any():
        return None
    seen = tokens.items[: len(about.items.images)]
    if all(item.image is None or item.steer is None for item in seen):
        return None
    pictures = Tokens(tokens.query, tuple(ItemTokens(item.image, None, item.steer) for item in seen))
    return summarized(
        about,
        about.summarizer,
        pictures,
        query,
        captions=False,
        mix=boxes.steered,
        steer_strength=boxes.strength,
    )


def by_likes(query: Query, judged: Items, shown: Items, likes: Likes, modalities: Modalities) -> Query:
    """Each side moved by its own vectors of the ``judged`` products; one without a vector there by its other one.

    ``shown`` are the first products of the list: those of them that have no grade stand beside what is disliked.
    """
    said, silent = ~np.isnan(judged.grades), np.isnan(shown.grades)
    rest = silent if silent.any() else ~silent
    fitted, moved = modalities.fitted, []
    for side, of, mean in (
        (query.image, modalities.image_side, fitted.image_mean),
        (query.caption, modalities.caption_side, fitted.caption_mean),
    ):
        step = pairwise_step(
            of(judged.images[said], judged.captions[said]),
            judged.grades[said],
            likes,
            average=modalities.average(mean),
            beside=mean_known(of(shown.images[rest], shown.captions[rest])),
        )
        moved.append(_narrow(toward(side, likes.a, step)))
    return Query(*moved)


def _cropped(query: Floats, vectors: Floats, regions: Regions, boxes: Boxes) -> Vector:
    liked, disliked = np.clip(regions.grades, 0, None), np.clip(-regions.grades, 0, None)
    return _narrow(mixed(query, _mean(vectors, liked), _mean(vectors, disliked), boxes.mix))


def _mean(vectors: Floats, weights: Floats) -> Sum:
    total = float(np.sum(weights))
    return weighted(vectors, weights / total if total > 0 else weights)


def _narrow(vector: Floats) -> Vector:
    return np.asarray(vector, dtype=np.float32)
