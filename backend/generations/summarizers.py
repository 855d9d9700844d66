"""Summarizers that generations name: stored once, taken over with their encoder, and found beside its weights."""

from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.generations.encoders import DEMO_ENCODER
from backend.generations.models import EncoderRecord, Generation, IndexBuild, SummarizerRecord
from backend.logs import get_logger
from backend.ml.encoder import EncoderSpec
from backend.ml.summarizer import load_summarizer

log = get_logger(__name__)

SUMMARIZER_FILE = "morelike_summarizer.safetensors"
"""File in an encoder's directory that holds a summarizer trained for it."""


def store_summarizer(session: Session, encoder_id: str, weights: bytes, report: dict[str, Any]) -> int:
    """Number of the summarizer with these weights; the same weights are stored once."""
    weights_hash = sha256(weights).hexdigest()
    values = {"encoder_id": encoder_id, "weights_hash": weights_hash, "weights": weights, "report": report}
    session.execute(insert(SummarizerRecord).values(values).on_conflict_do_nothing())
    known = select(SummarizerRecord.id).where(
        SummarizerRecord.encoder_id == encoder_id, SummarizerRecord.weights_hash == weights_hash
    )
    return session.scalars(known).one()


def summarizer_for(session: Session, encoder_id: str) -> int | None:
    """The summarizer that a new build of this encoder begins with.

    It is that of the generation that was live last with this encoder, else the one in the encoder's directory.
    """
    used = (
        select(Generation.summarizer_id)
        .join(IndexBuild, IndexBuild.id == Generation.index_build_id)
        .where(IndexBuild.encoder_id == encoder_id, Generation.summarizer_id.is_not(None))
        .where(Generation.live_at.is_not(None))
        .order_by(Generation.live_at.desc())
    )
    found = session.scalars(used.limit(1)).first()
    return _from_directory(session, encoder_id) if found is None else found


def first_summarizer(session: Session, encoder_id: str) -> int | None:
    """The one in the encoder's directory, where this encoder never had any; None otherwise."""
    known = select(SummarizerRecord.id).where(SummarizerRecord.encoder_id == encoder_id)
    return None if session.scalars(known.limit(1)).first() is not None else _from_directory(session, encoder_id)


def _from_directory(session: Session, encoder_id: str) -> int | None:
    """What lies in the directory of the encoder's weights, stored; None where nothing does, or nothing that fits."""
    encoder = session.get_one(EncoderRecord, encoder_id)
    directory = EncoderSpec(encoder.source or "").directory(DEMO_ENCODER)
    path = None if directory is None else directory / SUMMARIZER_FILE
    if path is None or not path.is_file():
        return None
    weights = path.read_bytes()
    try:
        summarizer = load_summarizer(weights)
    except ValueError as error:
        log.warning("summarizer_left_out", path=str(path), error=str(error))
        return None
    if summarizer.encoder_id != encoder_id or summarizer.config.output_width != encoder.dim:
        log.warning("summarizer_left_out", path=str(path), found=summarizer.encoder_id, expected=encoder_id)
        return None
    return store_summarizer(session, encoder_id, weights, {"file": SUMMARIZER_FILE})
