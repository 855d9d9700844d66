"""The API's encoder: loaded beside the start, asked by many at once, answering each its own vector."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.ml.encoder import Encoder
from backend.search.encoder_thread import MOST_AT_ONCE, EncoderNotLoaded, EncoderThread

COLOURS = ["red", "green", "blue", "grey", "black"]


@contextmanager
def running(thread: EncoderThread) -> Iterator[EncoderThread]:
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()


def test_a_probe_is_answered_at_once_while_the_encoder_loads_and_a_search_waits_for_it(tiny_encoder: Encoder) -> None:
    may_load = threading.Event()

    def load() -> Encoder:
        may_load.wait(120)
        return tiny_encoder

    with running(EncoderThread(load)) as thread, ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        with pytest.raises(EncoderNotLoaded, match="still being loaded"):
            _ = thread.encoder_now
        assert time.monotonic() - began < 15, "a search would have waited 20 s"
        waiting = pool.submit(thread.encode_text, "a red lamp")
        may_load.set()
        np.testing.assert_allclose(waiting.result(30), tiny_encoder.encode_texts(["a red lamp"])[0], atol=1e-6)
        assert thread.encoder_now is tiny_encoder


def test_an_encoder_that_cannot_be_loaded_says_why() -> None:
    def load() -> Encoder:
        raise ValueError("no weights here")

    with running(EncoderThread(load)) as thread:
        with pytest.raises(EncoderNotLoaded, match="no weights here"):
            thread.encode_text("a red lamp")
        with pytest.raises(EncoderNotLoaded, match="no weights here"):
            _ = thread.encoder_now


def test_many_callers_get_their_own_vectors_from_few_batches(
    tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    encode = tiny_encoder.encode_texts

    def counted(texts: Sequence[str]) -> NDArray[np.float32]:
        batches.append(len(texts))
        time.sleep(0.05)  # while this one is encoded, the others queue up
        return encode(texts)

    monkeypatch.setattr(tiny_encoder, "encode_texts", counted)
    asked = [f"a {COLOURS[n % 5]} lamp number {n}" for n in range(40)]
    with running(EncoderThread(lambda: tiny_encoder)) as thread, ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(thread.encode_text, asked))
    np.testing.assert_allclose(np.stack(answers), encode(asked), atol=1e-5)
    assert sum(batches) == 40
    assert len(batches) <= 10
    assert max(batches) <= MOST_AT_ONCE


def test_a_batch_that_fails_is_told_to_its_callers_and_the_thread_lives_on(
    tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_texts: Sequence[str]) -> NDArray[np.float32]:
        raise RuntimeError("out of memory")

    with running(EncoderThread(lambda: tiny_encoder)) as thread:
        with monkeypatch.context() as patch:
            patch.setattr(tiny_encoder, "encode_texts", broken)
            with pytest.raises(RuntimeError, match="out of memory"):
                thread.encode_text("a red lamp")
        assert thread.encode_text("a red lamp").shape == (tiny_encoder.dim,)
