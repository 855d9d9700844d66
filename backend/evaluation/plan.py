"""What is measured, whatever it is measured on."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backend.errors import Unprocessable
from backend.evaluation.benchmark import Benchmark, Which
from backend.evaluation.report import Advance, Cost, ProtocolReport, measure
from backend.evaluation.studies import STUDIES, Available, main_strategies, studies
from backend.evaluation.turns import Laboratory
from backend.ml.feedback.inputs import Query
from backend.ml.summarizer import AttentiveSummarizer, TokenSummarizer, load_summarizer
from backend.ml.tokens import StoredForm

TIMED = 50
"""Summaries that the cost of one is the median of."""


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


def measured(laboratory: Laboratory, available: Available, plan: Plan, advance: Advance) -> ProtocolReport:
    """Every strategy and study that ``plan`` wants and ``available`` allows."""
    wanted = studies(available, plan.studies)
    rows = main_strategies(available, accumulate=plan.accumulate)
    return measure(laboratory, rows, wanted, pictured=plan.pictured, advance=advance)


def read_summarizer(path: Path, encoder_id: str) -> TokenSummarizer:
    """The summarizer in a file of weights.

    Raises:
        SummarizerUnfit: it holds none, or one that reads another encoder's tokens.
    """
    try:
        found = load_summarizer(path.read_bytes())
    except (ValueError, OSError) as error:
        raise SummarizerUnfit("This is no summarizer.", found=f"{path}: {error}") from error
    if found.encoder_id != encoder_id:
        raise SummarizerUnfit(f"{path} reads tokens of another encoder.", found=found.encoder_id, expected=encoder_id)
    return found


def cost_of(name: str, summarizer: TokenSummarizer, benchmark: Benchmark, encoder_parameters: int) -> Cost:
    """Parameters and the median time of one summary of the first list's five items.

    The share is NaN where the encoder's parameters are 0.
    """
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
    share = parameters / encoder_parameters if encoder_parameters else float("nan")
    return Cost(name, parameters, share, milliseconds)
