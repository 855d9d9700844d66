"""Which words of captions a summarizer read."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.ml.saliency import word_saliency
from backend.ml.word_spans import WordSpan, word_spans
from backend.search.encoder_thread import EncoderThread
from backend.search.explanations.weighed import Weighed
from backend.search.query_encoders import QueryEncoders

_TEXTS = text("SELECT DISTINCT ON (text_hash) text_hash, text FROM captions WHERE text_hash = ANY(:hashes)")


class ReadWords:
    """Words of captions.

    Args:
        encoders: know what word tokens stand for.
        sessions: where captions are.
    """

    def __init__(self, encoders: QueryEncoders, sessions: sessionmaker[Session]) -> None:
        self._encoders = encoders
        self._sessions = sessions

    def of(self, weighed: Weighed) -> dict[str, dict[str, Any]]:
        """Of each product the caption that stood for it, as ``schemas.ExplainedCaption``."""
        hashes = {one: stood.caption for one, stood in weighed.subjects.items() if stood.caption is not None}
        texts = self._texts(list(hashes.values()))
        said = {one: texts[key] for one, key in hashes.items() if key in texts}
        words = self._words(weighed, said)
        return {one: {"text": sentence, "words": words.get(one)} for one, sentence in said.items()}

    def _words(self, weighed: Weighed, said: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
        """Words of each product's caption that a summarizer read, with what it gave them."""
        summary = weighed.step.outcome.summary
        if summary is None:
            return {}
        attention = dict(zip(weighed.step.shown, summary.caption_attention, strict=True))
        read = [one for one in said if len(attention.get(one, ()))]
        spans = _spans(
            self._encoders.serving(weighed.serving), [said[one] for one in read], [len(attention[one]) for one in read]
        )
        values = word_saliency([attention[one] for one in read], spans)
        return {
            one: [
                {
                    "text": said[one][word.start : word.end],
                    "start": word.start,
                    "end": word.end,
                    "saliency": round(float(value), 4),
                }
                for word, value in zip(words, given, strict=True)
            ]
            for one, words, given in zip(read, spans, values, strict=True)
        }

    def _texts(self, hashes: Sequence[str]) -> Mapping[str, str]:
        if not hashes:
            return {}
        with session_scope(self._sessions) as session:
            return {row.text_hash: row.text for row in session.execute(_TEXTS, {"hashes": list(hashes)})}


def _spans(thread: EncoderThread, texts: Sequence[str], counts: Sequence[int]) -> list[Sequence[WordSpan]]:
    """Words of each text; none where its tokens were kept as one."""
    pieces = thread.word_pieces(texts) if texts else []
    return [
        word_spans(text, found) if len(found) == count else ()
        for text, found, count in zip(texts, pieces, counts, strict=True)
    ]
