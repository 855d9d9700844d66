"""Feedback measured on photographs with captions."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.errors import Unprocessable
from backend.evaluation.benchmark import Benchmark, PhotoBenchmark, Which
from backend.evaluation.datasets import CaptionedPhotos
from backend.evaluation.features import Features, compute_features
from backend.evaluation.report import Advance, Cost, ProtocolReport, Report, measure
from backend.evaluation.studies import STUDIES, Available, main_strategies, studies
from backend.evaluation.turns import Laboratory
from backend.ml.encoder import Encoder
from backend.ml.feedback.fitted import Fitted
from backend.ml.feedback.inputs import Matrix, Query
from backend.ml.summarizer import AttentiveSummarizer, TokenSummarizer, load_summarizer
from backend.ml.tokens import StoredForm

TIMED = 50
"""Summaries that the cost of one is the median of."""

MOST_REFERENCES = 20_000
"""Reference queries taken, at most."""


class SummarizerUnfit(Unprocessable):
    """The weights are no summarizer's, or of one that reads another encoder's tokens."""

    title = "Summarizer unfit"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        protocols: how queries are taken.
        turns: lists a session has, 2 or more.
        accumulate: whether a turn moves the query of the turn before, or the first.
        studies: names of the sweeps and ablations wanted; None wants all.
        queries: at most so many, drawn at random; 0 takes all.
        pictured: sessions shown of each strategy, of each kind.
        seed: of all draws.
        form: as the token store would keep tokens; None is half precision as computed.
    """

    protocols: tuple[Which, ...] = ("first", "all")
    turns: int = 5
    accumulate: bool = True
    studies: tuple[str, ...] | None = None
    queries: int = 0
    pictured: int = 4
    seed: int = 7
    form: StoredForm | None = None

    def __post_init__(self) -> None:
        if self.turns < 2:
            raise ValueError(f"turns {self.turns}: expected 2 or more")
        if unknown := set(self.studies or ()) - set(STUDIES):
            raise ValueError(f"studies {', '.join(sorted(unknown))}: expected {', '.join(STUDIES)}")


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
        references: other photos, whose captions are the reference queries of nearest-neighbour normalisation.

    Raises:
        NothingToEvaluate: fewer than two pictures that can be read.
    """
    features = compute_features(
        means.encoder, data, means.folder, tokens=bool(means.summarizers), progress=means.encoded
    )
    features = replace(features, form=plan.form)
    fitted = _fitted(features, _reference_queries(references, means))
    protocols = []
    for which in plan.protocols:
        benchmark = PhotoBenchmark(data, features, which, most=plan.queries, seed=plan.seed)
        laboratory = Laboratory(benchmark, dict(means.summarizers), fitted, plan.turns)
        protocols.append(_measured(laboratory, _available(data, features, fitted, means), plan, means.advance))
    costs = [cost_of(name, one, benchmark, means.encoder.parameters) for name, one in means.summarizers.items()]
    unreadable = len(data.photos) - len(features.gallery)
    return Report(data.name, means.encoder.id, protocols, costs, unreadable, _setting(data, plan, references))


def read_summarizer(path: Path, encoder: Encoder) -> TokenSummarizer:
    """The summarizer in a file of weights.

    Raises:
        SummarizerUnfit: it holds none, or one that reads another encoder's tokens.
    """
    try:
        found = load_summarizer(path.read_bytes())
    except (ValueError, OSError) as error:
        raise SummarizerUnfit("This is no summarizer.", found=f"{path}: {error}") from error
    if found.encoder_id != encoder.id:
        raise SummarizerUnfit(f"{path} reads tokens of another encoder.", found=found.encoder_id, expected=encoder.id)
    return found


def cost_of(name: str, summarizer: TokenSummarizer, benchmark: Benchmark, encoder_parameters: int) -> Cost:
    """Parameters and the median time of one summary of the first list's five items."""
    with torch.device("meta"):  # only the shapes are wanted
        parameters = sum(weight.numel() for weight in AttentiveSummarizer(summarizer.config).parameters())
    times = []
    for query in range(min(TIMED, len(benchmark.starts))):
        start = Query(benchmark.starts[query], benchmark.starts[query])
        scores = benchmark.scores(np.array([query]), start.image[None], start.caption[None])[0]
        tokens = benchmark.tokens(query, np.argsort(-scores, kind="stable")[:5], start)
        if tokens is not None:
            began = time.perf_counter()
            summarizer.summarize(tokens)
            times.append(time.perf_counter() - began)
    milliseconds = 1000 * float(np.median(times)) if times else float("nan")
    return Cost(name, parameters, parameters / encoder_parameters, milliseconds)


def _measured(laboratory: Laboratory, available: Available, plan: Plan, advance: Advance) -> ProtocolReport:
    wanted = studies(available, tuple(STUDIES) if plan.studies is None else plan.studies)
    rows = main_strategies(available, accumulate=plan.accumulate)
    return measure(laboratory, rows, wanted, pictured=plan.pictured, advance=advance)


def _available(data: CaptionedPhotos, features: Features, fitted: Fitted, means: Means) -> Available:
    spoken = max(len(photo.captions) for photo in data.photos) > 1
    captions = spoken or bool((features.generated >= 0).any())
    return Available(captions, spoken, tuple(means.summarizers), fitted.references is not None)


def _fitted(features: Features, references: Matrix | None) -> Fitted:
    """Modality means as a catalogue knows them: of its pictures and of its captions."""
    written = features.generated[features.generated >= 0]
    captions = features.texts[written] if len(written) else features.texts
    means = (features.images[features.gallery], captions)
    image, caption = (side.mean(axis=0, dtype=np.float64).astype(np.float32) for side in means)
    return Fitted(image_mean=image, caption_mean=caption, references=references)


def _reference_queries(references: CaptionedPhotos | None, means: Means) -> Matrix | None:
    if references is None:
        return None
    texts: Sequence[str] = [caption for photo in references.photos for caption in photo.captions]
    if len(texts) > MOST_REFERENCES:
        drawn = np.random.default_rng(0).permutation(len(texts))[:MOST_REFERENCES]
        texts = [texts[row] for row in drawn]
    return means.encoder.encode_texts(texts)


def _setting(data: CaptionedPhotos, plan: Plan, references: CaptionedPhotos | None) -> dict[str, Any]:
    wrote = sum(photo.generated is not None for photo in data.photos)
    return {
        "feedback captions": f"{wrote} by a model" if wrote else "people's other captions stand in for a model's",
        "reference queries": references.name if references else "none",
        "feedback of earlier turns": "accumulates"
        if plan.accumulate
        else "is dropped: each turn moves the first query",
        "tokens": plan.form or "half precision, as computed",
        "seed": plan.seed,
    }
