"""The embed stage: what due products show and say, through the frozen encoder once, into PostgreSQL.

Three threads: the feeder prepares batches ahead, the caller's thread encodes, the storer packs tokens and commits. The
encoder waits for neither a disk nor a database.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.db import session_scope
from backend.errors import Unavailable
from backend.generations.claims import Claims
from backend.generations.due import Kind
from backend.generations.feature_store import SubjectFeatures, store_features
from backend.generations.feeding import Batch, Failure, Feeder
from backend.generations.giving_up import park, refuse
from backend.generations.pipe import Pipe, PipeBrokenError
from backend.generations.repository import Build, is_live
from backend.logs import get_logger
from backend.ml.encoder import Encoder, ImageFeatures, TextFeatures, cores
from backend.ml.tokens import PackedTokens, StoredForm, pack_tokens
from backend.settings import TokenForm

log = get_logger(__name__)

CPU_BATCH, GPU_BATCH = 64, 256
"""Images in a batch where none is set: on a processor more are no faster; a GPU is full with some 256."""

MOST_DECODERS = 16
"""Threads of one process decode no faster beyond this, because Python runs in one of them at a time."""

_AHEAD = 2  # batches on their way on each side of the encoder


class EncoderBroken(Unavailable):
    """The encoder refuses even a plain input: nothing is wrong with the images."""

    title = "Encoder broken"


@dataclass(frozen=True)
class Embedded:
    """What one batch came to, or what several did."""

    images: int = 0
    texts: int = 0
    parked: int = 0

    def __add__(self, other: "Embedded") -> "Embedded":
        return Embedded(self.images + other.images, self.texts + other.texts, self.parked + other.parked)


@dataclass(frozen=True)
class Encoded:
    """A batch behind the encoder; tokens are still as the encoder gave them."""

    kind: Kind
    subjects: tuple[str, ...]
    features: tuple[ImageFeatures | TextFeatures, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class EmbedStage:
    """One worker's embed stage.

    Args:
        sessions: PostgreSQL.
        blobs: image bytes.
        encoder: the encoder, used by the thread that calls :meth:`run` only.
        tokens: form that patch and word tokens are kept in.
        batch: images encoded at a time; 0 takes what fills the encoder's device.
        max_pixels: largest image decoded.
        decoders: threads that decode images ahead; 0 takes what keeps that device busy.
        turn: entered for each batch while it is encoded: who waits there lets another stage go first.
    """

    sessions: sessionmaker[Session]
    blobs: BlobStore
    encoder: Encoder
    tokens: TokenForm
    batch: int
    max_pixels: int
    decoders: int = 0
    turn: Callable[[], AbstractContextManager[None]] = nullcontext

    def run(
        self,
        builds: Sequence[Build],
        *,
        more: Callable[[], bool],
        stop: Callable[[], bool],
        on_stored: Callable[[Embedded], None],
    ) -> None:
        """Embed what ``builds`` (all of this stage's encoder) miss, until nothing is missing and no ``more`` will come.

        Raises:
            EncoderBroken: the encoder fails on anything.
        """
        prepared: Pipe[Batch] = Pipe(_AHEAD)
        encoded: Pipe[tuple[Batch, Encoded]] = Pipe(_AHEAD)
        engine = self.sessions.kw["bind"]
        with Claims(engine, self.encoder.id) as claims, ThreadPoolExecutor(2, thread_name_prefix="embed") as pool:
            feeder = Feeder(
                self.sessions,
                self.blobs,
                self.encoder,
                builds,
                claims,
                batch=self.batch or fitting_batch(self.encoder),
                max_pixels=self.max_pixels,
                decoders=self.decoders or fitting_decoders(self.encoder),
            )
            feeding = pool.submit(_until_broken, lambda: feeder.feed(prepared.put, more=more, stop=stop), prepared)
            storing = pool.submit(self._store_all, encoded, claims, on_stored)
            try:
                self._encode_all(prepared, encoded, stop)
            except PipeBrokenError:
                pass  # the storer failed; its error is raised below
            finally:
                prepared.break_off()
                encoded.close()
            _raise_first(feeding, storing)

    def _encode_all(
        self, prepared: Pipe[Batch], encoded: Pipe[tuple[Batch, Encoded]], stop: Callable[[], bool]
    ) -> None:
        """Encode until ``prepared`` ends, or ``stop()``.

        A device that works by itself has the next batch before it gives one back.
        """
        begun: tuple[Batch, Callable[[], Encoded]] | None = None
        while not stop() and ((batch := prepared.take(wait=begun is None)) is not None or begun is not None):
            with self.turn():
                following = None if batch is None else (batch, self._begin(batch))
                if begun is None and not self.encoder.overlaps:
                    begun, following = following, None
                done = None if begun is None else (begun[0], begun[1]())
            if done is not None:
                encoded.put(done)
            begun = following

    def _begin(self, batch: Batch) -> Callable[[], Encoded]:
        """Hand ``batch`` to the device; what is returned waits for its features."""
        features = None
        if batch.subjects:
            with suppress(Exception):  # tried again below, where it is looked into
                features = self._start(batch.kind, batch.inputs)

        def finish() -> Encoded:
            encoded = self._encode_some(batch.kind, batch.subjects, batch.inputs, features)
            return Encoded(encoded.kind, encoded.subjects, encoded.features, (*batch.failures, *encoded.failures))

        return finish

    def _encode_some(
        self,
        kind: Kind,
        subjects: tuple[str, ...],
        inputs: Any,
        features: Callable[[], ImageFeatures | TextFeatures] | None = None,
    ) -> Encoded:
        """Encode; where it fails, encode the halves, so that one bad image is found and stands alone."""
        if not subjects:
            return Encoded(kind, (), (), ())
        try:
            return Encoded(kind, subjects, (_require_finite((features or self._start(kind, inputs))()),), ())
        except Exception as error:  # noqa: BLE001  whatever the encoder raises on hostile pixels
            if len(subjects) == 1:
                self._check_encoder(kind, error)
                return Encoded(kind, (), (), (Failure(subjects[0], f"the encoder refused it: {error}"),))
            log.warning("batch_split", kind=kind, subjects=len(subjects), error=str(error))
        half = len(subjects) // 2
        first = self._encode_some(kind, subjects[:half], inputs[:half])
        second = self._encode_some(kind, subjects[half:], inputs[half:])
        return Encoded(
            kind,
            first.subjects + second.subjects,
            first.features + second.features,
            first.failures + second.failures,
        )

    def _start(self, kind: Kind, inputs: Any) -> Callable[[], ImageFeatures | TextFeatures]:
        """Begin to encode; what is returned waits for the features."""
        if kind == "image":
            return self.encoder.begin_images(inputs, tokens=self.tokens != "off").result
        if self.tokens == "off":
            features = TextFeatures(self.encoder.encode_texts(inputs), [])
        else:
            features = self.encoder.encode_texts_with_tokens(inputs)
        return lambda: features

    def _check_encoder(self, kind: Kind, error: Exception) -> None:
        plain: tuple[Any, ...] = ("a",) if kind == "text" else (Image.new("RGB", (64, 64), "white"),)
        try:
            _require_finite(self._start(kind, plain)())
        except Exception as also:
            raise EncoderBroken("the encoder fails on a plain input too", found=str(error)) from also

    def _store_all(
        self, encoded: Pipe[tuple[Batch, Encoded]], claims: Claims, on_stored: Callable[[Embedded], None]
    ) -> None:
        try:
            for batch, result in encoded:
                self._store(result)
                claims.done(batch.kind, batch.claimed)
                kept = len(result.subjects)
                images, texts = (kept, 0) if batch.kind == "image" else (0, kept)
                on_stored(Embedded(images, texts, len(result.failures)))
        finally:
            encoded.break_off()

    def _store(self, encoded: Encoded) -> None:
        rows: list[SubjectFeatures] = []
        for features in encoded.features:
            tokens = self._packed(features)
            subjects = encoded.subjects[len(rows) : len(rows) + len(features.vectors)]
            rows += [SubjectFeatures(*row) for row in zip(subjects, features.vectors, tokens, strict=True)]
        if rows:
            store_features(self.sessions, self.encoder.id, encoded.kind, rows)
        if encoded.failures:
            with session_scope(self.sessions) as session:
                live = is_live(session, self.encoder.id)
                for failure in encoded.failures:
                    if live:
                        park(session, encoded.kind, failure)
                    else:
                        refuse(session, self.encoder.id, encoded.kind, failure)

    def _packed(self, features: ImageFeatures | TextFeatures) -> Sequence[PackedTokens | None]:
        if self.tokens == "off":
            return [None] * len(features.vectors)
        form: StoredForm = self.tokens
        return [pack_tokens(tokens, form) for tokens in features.tokens]


def fitting_batch(encoder: Encoder) -> int:
    """Images that fill the encoder's device at a time."""
    return GPU_BATCH if encoder.overlaps else CPU_BATCH


def fitting_decoders(encoder: Encoder) -> int:
    """Threads that keep it busy: on a processor the encoder itself wants the cores."""
    return min(MOST_DECODERS, cores()) if encoder.overlaps else 2


def _require_finite(features: ImageFeatures | TextFeatures) -> ImageFeatures | TextFeatures:
    if not all(np.isfinite(numbers).all() for numbers in (features.vectors, *features.tokens)):
        raise ValueError("vectors that are not finite numbers found; expected finite ones")
    return features


def _until_broken(feed: Callable[[], None], pipe: Pipe[Batch]) -> None:
    """Feed, and close the pipe whatever happens."""
    try:
        with suppress(PipeBrokenError):
            feed()
    finally:
        pipe.close()


def _raise_first(*futures: Future[None]) -> None:
    for future in futures:
        future.result()
