"""A live encoder whose features are planted."""

import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.models import EncoderRecord
from backend.ml.encoder import Encoder
from tests.learning.shop import make_live


@pytest.fixture
def encoder(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> EncoderRecord:
    """The tiny encoder, live; its collections are none that anything reads."""
    make_live(sessions, tiny_encoder)
    with session_scope(sessions) as session:
        return session.get_one(EncoderRecord, tiny_encoder.id)
