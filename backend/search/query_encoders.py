"""The encoders of one API process: one thread for each whose index build is written, so that a flip finds it loaded."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backend.generations.serving import EncoderKey, Serving
from backend.logs import get_logger
from backend.ml.encoder import Encoder
from backend.search.encoder_thread import EncoderNotLoaded, EncoderThread

log = get_logger(__name__)

AGAIN_S = 15.0
"""Seconds after which an encoder that could not be loaded is tried again."""


@dataclass
class _Held:
    """An encoder's thread and since when it is there."""

    thread: EncoderThread
    since: float = field(default_factory=time.monotonic)


class QueryEncoders:
    """Follows the encoders in use: loads them one after the other, and lets go of those that no build needs any more.

    Args:
        load: opens an encoder; called by a thread of its own for each.
    """

    def __init__(self, load: Callable[[EncoderKey], Encoder]) -> None:
        self._load = load
        self._held: dict[str, _Held] = {}
        self._changing = threading.Lock()

    def follow(self, encoders: Sequence[EncoderKey]) -> None:
        """Hold ``encoders``, the live one first; called again and again. One is loaded at a time."""
        with self._changing:
            wanted = {encoder.id for encoder in encoders}
            for gone in self._held.keys() - wanted:
                # what waits in it is still answered; requests that took its generation are told to come again
                threading.Thread(target=self._held.pop(gone).thread.stop, daemon=True).start()
                log.info("encoder_let_go", encoder=gone)
            for encoder in encoders:
                held = self._held.get(encoder.id)
                if held is not None and held.thread.failed and time.monotonic() - held.since > AGAIN_S:
                    held = None
                if held is None:
                    self._start(encoder)
                    return
                if held.thread.loading:
                    return

    def _start(self, encoder: EncoderKey) -> None:
        held = self._held[encoder.id] = _Held(EncoderThread(lambda: self._load(encoder)))
        held.thread.start()

    def has(self, encoder_id: str) -> bool:
        """Whether this encoder is loaded now."""
        held = self._held.get(encoder_id)
        return held is not None and held.thread.loaded

    def why_not(self, encoder_id: str) -> str:
        """What keeps this encoder from being loaded."""
        try:
            _ = self.thread(encoder_id).encoder_now
        except EncoderNotLoaded as error:
            return error.detail
        return "it is loaded"

    def thread(self, encoder_id: str) -> EncoderThread:
        """The thread that encodes with this encoder; it may still be loading it.

        Raises:
            EncoderNotLoaded: this process does not hold it (yet).
        """
        held = self._held.get(encoder_id)
        if held is None:
            raise EncoderNotLoaded("this process has not loaded the encoder of this generation", expected=encoder_id)
        return held.thread

    def serving(self, serving: Serving, *, wait: bool = True) -> EncoderThread:
        """The thread that encodes for ``serving``; unless ``wait``, one still being loaded cannot.

        Raises:
            EncoderNotLoaded: this process has no encoder, or another one.
        """
        thread = self.thread(serving.encoder_id)
        encoder = thread.encoder if wait else thread.encoder_now
        if serving.weights_hash != encoder.weights_hash:
            raise EncoderNotLoaded(
                "this process has loaded other weights than the live generation was made with",
                found=encoder.weights_hash,
                expected=serving.weights_hash,
            )
        return thread

    def stop(self) -> None:
        """End all threads."""
        with self._changing:
            for held in self._held.values():
                held.thread.stop()
            self._held.clear()
