"""Explanations as numbers and as pictures."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.pictures import decode, upright_size
from backend.db import session_scope
from backend.errors import Conflict, NotFound
from backend.ml.saliency import Saliency, over_picture, patch_saliency, word_saliency
from backend.ml.word_spans import WordSpan, word_spans
from backend.search.encoder_thread import EncoderThread
from backend.search.explanations.overlay import as_png, heat_map, overlay
from backend.search.explanations.weighed import Weighed, Weighing
from backend.search.query_encoders import QueryEncoders
from backend.search.query_vectors import PictureLimits
from backend.search.refinement.tokens import Subjects

Explained = dict[str, Any]


class NotExplained(NotFound):
    """The product asked for is not among those that an explanation is of."""

    title = "Not part of this explanation"


class NoSaliency(Conflict):
    """No summarizer looked at this picture: there is none, or it has no words or no patches to go by."""

    title = "No saliency"


class Explainer:
    """Says why a list is as it is. Safe to share between threads.

    Args:
        weighing: computes turns again.
        encoders: know how patches lie and what word tokens stand for.
        sessions: where captions are.
        blobs: where pictures are.
        limits: of pictures.
    """

    def __init__(
        self,
        weighing: Weighing,
        encoders: QueryEncoders,
        sessions: sessionmaker[Session],
        blobs: BlobStore,
        limits: PictureLimits,
    ) -> None:
        self._weighing = weighing
        self._encoders = encoders
        self._sessions = sessions
        self._blobs = blobs
        self._limits = limits

    def explain(self, query_id: str, product_ids: Sequence[str] = ()) -> Explained:
        """The explanation of a list, as ``schemas.ExplainResponse`` describes it."""
        weighed = self._weighing.of(query_id, product_ids)
        served, outcome, mine = weighed.served, weighed.step.outcome, weighed.about == "turn"
        return {
            "query_id": served.query_id,
            "parent_id": served.parent_id,
            "turn": served.turn,
            "generation": weighed.serving.name,
            "about": weighed.about,
            "strategy": outcome.strategy if len(outcome.relevance) or mine else "none",
            "decision": outcome.decision if mine else None,
            "text": weighed.turn.text if mine else None,
            "items": self._items(weighed, product_ids),
        }

    def overlay(self, query_id: str, of: str, product_ids: Sequence[str], *, side: int, alone: bool) -> bytes:
        """PNG of the picture that stands for the product ``of`` with its saliency over it, or of that ``alone``.

        Where no product is named and the turn did not weigh ``of``, it is weighed by itself.

        Raises:
            NotExplained: products are named and ``of`` is none of them, or it has no picture.
            NoSaliency: no summarizer looked at its picture.
        """
        weighed = self._weighing.of(query_id, product_ids)
        if of not in weighed.step.shown and not product_ids:
            weighed = self._weighing.of(query_id, [of])
        subjects = weighed.step.shown.get(of)
        if subjects is None or subjects.image is None:
            raise NotExplained(
                "no picture of this product is part of this explanation", found=of, expected=sorted(weighed.step.shown)
            )
        grid = self._grids(weighed).get(of)
        if grid is None:
            raise NoSaliency(
                "no summarizer looked at this picture", found=weighed.step.outcome.strategy, expected="strategy afs"
            )
        picture = self._picture(subjects.image)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        framing = self._encoders.serving(weighed.serving).encoder.framing
        heat = over_picture(grid, framing, picture.size).clip(0, 1)
        return as_png(heat_map(heat) if alone else overlay(picture, heat))

    def _items(self, weighed: Weighed, product_ids: Sequence[str]) -> list[Explained]:
        subjects, outcome = weighed.subjects, weighed.step.outcome
        grids, captions = self._grids(weighed), self._captions(weighed)
        shares = {
            name: dict(zip(weighed.step.shown, map(float, values), strict=False))
            for name, values in (("relevance", outcome.relevance), ("irrelevance", outcome.irrelevance))
        }
        return [
            {
                "product_id": one,
                "position": weighed.positions.get(one),
                "grade": weighed.grades.get(one),
                "relevance": shares["relevance"].get(one),
                "irrelevance": shares["irrelevance"].get(one),
                "pull": weighed.pulls.get(one),
                "image": self._image(weighed, one, stood, grids.get(one), product_ids),
                "caption": captions.get(one),
            }
            for one, stood in subjects.items()
        ]

    def _image(
        self, weighed: Weighed, product_id: str, subjects: Subjects, grid: Saliency | None, product_ids: Sequence[str]
    ) -> Explained | None:
        if subjects.image is None:
            return None
        about = urlencode([("of", product_id), *(("product_id", one) for one in product_ids)])
        boxes = weighed.turn.boxes if weighed.about == "turn" else ()
        drawn = [one for one in boxes if (one.product_id, one.picture) == (product_id, subjects.image)]
        saliency = self._saliency(weighed, subjects.image, grid) if grid is not None else None
        overlay = f"/v1/search/{weighed.served.query_id}/explain/overlay?{about}"
        return {
            "content_hash": subjects.image,
            "src": f"/images/{subjects.image}",
            "boxes": [{"box": one.box, "grade": one.grade or 0.0, "label": one.label} for one in drawn],
            "saliency": saliency,
            "overlay": overlay if saliency is not None else None,
        }

    def _saliency(self, weighed: Weighed, picture: str, grid: Saliency) -> Explained | None:
        try:
            size = upright_size(self._blobs.get(picture), self._limits.max_pixels)
        except FileNotFoundError:  # the product has another picture by now
            return None
        area = self._encoders.serving(weighed.serving).encoder.framing.seen(*size)
        return {
            "rows": grid.shape[0],
            "columns": grid.shape[1],
            "values": [[round(float(value), 4) for value in row] for row in grid],
            "area": [round(edge, 6) for edge in area],
        }

    def _grids(self, weighed: Weighed) -> dict[str, Saliency]:
        """Patch saliency of each product whose picture a summarizer looked at."""
        summary = weighed.step.outcome.summary
        if summary is None:
            return {}
        layout = self._encoders.serving(weighed.serving).encoder.layout
        found = patch_saliency(summary.image_attention, layout)
        return {one: grid for one, grid in zip(weighed.step.shown, found, strict=True) if grid is not None}

    def _captions(self, weighed: Weighed) -> dict[str, Explained]:
        """Of each product its caption, with what a summarizer gave its words."""
        subjects, summary = weighed.subjects, weighed.step.outcome.summary
        texts = self._texts([one.caption for one in subjects.values() if one.caption is not None])
        said = {
            one: texts[stood.caption]
            for one, stood in subjects.items()
            if stood.caption is not None and stood.caption in texts
        }
        explained: dict[str, Explained] = {one: {"text": sentence, "words": None} for one, sentence in said.items()}
        if summary is None:
            return explained
        read = {
            one: attention
            for one, attention in zip(weighed.step.shown, summary.caption_attention, strict=True)
            if len(attention) and one in said
        }
        thread = self._encoders.serving(weighed.serving)
        spans = _spans(thread, [said[one] for one in read], [len(attention) for attention in read.values()])
        for one, words, values in zip(read, spans, word_saliency(list(read.values()), spans), strict=True):
            explained[one]["words"] = [
                {
                    "text": said[one][word.start : word.end],
                    "start": word.start,
                    "end": word.end,
                    "saliency": round(float(value), 4),
                }
                for word, value in zip(words, values, strict=True)
            ]
        return explained

    def _texts(self, hashes: Sequence[str]) -> Mapping[str, str]:
        if not hashes:
            return {}
        with session_scope(self._sessions) as session:
            return {row.text_hash: row.text for row in session.execute(_CAPTIONS, {"hashes": list(hashes)})}

    def _picture(self, content_hash: str) -> Image.Image:
        try:
            return decode(self._blobs.get(content_hash), self._limits.max_pixels)
        except FileNotFoundError as error:
            raise NoSaliency("this picture is no longer kept", found=content_hash) from error


def _spans(thread: EncoderThread, texts: Sequence[str], counts: Sequence[int]) -> list[Sequence[WordSpan]]:
    """Words of each text; none where its tokens were kept as one."""
    pieces = thread.word_pieces(texts) if texts else []
    return [
        word_spans(text, found) if len(found) == count else ()
        for text, found, count in zip(texts, pieces, counts, strict=True)
    ]


_CAPTIONS = text("SELECT DISTINCT ON (text_hash) text_hash, text FROM captions WHERE text_hash = ANY(:hashes)")
