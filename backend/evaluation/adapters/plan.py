"""From pairs to a report: the rows, the studies, the search and the examples that were asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backend.evaluation.adapters.experiment import Advance, Outcome, Protocol, cross_validate
from backend.evaluation.adapters.methods import Method, Study
from backend.evaluation.adapters.paired import PairedTexts
from backend.evaluation.adapters.pictured import examples
from backend.evaluation.adapters.query_types import by_type
from backend.evaluation.adapters.report import Report, StudyRows, row_of, type_rows
from backend.evaluation.adapters.trials import search
from backend.ml.adapter_plan import AdapterPlan
from backend.ml.pairs import Pairs, PairsUnfit


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        methods: rows of the main table, zero-shot first.
        studies: beside it.
        protocol: folds and seeds.
        adapter: what the residual rows vary.
        trials: of the search for hyper-parameters; 0 for none.
        record: JSON lines of the trials.
        pictured: queries shown of each method, of each kind.
    """

    methods: Sequence[Method]
    studies: Sequence[Study] = ()
    protocol: Protocol = field(default_factory=Protocol)
    adapter: AdapterPlan = field(default_factory=AdapterPlan)
    trials: int = 0
    record: Path = Path("trials.jsonl")
    pictured: int = 0


def evaluate_adapters(
    data: PairedTexts, plan: Plan, *, retention: PairedTexts | None = None, advance: Advance = lambda *_: None
) -> Report:
    """Measure what ``plan`` wants on ``data``.

    Args:
        data: pairs and what people see of them.
        plan: what is measured.
        retention: pairs of the same encoder that are only asked: what heads must not forget.
        advance: told how far it is.

    Raises:
        PairsUnfit: vectors that are no unit vectors, or retention pairs of another width.
        NothingToEvaluate: too few products for the folds.
    """
    kept = None if retention is None else _fitting(retention.pairs, data.pairs)

    def measured(method: Method) -> Outcome:
        return cross_validate(data.pairs, method, plan.protocol, retention=kept, advance=advance)

    products = data.pairs.products
    outcomes = [measured(method) for method in plan.methods]
    plain = outcomes[0]
    compared = [
        StudyRows(
            study.name,
            study.title,
            [row_of(measured(method), plain, products) for method in _possible(study, data, plan)],
        )
        for study in plan.studies
    ]
    typed = by_type(data.said, data.kinds)
    searched = None
    if plan.trials:
        searched = search(data.pairs, plan.adapter, plan.protocol, plan.trials, plan.record, advance=advance)
    return Report(
        data=data.name,
        encoder=data.encoder,
        queries=len(data.pairs),
        gallery=len(data.pairs.images),
        products=len(np.unique(data.pairs.product_of)),
        left_out=data.left_out,
        rows=[row_of(outcome, plain, products) for outcome in outcomes],
        types={one.method: type_rows(one, plain, products, typed) for one in outcomes[1:]},
        studies=compared,
        search=searched,
        setting=_setting(plan, retention),
        examples=[example for one in outcomes[1:] for example in examples(data, plain, one, plan.pictured)],
    )


def _possible(study: Study, data: PairedTexts, plan: Plan) -> Iterator[Method]:
    """Methods of ``study`` that learn from fewer products than a fold leaves, and those that learn from all."""
    left = len(np.unique(data.pairs.products)) * (plan.protocol.folds - 1) // plan.protocol.folds
    return (method for method in study.methods if method.products < left)


def _fitting(retention: Pairs, pairs: Pairs) -> Pairs:
    if retention.width != pairs.width:
        raise PairsUnfit(
            "The retention pairs are of another encoder.", found=retention.width, expected=f"width {pairs.width}"
        )
    return retention


def _setting(plan: Plan, retention: PairedTexts | None) -> dict[str, Any]:
    protocol = plan.protocol
    return {
        "folds": protocol.folds,
        "seeds": list(range(protocol.first, protocol.first + protocol.seeds)),
        "epochs chosen by": f"{protocol.chosen_by:.0%} of the products learned from",
        "retention": retention.name if retention else "none",
        "adapter": asdict(plan.adapter),
    }
