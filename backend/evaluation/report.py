"""What an evaluation came to: rows with intervals, and everything that tables, plots and the page are made from."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from backend.evaluation.examples import Example, examples
from backend.evaluation.studies import Study
from backend.evaluation.turns import DECISIONS, Laboratory, Run, Strategy
from backend.ml.feedback.policy import Policy
from backend.ml.metrics import hits, paired_bootstrap, reciprocal_rank

DEPTH = 5
"""MRR counts the first five, as in the paper."""

Advance = Callable[[str, int, int], None]
"""Told what is measured, how many queries of it are done, and of how many."""


@dataclass(frozen=True)
class Row:
    """One strategy in one turn.

    Args:
        strategy: its name in the table.
        turn: 1 is plain retrieval.
        hits_1: share of queries whose first item is right.
        hits_5: share with a right item among the first 5.
        hits_10: share with one among the first 10.
        mrr_5: mean reciprocal rank, 0 behind the first 5.
        gain: of mrr_5 over plain retrieval.
        low: of the gain's 95 % interval, by paired bootstrap over the queries.
        high: likewise.
        similarity: mean cosine to the first query.
        decisions: share of the queries that moved, were blended back, or held.
    """

    strategy: str
    turn: int
    hits_1: float
    hits_5: float
    hits_10: float
    mrr_5: float
    gain: float
    low: float
    high: float
    similarity: float
    decisions: dict[str, float]


@dataclass(frozen=True)
class StudyRows:
    """What a study came to."""

    name: str
    title: str
    rows: list[Row]


@dataclass(frozen=True)
class ProtocolReport:
    """One way to take queries from the data.

    Args:
        name: for people.
        queries: n.
        items: searched by each.
        rows: strategies by turns.
        studies: sweeps and ablations, in turn 2.
        policies: what the names of the rows stand for.
        examples: sessions to look at.
    """

    name: str
    queries: int
    items: int
    rows: list[Row]
    studies: list[StudyRows]
    policies: dict[str, Any]
    examples: list[Example] = field(default_factory=list)

    def turn(self, number: int) -> list[Row]:
        """The rows of one turn."""
        return [row for row in self.rows if row.turn == number]


@dataclass(frozen=True)
class Cost:
    """What a summarizer costs beside the encoder it reads tokens of.

    Args:
        name: of the summarizer.
        parameters: it has.
        share: of the encoder's parameters.
        milliseconds: median of one summary on one thread.
    """

    name: str
    parameters: int
    share: float
    milliseconds: float


@dataclass(frozen=True)
class Report:
    """Everything that was measured.

    Args:
        data: what was searched.
        encoder: its id.
        protocols: one or two.
        costs: of the summarizers.
        unreadable: pictures that could not be read and were left out.
        setting: what else the numbers depend on.
    """

    data: str
    encoder: str
    protocols: list[ProtocolReport]
    costs: list[Cost]
    unreadable: int
    setting: dict[str, Any]

    def to_json(self) -> str:
        """All numbers; pictures are left to the page."""
        content = asdict(self)
        for protocol in content["protocols"]:
            del protocol["examples"]
        return json.dumps(content, indent=2)

    def write_json(self, path: Path) -> None:
        """Write ``to_json`` to ``path``."""
        path.write_text(self.to_json(), encoding="utf-8")


def measure(
    laboratory: Laboratory,
    strategies: Sequence[Strategy],
    studies: Sequence[Study],
    *,
    pictured: int = 0,
    advance: Advance = lambda *_: None,
) -> ProtocolReport:
    """Run all sessions.

    Args:
        laboratory: queries, items, and what sessions are simulated with.
        strategies: of the main table; the first is plain retrieval, which all are compared with.
        studies: beside it.
        pictured: sessions shown of each strategy.
        advance: told how far each strategy is.
    """
    benchmark = laboratory.benchmark
    runs = [_run(laboratory, strategy, laboratory.turns, advance) for strategy in strategies]
    plain = runs[0]
    compared = [
        StudyRows(
            study.name, study.title, [_study_row(laboratory, strategy, plain, advance) for strategy in study.strategies]
        )
        for study in studies
    ]
    named = [*strategies, *(strategy for study in studies for strategy in study.strategies)]
    return ProtocolReport(
        name=benchmark.name,
        queries=len(benchmark.starts),
        items=benchmark.size,
        rows=[row_of(run, plain, turn) for run in runs for turn in range(laboratory.turns)],
        studies=compared,
        policies={one.name: TypeAdapter(Policy).dump_python(one.policy, mode="json") for one in named},
        examples=[example for run in runs[1:] for example in examples(benchmark, plain, run, pictured)],
    )


def row_of(run: Run, plain: Run, turn: int) -> Row:
    """The numbers of ``run`` in ``turn``, counted from 0, compared with plain retrieval."""
    ranks = run.ranks[turn]
    interval = paired_bootstrap(reciprocal_rank(ranks, DEPTH), reciprocal_rank(plain.ranks[0], DEPTH))
    return Row(
        strategy=run.strategy.name,
        turn=turn + 1,
        hits_1=_mean(hits(ranks, 1)),
        hits_5=_mean(hits(ranks, 5)),
        hits_10=_mean(hits(ranks, 10)),
        mrr_5=_mean(reciprocal_rank(ranks, DEPTH)),
        gain=interval.mean,
        low=interval.low,
        high=interval.high,
        similarity=_mean(run.similarity[turn]),
        decisions={name: _mean(run.decisions[turn] == number) for number, name in enumerate(DECISIONS)},
    )


def _study_row(laboratory: Laboratory, strategy: Strategy, plain: Run, advance: Advance) -> Row:
    return row_of(_run(laboratory, strategy, 2, advance), plain, 1)


def _run(laboratory: Laboratory, strategy: Strategy, turns: int, advance: Advance) -> Run:
    total, done = len(laboratory.benchmark.starts), 0

    def progress(queries: int) -> None:
        nonlocal done
        done += queries
        advance(strategy.name, done, total)

    advance(strategy.name, 0, total)
    return laboratory.run(strategy, turns=turns, progress=progress)


def _mean(values: NDArray[Any]) -> float:
    return float(np.mean(values))
