"""The live encoder's batches go first; those of builds beside it are not starved."""

import threading
import time

from backend.generations.turns import QUIET_S, Turns


def test_second_waits_while_the_first_comes_again_and_again_but_not_for_ever() -> None:
    turns, order, stop = Turns(patience_s=4 * QUIET_S), [], threading.Event()

    def live() -> None:
        while not stop.is_set():
            with turns.first():
                order.append("first")
                time.sleep(0.02)
            time.sleep(0.01)

    thread = threading.Thread(target=live)
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
    assert 4 * QUIET_S <= waited < 4 * QUIET_S + 2


def test_second_goes_at_once_when_nobody_else_encodes_and_the_first_waits_for_that_batch_only() -> None:
    turns, began = Turns(), time.monotonic()
    with turns.second():
        assert time.monotonic() - began < QUIET_S
        waiting = threading.Thread(target=lambda: turns.first().__enter__())
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()
