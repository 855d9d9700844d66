"""The live encoder's batches go first; those of builds beside it are not starved."""

import threading
import time

import pytest

from backend.generations.turns import Turns


def test_second_waits_while_the_first_comes_again_and_again_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.generations.turns.QUIET_S", 0.6)  # more than a busy machine keeps a thread waiting
    turns, order, stop = Turns(patience_s=2.0), [], threading.Event()

    def live() -> None:
        while not stop.is_set():
            with turns.first():
                order.append("first")
                time.sleep(0.02)

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    time.sleep(0.1)
    began = time.monotonic()
    with turns.second():
        waited = time.monotonic() - began
        seen = len(order)
        time.sleep(0.2)
        assert len(order) == seen, "one batch at a time"
    stop.set()
    thread.join()
    assert 1.9 <= waited < 60


def test_second_goes_at_once_when_nobody_else_encodes_and_the_first_waits_for_that_batch_only() -> None:
    turns, began = Turns(patience_s=600.0), time.monotonic()
    with turns.second():
        assert time.monotonic() - began < 300, "its patience is longer"
        waiting = threading.Thread(target=lambda: turns.first().__enter__(), daemon=True)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(60)
    assert not waiting.is_alive()
