"""Raw vectors of what shoppers show, a picture or a box on one: in the cache, and behind it among the features."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import commit_asynchronously, session_scope
from backend.generations.serving import Serving
from backend.search.vector_cache import VectorCache

Vector = NDArray[np.float32]


class KeptVectors:
    """Vectors by the hash of what was encoded. What is shown is not kept itself.

    Args:
        cache: asked first.
        sessions: where features are.
    """

    def __init__(self, cache: VectorCache, sessions: sessionmaker[Session]) -> None:
        self._cache = cache
        self._sessions = sessions

    def find(self, serving: Serving, subjects: Collection[str]) -> dict[str, Vector]:
        """Read-only vectors of those of ``subjects`` that are known, pictures of the catalogue among them."""
        found = {}
        for subject in subjects:
            if (vector := self._cache.get(serving.weights_hash, _name(subject))) is not None:
                found[subject] = vector
        if len(found) == len(set(subjects)):
            return found
        asked = {"encoder_id": serving.encoder_id, "subjects": sorted(set(subjects) - found.keys())}
        with session_scope(self._sessions) as session:
            rows = session.execute(_FIND, asked).all()
        return found | self.remember(serving, {row.subject: np.frombuffer(row.vector, dtype="<f4") for row in rows})

    def remember(self, serving: Serving, vectors: Mapping[str, Vector]) -> dict[str, Vector]:
        """``vectors`` from the cache, where they expire, read-only."""
        return {
            subject: self._cache.put(serving.weights_hash, _name(subject), vector)
            for subject, vector in vectors.items()
        }

    def keep(self, serving: Serving, vectors: Mapping[str, Vector]) -> None:
        """Keep ``vectors`` as long as a list that was found by them; as a ``query``, since an image has tokens too."""
        rows = [
            {"encoder_id": serving.encoder_id, "subject": subject, "vector": vector.astype("<f4").tobytes()}
            for subject, vector in sorted(vectors.items())
        ]
        with session_scope(self._sessions) as session:
            commit_asynchronously(session)
            session.execute(_KEEP, rows)


def _name(subject: str) -> str:
    return f"image:{subject}"


_FIND = text(
    "SELECT subject, vector FROM features WHERE encoder_id = :encoder_id AND kind IN ('image', 'query')"
    " AND subject = ANY(CAST(:subjects AS text[]))"
)

_KEEP = text(
    "INSERT INTO features (encoder_id, kind, subject, vector) SELECT :encoder_id, 'query', :subject, :vector"
    " WHERE NOT EXISTS (SELECT FROM features WHERE encoder_id = :encoder_id AND kind = 'image' AND subject = :subject)"
    " ON CONFLICT DO NOTHING"
)
