"""Calibration: what cosines of either side mean, measured on the catalogue itself.

Stored captions stand for queries by words, stored images for queries by picture, each through the head of such
queries; products are as the build holds them. Each query is compared with products other than its own, so that what is
measured is what *random* products reach; the mean and deviation of these cosines put both sides on one scale, and the
relevance cut stands above them (``ml/scoring.py``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

from backend.generations.bootstrap import code_version
from backend.generations.heads import read_query_heads
from backend.generations.index_content import read_contents
from backend.generations.models import Generation, IndexRow
from backend.generations.promote import go_live
from backend.generations.repository import Build, get_build, live_build, live_generation, lock_generations
from backend.logs import get_logger
from backend.ml.feedback.fit import fit_feedback
from backend.ml.feedback.fitted import Fitted
from backend.ml.scoring import Calibration, KindCalibration, Side, best_cosines, fit_kind
from backend.vector_index import VectorRow

log = get_logger(__name__)

SAMPLE_PRODUCTS = 1000
"""Products compared with."""

SAMPLE_QUERIES = 300
"""Captions and images that stand for queries."""

LEAST_PRODUCTS = 20
"""Fewer products than this say nothing: the calibration stays as it is."""

OUTGROWN = 1.5
"""Growth of the catalogue from which on its calibration is measured again."""

_SEED = 7


def recalibrate(session: Session, *, actor: str) -> int | None:
    """Measure the live build and put a generation live that differs in its calibration only; its id.

    ``None`` where nothing is live or too little is indexed to say anything. The weights of captions and of words are
    kept: a catalogue alone does not tell what shoppers want.
    """
    lock_generations(session)
    live, build = live_generation(session), live_build(session)
    if live is None or build is None:
        return None
    measured = measure_build(session, build, live, live.query_heads)
    if measured is None:
        return None
    generation = Generation(
        index_build_id=build.id,
        query_heads=live.query_heads,
        calibration=measured.calibration,
        summarizer_id=live.summarizer_id,
        feedback=measured.feedback,
        data_range=live.data_range,
        gate_report=live.gate_report,
        code_version=code_version(),
        state="ready",
        replaced=live.replaced,  # a rollback undoes what people chose, not a measurement
    )
    session.add(generation)
    session.flush()
    go_live(session, generation.id, actor=actor, undoable=False)
    log.info("recalibrated", generation=generation.id, products=measured.calibration["products"])
    return generation.id


@dataclass(frozen=True)
class Measured:
    """What was measured on a build, as generations keep it: the calibration, and what feedback needs to know."""

    calibration: dict[str, Any]
    feedback: dict[str, Any]


def complete(session: Session, generation: Generation, live: Generation | None) -> None:
    """Make a generation ready whose build is: its calibration, and what feedback needs, measured with its heads.

    Args:
        session: the transaction, under the lock of generations.
        generation: one that is new or ``trained``.
        live: the generation whose weights of captions and of words are kept.
    """
    build = get_build(session, generation.index_build_id)
    measured = measure_build(session, build, live, generation.query_heads) if live is not None else None
    generation.calibration = measured.calibration if measured else {"products": 0} | Calibration.identity().to_json()
    generation.feedback = measured.feedback if measured else {}
    generation.state = "ready"


def measure_build(session: Session, build: Build, live: Generation, query_heads: bytes | None) -> Measured | None:
    """Calibration of ``build`` and of feedback on it, asked through ``query_heads``.

    The weights of captions and of words are those of ``live``, and so is what was fitted to its summarizer, if it has
    the same build and the same heads. ``None`` where too little is indexed to say anything.
    """
    products = count_indexed(session, build.id)
    if products < LEAST_PRODUCTS:
        return None
    images, captions = _raw_sides(session, build)
    asking = read_query_heads(query_heads, build.encoder_id)
    asked = Asked(
        Side(asking.adapt("text", captions.vectors), captions.products),
        Side(asking.adapt("image", images.vectors), images.products),
    )
    images = Side(build.heads.adapt("image", images.vectors), images.products)
    captions = Side(build.heads.adapt("caption", captions.vectors), captions.products)
    known = Calibration.from_json(live.calibration)
    measured = replace(measure(images, captions, known.caption_weight, asked), lexical_weight=known.lexical_weight)
    apart = asking.text is not None or build.heads.caption is not None
    fitted = fit_feedback(images, captions, measured, asked=asked.texts.vectors if apart else None)
    if (live.index_build_id, live.query_heads) == (build.id, query_heads):
        fitted = fitted.with_gates_of(Fitted.from_json(live.feedback))
    return Measured({"products": products} | measured.to_json(), fitted.to_json())


def _raw_sides(session: Session, build: Build) -> tuple[Side, Side]:
    """Images and captions of a sample of what the build holds, as the encoder gave them."""
    plain = replace(build, item_heads=None)
    contents = read_contents(session, plain, sample_products(session, build, SAMPLE_PRODUCTS))
    return (
        _side((row for content in contents for row in content.images), build.dim),
        _side((row for content in contents for row in content.captions), build.dim),
    )


def sample_products(session: Session, build: Build, most: int) -> Sequence[int]:
    """Numbers of up to ``most`` products that the build holds; the same catalogue gives the same sample."""
    sample = select(IndexRow.product).where(IndexRow.index_build_id == build.id)
    sample = sample.order_by(func.md5(func.concat(literal(_SEED), "/", IndexRow.product))).limit(most)
    return session.scalars(sample).all()


def recalibrate_when_outgrown(session: Session, *, actor: str) -> int | None:
    """Recalibrate once half as many products again are indexed as the live calibration was measured on."""
    lock_generations(session)  # an import that ends and a sweep may ask at the same time
    live = live_generation(session)
    if live is None:
        return None
    measured_on = int(live.calibration.get("products", 0))
    if count_indexed(session, live.index_build_id) < max(LEAST_PRODUCTS, OUTGROWN * measured_on):
        return None
    return recalibrate(session, actor=actor)


def count_indexed(session: Session, build_id: int) -> int:
    """Products that the build holds."""
    held = select(func.count()).select_from(IndexRow).where(IndexRow.index_build_id == build_id)
    return session.scalar(held.where(IndexRow.revision > 0)) or 0


@dataclass(frozen=True)
class Asked:
    """What stands for queries: rows of captions and of images as queries by words and by picture lie."""

    texts: Side
    pictures: Side


def measure(images: Side, captions: Side, caption_weight: float, asked: Asked | None = None) -> Calibration:
    """Calibration of a catalogue from rows of its products; each stands for a query against all others.

    ``asked`` are the same rows as queries; without, queries lie where the products do.
    """
    rng = np.random.default_rng(_SEED)
    asked = asked or Asked(captions, images)
    texts, pictures = _some(asked.texts, rng), _some(asked.pictures, rng)
    return Calibration(
        caption_weight,
        text=_measure_kind(texts, images, captions, caption_weight),
        image=_measure_kind(pictures, images, captions, caption_weight),
        both=_measure_kind(_together(texts, images), images, captions, caption_weight),
    )


def _measure_kind(queries: Side, images: Side, captions: Side, caption_weight: float) -> KindCalibration:
    """Scales for ``queries`` over every product but the one a query is taken from."""
    products = np.union1d(images.products, captions.products)
    own = queries.products[:, None] == products[None, :]
    image, caption = (best_cosines(queries.vectors, side, products) for side in (images, captions))
    others = ~own.ravel()
    # a product of the sample is left out for one query only: what is left is all pairs but those
    return fit_kind(image.ravel()[others], caption.ravel()[others], caption_weight)


def _together(texts: Side, images: Side) -> Side:
    """Words and picture of one product as one query: their normalised sum."""
    order = np.argsort(images.products, kind="stable")
    first = np.searchsorted(images.products[order], texts.products)
    first = np.minimum(first, max(len(order) - 1, 0))
    if len(order) == 0:
        return Side(texts.vectors[:0], texts.products[:0])
    rows = order[first]
    paired = images.products[rows] == texts.products
    sums = texts.vectors[paired] + images.vectors[rows[paired]]
    return Side(sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-9), texts.products[paired])


def _some(side: Side, rng: np.random.Generator) -> Side:
    chosen = rng.permutation(len(side.products))[:SAMPLE_QUERIES]
    return Side(side.vectors[chosen], side.products[chosen])


def _side(rows: Iterable[VectorRow], dim: int) -> Side:
    rows = list(rows)
    vectors: NDArray[np.float32] = np.empty((len(rows), dim), dtype=np.float32)
    for place, row in enumerate(rows):
        vectors[place] = row.vector
    return Side(vectors, np.array([row.product for row in rows], dtype=np.int64))
