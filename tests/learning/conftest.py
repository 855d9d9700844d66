"""A live encoder whose features are planted."""

import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.encoders import register_encoder
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.generations.promote import go_live
from backend.ml.encoder import Encoder


@pytest.fixture
def encoder(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> EncoderRecord:
    """The tiny encoder, live; its collections are none that anything reads."""
    with session_scope(sessions) as session:
        register_encoder(session, tiny_encoder)
        names = {"image_collection": "i", "caption_collection": "c"}
        build = IndexBuild(encoder_id=tiny_encoder.id, state="ready", step="done", **names)
        session.add(build)
        session.flush()
        generation = Generation(index_build_id=build.id, calibration={"x": 1}, code_version="1", state="ready")
        session.add(generation)
        session.flush()
        go_live(session, generation.id, actor="test")
    with session_scope(sessions) as session:
        return session.get_one(EncoderRecord, tiny_encoder.id)
