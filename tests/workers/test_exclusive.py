"""What is asked for while a task runs is done behind it, once, and holds no other thread up."""

import threading
from collections.abc import Callable

import pytest

from workers.exclusive import Exclusive, Seldom


def started(body: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


def test_calls_during_a_run_return_at_once_and_come_to_one_more_run() -> None:
    exclusive, begun, go_on = Exclusive(), threading.Event(), threading.Event()
    runs: list[int] = []

    def body() -> None:
        runs.append(threading.get_ident())
        begun.set()
        assert go_on.wait(120)

    first = started(lambda: exclusive.run(body))
    assert begun.wait(120)
    for _ in range(5):
        exclusive.run(body)  # would wait for ever if it ran the body here
    assert len(runs) == 1
    go_on.set()
    first.join(120)
    assert len(runs) == 2
    assert set(runs) == {first.ident}


def test_a_body_that_fails_lets_the_next_call_run() -> None:
    exclusive = Exclusive()

    def fail() -> None:
        raise RuntimeError("found nothing")

    with pytest.raises(RuntimeError, match="found nothing"):
        exclusive.run(fail)
    runs: list[None] = []
    exclusive.run(lambda: runs.append(None))
    assert len(runs) == 1


def test_what_is_done_seldom_is_due_at_first_and_then_not_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("workers.exclusive.time.monotonic", lambda: clock[0])
    seldom = Seldom(300)
    assert [seldom.is_due(), seldom.is_due()] == [True, False]
    clock[0] += 299
    assert not seldom.is_due()
    clock[0] += 1
    assert [seldom.is_due(), seldom.is_due()] == [True, False]
