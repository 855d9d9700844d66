"""Tokens that a summarizer reads: words of the question through the encoder, those of products from the store."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.binary_copy import read_rows
from backend.generations.serving import Serving
from backend.ml.feedback.inputs import ItemTokens, Tokens
from backend.ml.tokens import PackedTokens, StoredForm, unpack_tokens
from backend.search.query_encoders import QueryEncoders
from backend.search.vector_cache import VectorCache

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Subjects:
    """What stands for one product in a turn: content hash of its picture and hash of its caption, where it has them."""

    image: str | None
    caption: str | None


class TokenLoader:
    """Fills ``Feedback.tokens``.

    Args:
        encoders: for the words of a question.
        cache: remembers those words' tokens.
        sessions: where tokens of products are read.
    """

    def __init__(self, encoders: QueryEncoders, cache: VectorCache, sessions: sessionmaker[Session]) -> None:
        self._encoders = encoders
        self._cache = cache
        self._sessions = sessions

    def load(
        self,
        serving: Serving,
        words: str,
        shown: Sequence[Subjects],
        steer: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Tokens | None:
        """Tokens of ``words`` and of ``shown``, in their order; ``None`` where the store has none of any of these.

        Args:
            serving: names the encoder.
            words: of the session's first question.
            shown: what stands for each product.
            steer: what boxes say of the patches of a picture, by content hash (``RegionCrops.steer``).
        """
        with session_scope(self._sessions) as session:
            kept = read_tokens(session, serving.encoder_id, shown)
        if not kept:
            return None
        return Tokens(self._words(serving, words), tuple(item_tokens(one, kept, steer or {}) for one in shown))

    def _words(self, serving: Serving, words: str) -> Rows:
        subject = f"words:{words}"
        flat = self._cache.get(serving.weights_hash, subject)
        if flat is None:
            rows = self._encoders.serving(serving).encode_words(words)
            # the cache keeps plain numbers: the first says how wide a row is
            flat = self._cache.put(serving.weights_hash, subject, np.append(np.float32(rows.shape[1]), rows))
        return flat[1:].reshape(-1, int(flat[0]))


def read_tokens(session: Session, encoder_id: str, shown: Sequence[Subjects]) -> dict[tuple[str, str], Rows]:
    """Stored tokens of ``shown`` by (kind, subject): one round trip, in binary, for five pictures are a megabyte."""
    subjects = {
        "images": [one.image for one in shown if one.image is not None],
        "captions": [one.caption for one in shown if one.caption is not None],
    }
    if not any(subjects.values()):
        return {}
    return dict(_unpacked(row) for row in read_rows(session, _TOKENS, {"encoder": encoder_id, **subjects}))


def item_tokens(
    subjects: Subjects, kept: Mapping[tuple[str, str], Rows], steer: Mapping[str, NDArray[np.float32]]
) -> ItemTokens:
    """Tokens of one product out of what ``read_tokens`` found, with what boxes say of its picture."""
    image = kept.get(("image", subjects.image)) if subjects.image is not None else None
    caption = kept.get(("text", subjects.caption)) if subjects.caption is not None else None
    said = steer.get(subjects.image) if subjects.image is not None else None
    # a pooled row stands for the whole picture: there are no patches to speak of
    fits = image is not None and said is not None and len(said) == len(image)
    return ItemTokens(image, caption, said if fits else None)


def _unpacked(row: Sequence[bytes | None]) -> tuple[tuple[str, str], Rows]:
    kind, subject, form, count, width, data, scales = row
    packed = PackedTokens(
        cast(StoredForm, (form or b"").decode()), _integer(count), _integer(width), data or b"", scales
    )
    return ((kind or b"").decode(), (subject or b"").decode()), unpack_tokens(packed)


def _integer(data: bytes | None) -> int:
    return int(struct.unpack("!i", data or b"")[0])


_TOKENS = """
    SELECT kind, subject, form, count, width, data, scales FROM feature_tokens
    WHERE encoder_id = %(encoder)s AND kind = 'image' AND subject = ANY(%(images)s::text[])
    UNION ALL
    SELECT kind, subject, form, count, width, data, scales FROM feature_tokens
    WHERE encoder_id = %(encoder)s AND kind = 'text' AND subject = ANY(%(captions)s::text[])
"""
