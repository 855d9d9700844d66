"""One thread that encodes for all requests: torch on one thread, what waits is encoded together."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.errors import Unavailable
from backend.ml.encoder import Encoder

Vector = NDArray[np.float32]
T = TypeVar("T")

MOST_AT_ONCE = 32
"""Texts or pictures of one batch; more wait for the next."""

QUEUE_LIMIT = 512
"""Requests that may wait; further ones are told to come back."""


class EncoderNotLoaded(Unavailable):
    """This process has no encoder, or another one than the live generation needs."""

    title = "Encoder not loaded"


class EncoderBusy(Unavailable):
    """More queries wait for the encoder than it will serve in time."""

    title = "Encoder busy"


@dataclass(frozen=True)
class _Words:
    """A text of which the word tokens are wanted."""

    text: str


@dataclass(frozen=True)
class _Pieces:
    """A text of which it is wanted what its word tokens stand for: not every tokenizer may be asked by two threads."""

    text: str


@dataclass(frozen=True)
class _Job(Generic[T]):
    subject: T
    answer: "Future[Any]"


class EncoderThread:
    """Encodes one text or picture at a time for its caller, batched with those of other callers.

    The encoder is loaded by the thread, so that what needs none (browsing, queries encoded before) is answered at once.

    Args:
        load: gives the encoder; called once, by the thread.
        patience_s: seconds a caller waits before it is told that the encoder is busy.
    """

    def __init__(self, load: Callable[[], Encoder], *, patience_s: float = 20.0) -> None:
        self._load = load
        self._loaded: Future[Encoder] = Future()
        self._patience_s = patience_s
        self._jobs: queue.Queue[_Job[Any] | None] = queue.Queue(QUEUE_LIMIT)
        self._thread = threading.Thread(target=self._run, name="encoder", daemon=True)

    def start(self) -> None:
        """Begin to encode."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what waits and end."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join(timeout=self._patience_s)

    @property
    def loading(self) -> bool:
        """Whether the encoder is not there yet, and may come."""
        return not self._loaded.done()

    @property
    def loaded(self) -> bool:
        """Whether the encoder is there."""
        return self._loaded.done() and self._loaded.exception() is None

    @property
    def failed(self) -> bool:
        """Whether the encoder could not be loaded."""
        return self._loaded.done() and self._loaded.exception() is not None

    @property
    def encoder(self) -> Encoder:
        """The encoder, once it is loaded.

        Raises:
            EncoderNotLoaded: loading failed or takes too long.
        """
        return self._loaded_within(self._patience_s)

    @property
    def encoder_now(self) -> Encoder:
        """The encoder, for those who must not wait until it is loaded, such as a readiness probe.

        Raises:
            EncoderNotLoaded: loading failed or goes on.
        """
        return self._loaded_within(0)

    def _loaded_within(self, patience_s: float) -> Encoder:
        try:
            return self._loaded.result(patience_s)
        except FutureTimeout as error:
            raise EncoderNotLoaded("the encoder is still being loaded; try again soon") from error
        except Exception as error:
            raise EncoderNotLoaded(f"the encoder could not be loaded: {error}") from error

    def encode_text(self, text: str) -> Vector:
        """(d,) raw unit vector of ``text``."""
        return _numbers(self._ask([text])[0])

    def encode_words(self, text: str) -> Vector:
        """(L, Dt) word tokens of ``text``, start and end included, padding not."""
        return _numbers(self._ask([_Words(text)])[0])

    def word_pieces(self, texts: Sequence[str]) -> list[list[bytes]]:
        """Of each of ``texts`` what its word tokens stand for, as ``Encoder.word_pieces``."""
        return self._ask([_Pieces(text) for text in texts])

    def encode_image(self, image: Image.Image) -> Vector:
        """(d,) raw unit vector of ``image``."""
        return _numbers(self._ask([image])[0])

    def encode_images(self, images: Sequence[Image.Image]) -> list[Vector]:
        """(d,) raw unit vector of each of ``images``, encoded together."""
        return [_numbers(answer) for answer in self._ask(images)]

    def _ask(self, subjects: Sequence[str | _Words | _Pieces | Image.Image]) -> list[Any]:
        _ = self.encoder  # without one there is nobody to answer
        jobs: list[_Job[Any]] = [_Job(subject, Future()) for subject in subjects]
        due = time.monotonic() + self._patience_s
        try:
            for job in jobs:
                self._jobs.put_nowait(job)
            return [job.answer.result(max(0.0, due - time.monotonic())) for job in jobs]
        except (queue.Full, FutureTimeout) as error:
            for job in jobs:
                job.answer.cancel()
            raise EncoderBusy("more queries wait for the encoder than it serves in time; try again") from error

    def _run(self) -> None:
        import torch

        # with two threads on a busy two-core machine one query took 756 ms, with one 21 ms
        torch.set_num_threads(1)
        try:
            encoder = self._load()
        except Exception as error:  # noqa: BLE001  callers are told; whoever waits for the process sees it unready
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(encoder)
        while (first := self._jobs.get()) is not None:
            batch, ending = self._collect(first)
            self._encode([job for job in batch if isinstance(job.subject, str)], encoder.encode_texts)
            self._encode([job for job in batch if isinstance(job.subject, Image.Image)], encoder.encode_images)
            self._encode([job for job in batch if isinstance(job.subject, _Words)], _word_tokens(encoder))
            self._encode([job for job in batch if isinstance(job.subject, _Pieces)], _pieces(encoder))
            if ending:
                return

    def _collect(self, first: _Job[Any]) -> tuple[list[_Job[Any]], bool]:
        """``first`` and what waits behind it; and whether the end was among it."""
        batch = [first]
        while len(batch) < MOST_AT_ONCE:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _encode(self, jobs: Sequence[_Job[Any]], encode: Callable[[Sequence[Any]], Iterable[Any]]) -> None:
        wanted = [job for job in jobs if job.answer.set_running_or_notify_cancel()]
        if not wanted:
            return
        try:
            answers = list(encode([job.subject for job in wanted]))
        except Exception as error:  # noqa: BLE001  whatever it is belongs to those who asked; the thread lives on
            for job in wanted:
                job.answer.set_exception(error)
            return
        for job, answer in zip(wanted, answers, strict=True):
            job.answer.set_result(answer)


def _word_tokens(encoder: Encoder) -> Callable[[Sequence[_Words]], list[Vector]]:
    return lambda wanted: encoder.encode_texts_with_tokens([words.text for words in wanted]).tokens


def _pieces(encoder: Encoder) -> Callable[[Sequence[_Pieces]], list[list[bytes]]]:
    return lambda wanted: [encoder.word_pieces(one.text) for one in wanted]


def _numbers(answer: Any) -> Vector:
    return np.ascontiguousarray(answer, dtype=np.float32)
