"""A pipe ends from either side, and holds no more than it should."""

import threading

import pytest

from backend.generations.pipe import Pipe, PipeBrokenError


def test_reader_gets_what_was_put_before_the_pipe_was_closed() -> None:
    pipe: Pipe[int] = Pipe(3)
    for number in range(3):
        pipe.put(number)
    pipe.close()
    assert list(pipe) == [0, 1, 2]


def test_writer_waits_while_the_pipe_is_full() -> None:
    pipe: Pipe[int] = Pipe(2)
    put: list[int] = []

    def write() -> None:
        for number in range(5):
            pipe.put(number)
            put.append(number)
        pipe.close()

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.2)
    assert put == [0, 1]
    assert list(pipe) == [0, 1, 2, 3, 4]
    writer.join(120)


def test_writer_that_waits_is_told_when_the_reader_goes() -> None:
    pipe: Pipe[int] = Pipe(1)
    pipe.put(1)
    threading.Timer(0.1, pipe.break_off).start()
    with pytest.raises(PipeBrokenError):
        pipe.put(2)
    assert list(pipe) == []
