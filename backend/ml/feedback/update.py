"""One turn of relevance feedback: where the query goes. Serving and evaluation use this and no other arithmetic."""

from dataclasses import replace

import numpy as np

from backend.ml.feedback.confidence import confidence, expected_gain
from backend.ml.feedback.fitted import UNFITTED, Fitted
from backend.ml.feedback.from_list import ListFeedback, Move
from backend.ml.feedback.from_shopper import by_crops, by_likes, by_steering, by_words
from backend.ml.feedback.geometry import Floats, Wide, cosine, hold_within
from backend.ml.feedback.inputs import Decision, Feedback, Items, Outcome, Query, Summarizer
from backend.ml.feedback.modality import Modalities
from backend.ml.feedback.policy import Likes, Policy

_STILL = 1.0 - 1e-7
"""Cosine from which on a query has not moved; the rounding of float32 stays below."""


def refine(
    policy: Policy,
    start: Query,
    current: Query,
    feedback: Feedback,
    *,
    base: Query | None = None,
    summarizer: Summarizer | None = None,
    fitted: Fitted = UNFITTED,
    worst: Items | None = None,
) -> Outcome:
    """Where ``feedback`` leads from ``current``; nothing given is changed.

    Args:
        policy: which strategy, and its hyper-parameters.
        start: the session's first query; NaN on both sides where it began by browsing.
        current: what the list before was asked with.
        feedback: of this turn.
        base: ``Outcome.base`` of the turn before, so that products judged, which are given again every turn, count
            once. None, on the first turn, is ``current``.
        summarizer: for ``afs``; without one, or without tokens, that strategy holds.
        fitted: what was measured on the generation's catalogue.
        worst: the last K products of the whole ranking, for the classic form; without, it has no negative.

    Raises:
        ValueError: arrays that do not fit one another, or grades out of range.
    """
    _check(start, feedback)
    start, current = _whole(start), _whole(current)
    origin = start if not policy.accumulate else current if base is None else _whole(base)
    modalities = Modalities(fitted, policy.remove_modality_mean)
    about = ListFeedback(policy, feedback, modalities, summarizer, worst)
    kinds = _said(policy, feedback)
    unasked = policy.strategy == "auto" and not kinds
    if unasked:
        first, kept = _unasked(about, current if policy.accumulate else start, anchor=origin)
    else:
        first, kept = _from_list(about, origin), False
    following, back = _within(_by_words_and_boxes(about, first, kinds), start, policy.drift_budget)
    query = following.query
    if "likes" in kinds and feedback.judged is not None:
        liked = by_likes(query, feedback.judged, about.items, policy.likes or fitted.likes or Likes(), modalities)
        step, again = _within(Move(liked, ""), start, policy.drift_budget)
        query, back = step.query, back or again
    if policy.strategy == "none":  # what was said before still holds, also what likes added to the base
        query = current
    names = kinds if first.strategy == "none" else [first.strategy, *kinds]
    return Outcome(
        query=query,
        base=origin if unasked else following.query,
        strategy="+".join(names) or "none",
        decision=_decision(query, current, back=back or kept),
        similarity_to_start=cosine(query.image, start.image),
        similarity_to_last=cosine(query.image, current.image),
        relevance=_shares(following.relevance),
        irrelevance=_shares(following.irrelevance),
        summary=following.summary,
    )


def _said(policy: Policy, feedback: Feedback) -> list[str]:
    """Kinds of feedback that were given and that the policy lets count, in the order in which they are applied."""
    given = {
        "text": feedback.words is not None,
        "boxes": (feedback.regions is not None and bool(np.any(feedback.regions.grades)))
        or (policy.boxes.mode == "afs" and _steered(feedback)),
        "likes": feedback.judged is not None and bool(np.any(np.nan_to_num(feedback.judged.grades))),
    }
    only = {policy.strategy} if policy.strategy in given else set() if policy.strategy == "none" else set(given)
    return [kind for kind, there in given.items() if there and kind in only]


def _steered(feedback: Feedback) -> bool:
    return feedback.tokens is not None and any(item.steer is not None for item in feedback.tokens.items)


def _from_list(about: ListFeedback, origin: Query) -> Move:
    """What the list itself says, where the policy asks for it."""
    strategy = about.policy.strategy
    if strategy in ("rocchio", "prf", "grf", "afs", "afs_images"):
        return about.move(strategy, origin) or Move(origin, strategy)
    return Move(origin, "none")


def _unasked(about: ListFeedback, current: Query, *, anchor: Query) -> tuple[Move, bool]:
    """What the list says where nobody said anything: from ``current``, where that promises a gain, within a budget.

    The budget is around the ``anchor``, where the shopper's own feedback led, so that guesses upon guesses do not
    drift. The second value is whether it had to be kept.
    """
    found = about.best(current)
    if found is None:
        return Move(current, "none"), False
    if not _promising(about, current, found):
        return replace(found, query=current), False
    return _within(found, anchor, about.policy.list_budget)


def _promising(about: ListFeedback, origin: Query, move: Move) -> bool:
    """Whether a gain is expected of ``move``. Where nothing was fitted it is, but for ``prf``, which rarely helps."""
    if not about.policy.gate:
        return True
    gate = (about.modalities.fitted.gates or {}).get(move.strategy)
    if gate is None:
        return move.strategy != "prf"
    features = confidence(origin.image, move.query.image, about.vectors(move.strategy), move.relevance)
    return expected_gain(gate, features) > 0


def _by_words_and_boxes(about: ListFeedback, first: Move, kinds: list[str]) -> Move:
    policy, feedback, modalities = about.policy, about.feedback, about.modalities
    move = first
    if "text" in kinds and feedback.words is not None:
        move = replace(move, query=by_words(move.query, feedback.words, policy, modalities))
    if "boxes" not in kinds:
        return move
    steered = by_steering(move.query, about) if policy.boxes.mode == "afs" else None
    if steered is not None:
        return steered
    if feedback.regions is None:
        return move
    return replace(move, query=by_crops(move.query, feedback.regions, policy.boxes, modalities))


def _within(move: Move, start: Query, budget: float) -> tuple[Move, bool]:
    """``move`` with each side within the drift budget of ``start``, and whether one had to be brought back."""
    image, image_back = hold_within(move.query.image, start.image, budget)
    caption, caption_back = hold_within(move.query.caption, start.caption, budget)
    query = Query(image.astype(np.float32), caption.astype(np.float32))
    return replace(move, query=query), image_back or caption_back


def _decision(query: Query, current: Query, *, back: bool) -> Decision:
    if _same(query.image, current.image) and _same(query.caption, current.caption):
        return "held"
    return "blended" if back else "moved"


def _same(one: Floats, other: Floats) -> bool:
    if np.isnan(one).any() or np.isnan(other).any():
        return bool(np.isnan(one).any() and np.isnan(other).any())
    return cosine(one, other) >= _STILL


def _whole(query: Query) -> Query:
    """A side of NaN takes the other's place: one space holds both."""
    if np.isnan(query.image).any():
        return Query(query.caption, query.caption)
    if np.isnan(query.caption).any():
        return Query(query.image, query.image)
    return query


def _shares(weights: Wide) -> Wide:
    total = float(weights.sum())
    return weights / total if total > 0 else np.zeros(0)


def _check(start: Query, feedback: Feedback) -> None:
    """Raise where arrays do not fit the query's dimension."""
    dim = start.image.shape
    vectors = {"shown.images": feedback.shown.images, "shown.captions": feedback.shown.captions}
    if feedback.judged is not None:
        vectors |= {"judged.images": feedback.judged.images, "judged.captions": feedback.judged.captions}
    if feedback.regions is not None:
        vectors["regions.vectors"] = feedback.regions.vectors
    for name, found in vectors.items():
        if found.ndim != 2 or found.shape[1:] != dim:
            raise ValueError(f"{name} of shape {found.shape}: expected (n, {dim[0]})")
    if feedback.words is not None and feedback.words.shape != dim:
        raise ValueError(f"words of shape {feedback.words.shape}: expected {dim}")
