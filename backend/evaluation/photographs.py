"""Feedback measured on photographs with captions."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from backend.evaluation.benchmark import PhotoBenchmark
from backend.evaluation.calibration import calibrate, gallery_means
from backend.evaluation.datasets import CaptionedPhotos
from backend.evaluation.features import Features, compute_features
from backend.evaluation.plan import Plan, cost_of, measured
from backend.evaluation.report import Advance, Report
from backend.evaluation.studies import Available
from backend.evaluation.turns import Laboratory
from backend.ml.encoder import Encoder
from backend.ml.feedback.fitted import Fitted
from backend.ml.summarizer import TokenSummarizer


@dataclass(frozen=True)
class Means:
    """What is measured with.

    Args:
        encoder: of pictures and words.
        folder: where features are kept.
        summarizers: by name.
        encoded: told how far an encoding is.
        advance: told how far a strategy is.
    """

    encoder: Encoder
    folder: Path
    summarizers: dict[str, TokenSummarizer] = field(default_factory=dict)
    encoded: Callable[[str, int, int], None] = lambda *_: None
    advance: Advance = lambda *_: None


def evaluate_photos(
    data: CaptionedPhotos, means: Means, plan: Plan, references: CaptionedPhotos | None = None
) -> Report:
    """Measure every strategy that ``data`` and ``means`` allow.

    Args:
        data: searched, and asked for.
        means: what is measured with.
        plan: what is measured.
        references: other photos, on which feedback is calibrated and whose captions are the reference queries of
            nearest-neighbour normalisation. Without them neither is.

    Raises:
        NothingToEvaluate: fewer than two pictures that can be read.
    """
    features = compute_features(
        means.encoder, data, means.folder, tokens=bool(means.summarizers), progress=means.encoded
    )
    features = replace(features, form=plan.form)
    fitted = _fitted(features, references, means)
    protocols = []
    for which in plan.protocols:
        benchmark = PhotoBenchmark(data, features, which, most=plan.queries, seed=plan.seed)
        laboratory = Laboratory(benchmark, dict(means.summarizers), fitted, plan.turns)
        protocols.append(measured(laboratory, _available(data, features, fitted, means), plan, means.advance))
    costs = [cost_of(name, one, benchmark, means.encoder.parameters) for name, one in means.summarizers.items()]
    unreadable = len(data.photos) - len(features.gallery)
    return Report(data.name, means.encoder.id, protocols, costs, unreadable, _setting(data, plan, references))


def _available(data: CaptionedPhotos, features: Features, fitted: Fitted, means: Means) -> Available:
    spoken = max(len(photo.captions) for photo in data.photos) > 1
    captions = spoken or bool((features.generated >= 0).any())
    return Available(captions, spoken, tuple(means.summarizers), fitted.references is not None)


def _fitted(features: Features, references: CaptionedPhotos | None, means: Means) -> Fitted:
    if references is None:
        return gallery_means(features)
    known = compute_features(
        means.encoder, references, means.folder, tokens=bool(means.summarizers), progress=means.encoded
    )
    return calibrate(features, references, known, dict(means.summarizers))


def _setting(data: CaptionedPhotos, plan: Plan, references: CaptionedPhotos | None) -> dict[str, Any]:
    wrote = sum(photo.generated is not None for photo in data.photos)
    return {
        "feedback captions": f"{wrote} by a model" if wrote else "people's other captions stand in for a model's",
        "calibrated on": references.name if references else "none",
        "feedback of earlier turns": "accumulates"
        if plan.accumulate
        else "is dropped: each turn moves the first query",
        "tokens": plan.form or "half precision, as computed",
        "seed": plan.seed,
    }
