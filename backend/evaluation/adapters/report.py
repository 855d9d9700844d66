"""What an evaluation of adapters came to: rows with intervals, by type of query, with examples."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.adapters.experiment import Outcome
from backend.evaluation.examples import Example
from backend.ml.adapter_gate import LEAST_RETENTION
from backend.ml.alignment import SpaceReport
from backend.ml.metrics import Interval, hits, paired_bootstrap, reciprocal_rank
from backend.ml.pairs import Rows

DEPTH = 10
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One method.

    Args:
        name: of it.
        recall_1: share of queries whose own product is first.
        recall_5: among the first 5.
        recall_10: among the first 10.
        mrr: mean reciprocal rank.
        ndcg_10: nDCG of the first 10, with one right product a query: 1 / log2(1 + rank).
        gain: of recall_10 over zero-shot, 95 % interval of a paired bootstrap over products.
        mrr_gain: of mrr.
        spread: standard deviation of recall_10 over the seeds; 0 of one seed.
        drift_text: mean 1 - cos of held-out texts.
        drift_image: of held-out pictures.
        retention: recall_10 and mrr on the retention queries over those of zero-shot, the lower; None without any.
        space: alignment, uniformity and gap of held-out pairs.
        epochs: median over the fits.
        seconds: a fit.
    """

    name: str
    recall_1: float
    recall_5: float
    recall_10: float
    mrr: float
    ndcg_10: float
    gain: Interval
    mrr_gain: Interval
    spread: float
    drift_text: float
    drift_image: float
    retention: float | None
    space: SpaceReport
    epochs: float
    seconds: float

    @property
    def stands(self) -> bool:
        """Whether both gains are above 0 beyond doubt, and, where it was looked at, nothing is forgotten."""
        kept = self.retention is None or self.retention >= LEAST_RETENTION
        return self.gain.above and self.mrr_gain.above and kept


@dataclass(frozen=True)
class TypeRow:
    """One method on the queries of one type."""

    type: str
    queries: int
    before: float
    after: float
    gain: Interval
    mrr_gain: Interval


@dataclass(frozen=True)
class StudyRows:
    """What a study came to."""

    name: str
    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Searched:
    """What a search came to.

    Args:
        trials: recorded, those of earlier runs included.
        chosen: what the best trial drew.
        score: Recall@10 + MRR of the best trial, on products that it did not learn from but chose by.
        before: the same of zero-shot.
        held_out: the chosen plan on products that no trial saw, compared with zero-shot.
        default: the plan that was varied, on the same.
    """

    trials: int
    chosen: dict[str, Any]
    score: float
    before: float
    held_out: Row
    default: Row


@dataclass(frozen=True)
class Report:
    """Everything that was measured.

    Args:
        data: its name.
        encoder: its id.
        queries: n.
        gallery: pictures searched.
        products: they show.
        left_out: pictures that could not be read.
        rows: of the main table, zero-shot first.
        types: rows by type of query, by method.
        studies: beside it.
        search: what the search for hyper-parameters came to, or None.
        setting: what else the numbers depend on.
        examples: queries to look at.
    """

    data: str
    encoder: str
    queries: int
    gallery: int
    products: int
    left_out: int
    rows: list[Row]
    types: dict[str, list[TypeRow]]
    studies: list[StudyRows]
    search: Searched | None
    setting: dict[str, Any]
    examples: list[Example] = field(default_factory=list)

    def to_json(self) -> str:
        """All numbers; pictures are left to the page."""
        content = asdict(self)
        del content["examples"]
        return json.dumps(content, indent=2)

    def write_json(self, path: Path) -> None:
        """Write ``to_json`` to ``path``."""
        path.write_text(self.to_json(), encoding="utf-8")


def row_of(outcome: Outcome, plain: Outcome, products: Rows) -> Row:
    """The numbers of ``outcome``, compared with ``plain``; ``products`` (n,) is what each query asks for."""
    ranks, recalls = outcome.ranks, [float(hits(outcome.ranks, k).mean()) for k in (1, 5, DEPTH)]
    return Row(
        name=outcome.method,
        recall_1=recalls[0],
        recall_5=recalls[1],
        recall_10=recalls[2],
        mrr=float(reciprocal_rank(ranks).mean()),
        ndcg_10=float(_discounted(ranks).mean()),
        gain=_gain(hits(ranks, DEPTH), hits(plain.ranks, DEPTH), products),
        mrr_gain=_gain(reciprocal_rank(ranks), reciprocal_rank(plain.ranks), products),
        spread=float(hits(ranks, DEPTH).mean(axis=1).std()),
        drift_text=outcome.drift_text,
        drift_image=outcome.drift_image,
        retention=retention_of(outcome, plain),
        space=outcome.space,
        epochs=float(np.median(outcome.epochs)),
        seconds=outcome.seconds,
    )


def numbers(row: Row) -> dict[str, float]:
    """Every number of ``row`` by a flat name, as tracking servers keep them."""
    flat = dict[str, float]()
    for name, value in asdict(row).items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{name}_{part}".rstrip("_"): number for part, number in parts if isinstance(number, int | float)}
    return flat


def type_rows(outcome: Outcome, plain: Outcome, products: Rows, rows_of: dict[str, Rows]) -> list[TypeRow]:
    """How each type of query fares; ``rows_of`` are the queries of each."""
    found = []
    for name, rows in rows_of.items():
        after, before = outcome.ranks[:, rows], plain.ranks[:, rows]
        found.append(
            TypeRow(
                name,
                len(rows),
                float(hits(before, DEPTH).mean()),
                float(hits(after, DEPTH).mean()),
                _gain(hits(after, DEPTH), hits(before, DEPTH), products[rows]),
                _gain(reciprocal_rank(after), reciprocal_rank(before), products[rows]),
            )
        )
    return found


def retention_of(outcome: Outcome, plain: Outcome) -> float | None:
    """What retention queries find, over what they find without: the lower of Recall@10 and MRR, mean over the fits."""
    if outcome.retained is None or plain.retained is None:
        return None
    shares = [
        float(measure(outcome.retained).mean()) / max(float(measure(plain.retained).mean()), 1e-12)
        for measure in (lambda ranks: hits(ranks, DEPTH), reciprocal_rank)
    ]
    return min(shares)


def _gain(ours: Values, theirs: Values, products: Rows) -> Interval:
    """Interval of the mean difference of (s, n): the mean over seeds and over a product's queries is one draw."""
    return paired_bootstrap(_by_product(ours, products), _by_product(theirs, products))


def _by_product(values: Values, products: Rows) -> Values:
    """(p,) sums over the queries of each product, scaled so that their mean is the mean over the queries."""
    _, places = np.unique(products, return_inverse=True)
    sums = np.bincount(places, values.mean(axis=0))
    return np.asarray(sums * len(sums) / len(products))


def _discounted(ranks: Rows) -> Values:
    return np.where(ranks <= DEPTH, 1 / np.log2(1.0 + ranks), 0.0)
