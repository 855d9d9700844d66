"""Distinct queries and their raw vectors: of words by the encoder, of pictures and products from what is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.learning.adapter_data import Encode, Told
from backend.learning.click_logs.columns import Column

AT_ONCE = 256
"""Queries encoded at a time."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """A query; what of it is asked by, in its parts."""

    key: str
    kind: str
    words: str | None
    picture: str | None
    product: str | None


@dataclass(frozen=True)
class Questions:
    """q queries that have a vector.

    Args:
        asked: each of them.
        number: (a,) place in ``asked`` of each query of ``night_asked``; -1 where it has no vector.
        known: what is kept of the pictures and products that were asked by, unit rows by ``picture`` or ``product``.
        dim: d.
    """

    asked: tuple[Question, ...]
    number: NDArray[np.int32]
    known: dict[tuple[str, str], Vectors]
    dim: int

    def write_vectors(self, path: Path, encode: Encode, told: Told) -> None:
        """Write the unit vector of each, (q, d): the direction of the sum of what each part of it says.

        Raises:
            ValueError: ``encode`` gives vectors of another width.
        """
        rows = Column(path, np.dtype(np.float32), width=self.dim)
        for part in _batches(self.asked):
            rows.append(self._vectors(part, encode))
            told("Queries", rows.length, len(self.asked))
        rows.close()

    def _vectors(self, part: Sequence[Question], encode: Encode) -> Vectors:
        sums = np.zeros((len(part), self.dim), dtype=np.float32)
        spoken = [place for place, one in enumerate(part) if one.words is not None]
        if spoken:
            said = np.asarray(encode([part[place].words or "" for place in spoken]), dtype=np.float32)
            if said.shape != (len(spoken), self.dim):
                raise ValueError(f"vectors of shape {said.shape} found; expected {(len(spoken), self.dim)}")
            sums[spoken] += said
        for place, one in enumerate(part):
            for kind, subject in (("picture", one.picture), ("product", one.product)):
                if subject is not None:
                    sums[place] += self.known[kind, subject]
        return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def read_questions(session: Session, encoder_id: str, dim: int) -> Questions:
    """The distinct queries of ``night_asked``; those whose picture or product is no longer known have no vector."""
    asked = [_question(row.key, row.kind) for row in session.execute(_ASKED)]
    known = _kept(session, "picture", {one.picture for one in asked if one.picture}, encoder_id)
    known |= _kept(session, "product", {one.product for one in asked if one.product}, encoder_id)
    has = np.array([_parts(one) <= known.keys() for one in asked], dtype=np.bool_)
    number = np.where(has, np.cumsum(has) - 1, -1).astype(np.int32)
    return Questions(tuple(one for one, there in zip(asked, has, strict=True) if there), number, known, dim)


def _question(key: str, kind: str) -> Question:
    parts: list[str | None] = [None, None, None]
    said = key.partition(":")[2]
    if kind == "both":
        parts = [one or None for one in said.split("\x1f")]
    else:
        parts[("text", "image", "product").index(kind)] = said
    return Question(key, kind, *parts)


def _parts(one: Question) -> set[tuple[str, str]]:
    named = (("picture", one.picture), ("product", one.product))
    return {(kind, subject) for kind, subject in named if subject is not None}


def _kept(session: Session, kind: str, subjects: set[str], encoder_id: str) -> dict[tuple[str, str], Vectors]:
    """Mean of the raw vectors of each of ``subjects``, at length 1."""
    found = dict[tuple[str, str], Vectors]()
    statement = _PICTURES if kind == "picture" else _PRODUCTS
    for part in _batches(sorted(subjects)):
        for row in session.execute(statement, {"subjects": list(part), "encoder": encoder_id}):
            if row.vectors is None:
                continue
            rows = np.stack([np.frombuffer(one, dtype="<f4") for one in row.vectors])
            mean = rows.mean(axis=0)
            found[kind, row.subject] = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return found


def _batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(rows), AT_ONCE):
        yield rows[begin : begin + AT_ONCE]


_ASKED = text("SELECT key, kind FROM night_asked ORDER BY query")

_PICTURES = text(
    """
    SELECT subject, array_agg(vector) AS vectors FROM features
    WHERE encoder_id = :encoder AND kind IN ('image', 'query') AND subject = ANY(CAST(:subjects AS text[]))
    GROUP BY subject
    """
)

# as the index is asked: by the pictures, and by the captions of what has none
_PRODUCTS = text(
    """
    SELECT p.id AS subject, coalesce(
        (SELECT array_agg(f.vector ORDER BY i.position) FROM product_images i
         JOIN features f ON f.subject = i.content_hash AND f.kind = 'image' AND f.encoder_id = :encoder
         WHERE i.product = p.number AND i.state = 'ready'),
        (SELECT array_agg(f.vector ORDER BY c.id) FROM captions c
         JOIN features f ON f.subject = c.text_hash AND f.kind = 'text' AND f.encoder_id = :encoder
         WHERE c.product = p.number)) AS vectors
    FROM products p WHERE p.id = ANY(CAST(:subjects AS text[])) AND p.deleted_at IS NULL
    """
)
