"""The summarizers of the generations that serve here: loaded when one is first asked for, run on one thread."""

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.models import SummarizerRecord
from backend.generations.serving import Serving
from backend.logs import get_logger
from backend.ml.feedback.adapted import AdaptedSummarizer
from backend.ml.feedback.inputs import Summarizer, Summary, Tokens
from backend.ml.summarizer import STEER_STRENGTH, load_summarizer

log = get_logger(__name__)

HELD = 3
"""Summarizers in memory: that of the live generation, of the one before and of an arm. At B/32 one is 62 MB."""


class _OnThread:
    """A summarizer that runs on the thread of all: side by side they would take the cores from the encoder."""

    def __init__(self, summarizer: Summarizer, pool: ThreadPoolExecutor) -> None:
        self._summarizer = summarizer
        self._pool = pool

    def summarize(self, tokens: Tokens, *, captions: bool = True, steer_strength: float = STEER_STRENGTH) -> Summary:
        """As ``Summarizer.summarize``."""
        return self._pool.submit(
            self._summarizer.summarize, tokens, captions=captions, steer_strength=steer_strength
        ).result()


class Summarizers:
    """Summarizers by generation. Safe to share between threads.

    Args:
        sessions: where weights are read.
    """

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        self._held: OrderedDict[int, Summarizer | None] = OrderedDict()
        self._changing = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="summarizer", initializer=_one_torch_thread)

    def of(self, serving: Serving) -> Summarizer | None:
        """The summarizer of ``serving``, through its head; ``None`` where it has none, or one that cannot be used."""
        number = serving.summarizer_id
        if number is None:
            return None
        with self._changing:  # a request that comes while it is loaded waits for it
            if number not in self._held:
                self._held[number] = self._load(number, serving.encoder_id)
            self._held.move_to_end(number)
            while len(self._held) > HELD:
                self._held.popitem(last=False)
            held = self._held[number]
        head = serving.item_heads.image
        return held if held is None or head is None else AdaptedSummarizer(held, head)

    def stop(self) -> None:
        """Finish what runs and end the thread."""
        self._pool.shutdown()

    def _load(self, number: int, encoder_id: str) -> Summarizer | None:
        with session_scope(self._sessions) as session:
            weights = session.scalar(select(SummarizerRecord.weights).filter_by(id=number))
        if weights is None:
            log.warning("summarizer_missing", summarizer=number)
            return None
        try:
            loaded = self._pool.submit(load_summarizer, weights).result()  # it tries the weights out
        except ValueError as error:
            log.warning("summarizer_not_loaded", summarizer=number, error=str(error))
            return None
        if loaded.encoder_id != encoder_id:
            log.warning(
                "summarizer_of_another_encoder", summarizer=number, found=loaded.encoder_id, expected=encoder_id
            )
            return None
        log.info("summarizer_loaded", summarizer=number)
        return _OnThread(loaded, self._pool)


def _one_torch_thread() -> None:
    import torch

    torch.set_num_threads(1)
