"""What is fitted to a catalogue for relevance feedback: the weights of likes, and when to leave a list as it is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.ml.feedback.confidence import Confidence, confidence
from backend.ml.feedback.fitted import Fitted, Gate
from backend.ml.feedback.geometry import Floats, Wide, mean_known, unit
from backend.ml.feedback.inputs import Feedback, Matrix, Query
from backend.ml.feedback.likes import pairwise_step
from backend.ml.feedback.policy import BUILT_IN, Likes, Policy
from backend.ml.feedback.rehearsal import Rehearsal
from backend.ml.feedback.update import refine
from backend.ml.metrics import reciprocal_rank, target_ranks
from backend.ml.scoring import Calibration, Ints, Side

REFERENCES = 128
"""Reference queries kept for nearest-neighbour normalisation."""

_SEED = 7
_SHOWN = 10
"""Products that a rehearsed shopper judges some of."""
_GRADES = np.array([1.0, 0.5, -0.5, -1.0])
"""Of the two that are most like what is meant, and of the two that are least."""
_MEANT = 6
"""The target and the products most like it, which should come before all others."""
_MARGIN = 0.1
"""Of the hinge loss, in deviations of a query's scores."""
_B = (0.5, 1.0, 2.0)
"""Below, the grade of a click would count nearly as much as a like."""
_C = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5)
_AS_GOOD = 1.1
"""Losses up to this times the least are taken for equal."""
_CAUTION = 2.0
"""Standard errors of the mean gain by which an expected gain is lowered."""
_RIDGE = 1.0
"""Penalty on standardised features, in times the observations: slopes of noise are halved."""


def fit_feedback(
    images: Side,
    captions: Side,
    calibration: Calibration,
    policy: Policy = BUILT_IN["auto"],
    *,
    asked: Matrix | None = None,
) -> Fitted:
    """What relevance feedback should know of the catalogue that rows of its products are given of.

    Too small a catalogue, or one without captions, leaves the weights of likes and the gates unknown.

    Args:
        images: rows of products' pictures, as the index holds them.
        captions: likewise of their captions.
        calibration: of the one score.
        policy: whose gates are fitted.
        asked: (n, d) the rows of ``captions`` as queries in the same words lie; None where that is the same.
    """
    rng = np.random.default_rng(_SEED)
    queries = captions if asked is None else Side(asked, captions.products)
    chosen = np.sort(rng.permutation(len(queries.vectors))[:REFERENCES])
    found = Fitted(
        image_mean=_mean(images),
        caption_mean=_mean(captions),
        references=queries.vectors[chosen] if len(chosen) else None,
        words_mean=None if asked is None else _mean(queries),
    )
    rehearsal = Rehearsal.of(images, captions, calibration, seed=_SEED, asked=queries)
    if rehearsal is None:
        return found
    # a summarizer's gate needs tokens, and is fitted where they are
    gates = {
        "prf": fit_list_gate(rehearsal, policy, "prf", found),
        "grf": fit_list_gate(rehearsal, policy, "grf", found),
    }
    return replace(found, likes=fit_likes(rehearsal, found), gates=gates)


def fit_likes(rehearsal: Rehearsal, fitted: Fitted) -> Likes:
    """Weights (a, b, c) by a pairwise hinge loss over rehearsed sessions, a grid of b and c at a = 1.

    In each a shopper judges four of the first products by their likeness to what is meant; the loss is over pairs of
    a product meant and one not meant that were not shown. Only c / a and b matter, because the query is normalised
    again. A shopper's words say less than stored captions do, so of weights with about the least loss those are taken
    that listen to judgements most.
    """
    scores = rehearsal.scores(rehearsal.queries, rehearsal.queries)
    rows = np.arange(len(scores))
    scores[rows, rehearsal.targets] = -np.inf  # what is meant has not been found yet
    shown = np.argsort(-scores, axis=1, kind="stable")[:, :_SHOWN]
    by_likeness = np.argsort(-np.take_along_axis(rehearsal.likeness, shown, axis=1), axis=1, kind="stable")
    judged = np.take_along_axis(shown, by_likeness[:, [0, 1, -2, -1]], axis=1)
    unseen = np.ones(scores.shape, dtype=np.bool_)
    np.put_along_axis(unseen, shown, values=False, axis=1)
    meant = np.argsort(-np.where(unseen, rehearsal.likeness, -np.inf), axis=1, kind="stable")[:, :_MEANT]
    rest = unseen.copy()
    np.put_along_axis(rest, meant, values=False, axis=1)
    losses = {}
    for b in _B:
        steps = _steps(rehearsal, Likes(1.0, b, 1.0), judged, shown, fitted)
        for c in _C:
            moved = (unit(rehearsal.queries + c * step) for step in steps)
            losses[b, c] = _hinge(rehearsal.scores(*moved), meant, rest)
    least = min(losses.values())
    c, b = max((c, b) for (b, c), loss in losses.items() if loss <= _AS_GOOD * least)
    return Likes(1.0, b, c)


def fit_list_gate(rehearsal: Rehearsal, policy: Policy, strategy: Literal["prf", "grf"], fitted: Fitted) -> Gate:
    """When ``strategy`` over a list promises to bring what is meant nearer to the front, by rehearsal."""
    alone = replace(policy, strategy=strategy, drift_budget=-1.0)
    plain = rehearsal.scores(rehearsal.queries, rehearsal.queries)
    shown = np.argsort(-plain, axis=1, kind="stable")[:, : policy.k]
    features, images, captions = [], [], []
    for query, rows in zip(rehearsal.queries, shown, strict=True):
        start = Query(query, query)
        outcome = refine(alone, start, start, Feedback(rehearsal.items(rows)), fitted=fitted)
        vectors = rehearsal.captions[rows] if strategy == "grf" else rehearsal.images[rows]
        features.append(confidence(query, outcome.query.image, vectors, outcome.relevance))
        images.append(outcome.query.image)
        captions.append(outcome.query.caption)
    moved = rehearsal.scores(np.stack(images), np.stack(captions))
    targets = rehearsal.targets
    gains = reciprocal_rank(target_ranks(moved, targets)) - reciprocal_rank(target_ranks(plain, targets))
    return fit_gate(features, gains)


def fit_gate(features: Sequence[Confidence], gains: Floats) -> Gate:
    """Expected gain by ridge regression of ``gains`` (n,) on ``features`` (n,), lowered by its standard error.

    Raises:
        ValueError: not as many gains as features, or fewer than two.
    """
    gains = np.asarray(gains, dtype=np.float64)
    if len(features) != len(gains) or len(gains) < 2:
        raise ValueError(f"{len(features)} features and {len(gains)} gains: expected as many, at least 2")
    rows = np.stack([one.row()[:3] for one in features])
    center, scale = rows.mean(axis=0), rows.std(axis=0).clip(1e-6)
    standard = (rows - center) / scale
    slopes = (
        np.linalg.solve(standard.T @ standard + _RIDGE * len(gains) * np.eye(3), standard.T @ (gains - gains.mean()))
        / scale
    )
    caution = _CAUTION * gains.std() / np.sqrt(len(gains))
    bias = float(gains.mean() - slopes @ center - caution)
    return Gate(float(slopes[0]), float(slopes[1]), float(slopes[2]), bias)


def _steps(rehearsal: Rehearsal, likes: Likes, judged: Ints, shown: Ints, fitted: Fitted) -> tuple[Wide, Wide]:
    """(n, d) on each side, where the ``judged`` (n, 4) of those ``shown`` (n, m) lead at weight 1."""
    silent = [np.setdiff1d(first, rows) for first, rows in zip(shown, judged, strict=True)]
    sides = ((rehearsal.images, fitted.image_mean), (rehearsal.captions, fitted.caption_mean))
    image, caption = (
        np.stack(
            [
                pairwise_step(vectors[rows], _GRADES, likes, average=mean, beside=mean_known(vectors[beside]))
                for rows, beside in zip(judged, silent, strict=True)
            ]
        )
        for vectors, mean in sides
    )
    return image, caption


def _hinge(scores: Wide, meant: Ints, rest: NDArray[np.bool_]) -> float:
    """Mean over pairs of max(0, margin - (s_meant - s_rest)), scores (n, p) in deviations of their query's."""
    scores = (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True).clip(1e-9)
    ours = np.take_along_axis(scores, meant, axis=1)
    total = sum(float(np.maximum(0.0, _MARGIN - (ours[:, [place]] - scores))[rest].sum()) for place in range(_MEANT))
    return total / (_MEANT * max(int(rest.sum()), 1))


def _mean(side: Side) -> Matrix | None:
    return np.asarray(side.vectors.mean(axis=0), dtype=np.float32) if len(side.vectors) else None
