"""What feedback is calibrated with on photographs that are not judged: as a generation is on its own catalogue."""

from dataclasses import replace

import numpy as np

from backend.evaluation.benchmark import PhotoBenchmark
from backend.evaluation.datasets import CaptionedPhotos
from backend.evaluation.features import Features
from backend.evaluation.turns import Laboratory, Strategy
from backend.ml.feedback.confidence import confidence
from backend.ml.feedback.fit import fit_feedback, fit_gate
from backend.ml.feedback.fitted import Fitted, Gate
from backend.ml.feedback.inputs import Matrix, Query, Summarizer
from backend.ml.feedback.policy import BUILT_IN
from backend.ml.metrics import reciprocal_rank
from backend.ml.scoring import Calibration, Side

MOST_REFERENCES = 20_000
"""Reference queries taken, at most."""

LEAST_PHOTOS = 40
"""Photos below which nothing is fitted."""

BY_PICTURE = Calibration(caption_weight=0.0)
"""Of the score of photographs: captions are not searched."""


def gallery_means(features: Features) -> Fitted:
    """Modality means as a catalogue knows them: of its pictures and of its captions."""
    written = features.generated[features.generated >= 0]
    captions = features.texts[written] if len(written) else features.texts
    return Fitted(image_mean=_mean(features.images[features.gallery]), caption_mean=_mean(captions))


def calibrate(
    gallery: Features, data: CaptionedPhotos, features: Features, summarizers: dict[str, Summarizer]
) -> Fitted:
    """Means of the ``gallery``, and what is fitted to other photos: reference queries, weights of likes, gates.

    The gate of a summarizer is fitted by plain sessions over those photos, on which it must not have been trained.
    """
    references = features.texts
    if len(references) > MOST_REFERENCES:
        references = references[np.random.default_rng(0).permutation(len(references))[:MOST_REFERENCES]]
    found = replace(gallery_means(gallery), references=references)
    photos = features.gallery
    if len(photos) < LEAST_PHOTOS:
        return found
    captions = np.array([features.captions_of(int(photo))[-1] for photo in photos])
    places = np.arange(len(photos))
    sides = Side(features.images[photos], places), Side(features.texts[captions], places)
    fitted = fit_feedback(*sides, BY_PICTURE)
    gates = dict(fitted.gates or {})
    if summarizers:
        gates["afs"] = summary_gate(PhotoBenchmark(data, features, "all"), summarizers)
    return replace(found, likes=fitted.likes, gates=gates)


def summary_gate(benchmark: PhotoBenchmark, summarizers: dict[str, Summarizer]) -> Gate:
    """When the first of ``summarizers`` promises to bring what is meant nearer to the front."""
    strategy = Strategy("afs", BUILT_IN["afs"])
    run = Laboratory(benchmark, summarizers).run(strategy, turns=2)
    k = strategy.policy.k
    features = []
    for query, (start, moved) in enumerate(zip(run.vectors[0], run.vectors[1], strict=True)):
        shown = benchmark.items(query, run.shown[0][query][:k], Query(start, start))
        features.append(confidence(start, moved, shown.images, run.relevance[1][query]))
    return fit_gate(features, reciprocal_rank(run.ranks[1]) - reciprocal_rank(run.ranks[0]))


def _mean(vectors: Matrix) -> Matrix:
    return np.asarray(vectors.mean(axis=0, dtype=np.float64), dtype=np.float32)
