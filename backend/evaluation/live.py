"""Feedback measured on the live catalogue, by the one score and with the generation's own calibration."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.evaluation.catalogue import Catalogue, CatalogueBenchmark, CatalogueQuery
from backend.evaluation.plan import Plan, cost_of, measured
from backend.evaluation.report import Advance, Report
from backend.evaluation.studies import Available
from backend.evaluation.turns import Laboratory
from backend.generations.models import SummarizerRecord
from backend.generations.serving import Serving
from backend.ml.feedback.adapted import AdaptedSummarizer
from backend.ml.feedback.fitted import Fitted
from backend.ml.feedback.inputs import Summarizer
from backend.ml.summarizer import TokenSummarizer, load_summarizer


def evaluate_catalogue(
    catalogue: Catalogue,
    queries: Sequence[CatalogueQuery],
    summarizers: dict[str, TokenSummarizer],
    plan: Plan,
    *,
    encoder_parameters: int = 0,
    advance: Advance = lambda *_: None,
) -> Report:
    """Measure every strategy that the catalogue allows.

    Args:
        catalogue: searched.
        queries: with their products.
        summarizers: by name, of the catalogue's encoder.
        plan: what is measured; its protocols and its form of tokens are those of photographs and mean nothing here.
        encoder_parameters: of the encoder, for the cost of summarizers; 0 where it was not opened.
        advance: told how far a strategy is.

    Raises:
        NothingToEvaluate: fewer than two products, or no query.
    """
    benchmark = CatalogueBenchmark(catalogue, queries, seed=plan.seed)
    fitted = Fitted.from_json(catalogue.serving.feedback)
    available = Available(
        captions=any(len(product.captions) for product in catalogue.products),
        words=any(query.more is not None for query in queries),
        summarizers=tuple(summarizers) if any(query.tokens is not None for query in queries) else (),
        references=fitted.references is not None,
    )
    laboratory = Laboratory(benchmark, _through_head(catalogue.serving, summarizers), fitted, plan.turns)
    report = measured(laboratory, available, plan, advance)
    costs = [cost_of(name, one, benchmark, encoder_parameters) for name, one in summarizers.items()]
    return Report("the live catalogue", catalogue.serving.encoder_id, [report], costs, 0, _setting(catalogue, plan))


def own_summarizer(sessions: sessionmaker[Session], serving: Serving) -> dict[str, TokenSummarizer]:
    """The summarizer of the live generation, where it has one."""
    if serving.summarizer_id is None:
        return {}
    with session_scope(sessions) as session:
        weights = session.get_one(SummarizerRecord, serving.summarizer_id).weights
    return {"its own": load_summarizer(weights)}


def _through_head(serving: Serving, summarizers: dict[str, TokenSummarizer]) -> dict[str, Summarizer]:
    """``summarizers`` as the generation asks them."""
    head = serving.item_heads.image
    return {name: one if head is None else AdaptedSummarizer(one, head) for name, one in summarizers.items()}


def _setting(catalogue: Catalogue, plan: Plan) -> dict[str, Any]:
    pictured = sum(1 for product in catalogue.products if len(product.images))
    captioned = sum(1 for product in catalogue.products if len(product.captions))
    return {
        "generation": catalogue.serving.name,
        "products with pictures": f"{pictured:,} of {len(catalogue.products):,}",
        "products with captions": f"{captioned:,} of {len(catalogue.products):,}",
        "feedback of earlier turns": "accumulates" if plan.accumulate else "is dropped",
        "calibration measured": "yes" if catalogue.serving.feedback else "no",
        "captions a product": float(np.round(np.mean([len(one.captions) for one in catalogue.products]), 2)),
        "seed": plan.seed,
    }
