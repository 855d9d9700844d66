"""What must exist before anything is searched: an encoder's record, a build, its collections, a live generation."""

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.models import Product
from backend.db import session_scope
from backend.generations.encoders import EncoderMismatch, OpenEncoders, register_encoder
from backend.generations.models import EncoderRecord, Generation, IndexBuild, IndexRow
from backend.generations.promote import go_live
from backend.generations.repository import (
    Build,
    live_build,
    live_encoder,
    live_generation,
    lock_generations,
    lock_index,
    new_build,
    writable_builds,
)
from backend.generations.summarizers import first_summarizer, summarizer_for
from backend.logs import get_logger
from backend.ml.encoder import Encoder, EncoderSpec
from backend.ml.scoring import Calibration
from backend.vector_index import VectorIndex

log = get_logger(__name__)


def open_live(sessions: sessionmaker[Session], index: VectorIndex, encoders: OpenEncoders, wanted: str) -> Encoder:
    """The encoder of the live generation; at the first start it is the one ``wanted`` opens, and a generation is made.

    Over a catalogue that has a live generation ``wanted`` counts only while there are no products and it was never
    used here before; otherwise it is `morelike encoder switch` that changes the encoder.
    """
    source = EncoderSpec(wanted).absolute
    with session_scope(sessions) as session:
        live = live_encoder(session)
        known = session.scalar(select(func.count()).where(EncoderRecord.source == source))
        products = count_products(session)
    if live is not None and (products or known):
        encoder = encoders.get(live.id, live.source)
        if not known and live.source is not None and source not in encoders.warned:
            encoders.warned.add(source)
            log.warning("encoder_differs", wanted=wanted, live=live.id, advice=f"morelike encoder switch {wanted}")
    else:
        encoder = encoders.open(wanted)
    with session_scope(sessions) as session:
        ensure_live(session, index, encoder)
    return encoder


def restore_collections(session: Session, index: VectorIndex) -> None:
    """Make the collections again that Milvus has lost, of every build that is written; all is then due for those."""
    lock_generations(session)
    for build in writable_builds(session):
        _ensure_collections(session, index, build)


def count_products(session: Session) -> int:
    """Products that are not deleted."""
    return session.scalar(select(func.count()).select_from(Product).where(Product.deleted_at.is_(None))) or 0


def ensure_live(session: Session, index: VectorIndex, encoder: Encoder) -> Build:
    """The live build, made when there is none; its collections are made again when the index has lost them.

    Raises:
        EncoderMismatch: the catalogue has products that another encoder embedded.
    """
    lock_generations(session)
    found = live_build(session)
    if found is not None and found.encoder_id != encoder.id:
        _check_empty(session, found, encoder)
    register_encoder(session, encoder)
    if found is None or found.encoder_id != encoder.id:
        found = _first_generation(session, encoder, replaced=found)
        for name in found.collections:  # what another database left under these names is not ours
            index.drop_collection(name)
    else:
        _adopt_summarizer(session, encoder)
    _ensure_collections(session, index, found)
    return found


def code_version() -> str:
    """Version of this distribution, kept with every generation."""
    try:
        return version("morelike")
    except PackageNotFoundError:
        return "unknown"


def _check_empty(session: Session, found: Build, encoder: Encoder) -> None:
    products = count_products(session)
    if products:
        raise EncoderMismatch(
            f"the catalogue's {products} products are embedded with another encoder. `morelike encoder switch` embeds "
            "them with this one, too, and goes live with it when that is done.",
            found=encoder.id,
            expected=found.encoder_id,
        )


def _first_generation(session: Session, encoder: Encoder, *, replaced: Build | None) -> Build:
    if replaced is not None:  # an empty build that no query will search again: nothing is written to it from here on
        session.get_one(IndexBuild, replaced.id).state = "dropped"
    build = new_build(session, state="ready", step="done")
    build.encoder_id, build.source, build.ready_at = encoder.id, encoder.source or None, datetime.now(UTC)
    session.flush()
    generation = Generation(
        index_build_id=build.id,
        calibration={"products": 0} | Calibration.identity().to_json(),
        summarizer_id=summarizer_for(session, encoder.id),
        code_version=code_version(),
        state="ready",
    )
    session.add(generation)
    session.flush()
    go_live(session, generation.id, actor="bootstrap")
    log.info("generation_live", generation=generation.id, build=build.id, encoder=encoder.id)
    return Build(build.id, encoder.id, encoder.dim, build.image_collection, build.caption_collection, None)


def with_summarizer(
    session: Session, like: Generation, summarizer_id: int, report: dict[str, Any] | None = None
) -> int:
    """Number of a new generation, ready, that is ``like`` but for its summarizer and what was measured of it."""
    generation = Generation(
        index_build_id=like.index_build_id,
        query_heads=like.query_heads,
        calibration=like.calibration,
        summarizer_id=summarizer_id,
        feedback=like.feedback,
        data_range=like.data_range,
        gate_report=like.gate_report if report is None else like.gate_report | {"summarizer": report},
        code_version=code_version(),
        state="ready",
        replaced=like.replaced,
    )
    session.add(generation)
    session.flush()
    return generation.id


def _adopt_summarizer(session: Session, encoder: Encoder) -> None:
    """Go live with the summarizer beside the encoder's weights, where this encoder never had any.

    So a catalogue that was begun before there were summarizers gets one with the next start.
    """
    live = live_generation(session)
    summarizer = None if live is None or live.summarizer_id else first_summarizer(session, encoder.id)
    if live is None or summarizer is None:
        return
    generation = with_summarizer(session, live, summarizer)
    go_live(session, generation, actor="bootstrap", undoable=False)
    log.info("summarizer_adopted", generation=generation, summarizer=summarizer)


def _ensure_collections(session: Session, index: VectorIndex, build: Build) -> None:
    if all(index.has_collection(name) for name in build.collections):
        return
    lock_index(session)
    for name in build.collections:
        if index.has_collection(name):  # its twin is lost, and with it the record of what both hold
            index.drop_collection(name)
        index.create_collection(name, build.dim)
    # what PostgreSQL believes to be in them is not: every product is due again
    session.execute(delete(IndexRow).where(IndexRow.index_build_id == build.id))
    log.info("collections_created", build=build.id, collections=build.collections)
