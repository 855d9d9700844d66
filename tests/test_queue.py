"""A nudge is sent once, after commit, and never holds up or breaks the write that it follows."""

import socket
import threading
import time

import redis
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.queue import EMBED_QUEUE, INGEST_DUE, Bell, Queue


def waiting(redis_url: str) -> int:
    return int(redis.Redis.from_url(redis_url).llen(EMBED_QUEUE))  # type: ignore[arg-type]


def test_many_writes_in_one_transaction_send_one_message_after_commit(
    sessions: sessionmaker[Session], redis_url: str
) -> None:
    queue = Queue(redis_url)
    with session_scope(sessions) as session:
        for _ in range(3):
            session.execute(text("SELECT 1"))
            queue.nudge_after_commit(session, INGEST_DUE)
        assert waiting(redis_url) == 0
    assert waiting(redis_url) == 1


def test_a_rollback_sends_nothing(sessions: sessionmaker[Session], redis_url: str) -> None:
    queue = Queue(redis_url)
    with sessions() as session:
        session.execute(text("SELECT 1"))
        queue.nudge_after_commit(session, INGEST_DUE)
        session.rollback()
    assert waiting(redis_url) == 0


def test_a_task_that_has_begun_can_be_nudged_again(redis_url: str) -> None:
    queue = Queue(redis_url)
    queue.nudge(INGEST_DUE)
    queue.nudge(INGEST_DUE)
    assert waiting(redis_url) == 1
    queue.begun(INGEST_DUE)
    queue.nudge(INGEST_DUE)
    assert waiting(redis_url) == 2


def test_a_broker_that_accepts_and_never_answers_holds_a_write_for_seconds_at_most() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        queue = Queue(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began = time.monotonic()
        queue.nudge(INGEST_DUE)
        assert time.monotonic() - began < 60, "it waits for as long as the broker says nothing"


def test_a_bell_sends_what_was_rung_for_without_keeping_the_ringer_and_once_for_many_rings(redis_url: str) -> None:
    sent: list[str] = []
    beginning, going_on = threading.Event(), threading.Event()

    class Slow(Queue):
        def nudge(self, task: str) -> None:
            beginning.set()
            going_on.wait(120)
            sent.append(task)

    bell = Bell(Slow(redis_url), INGEST_DUE)
    bell.start()
    bell.ring()
    assert beginning.wait(120)
    for _ in range(100):
        bell.ring()
    assert sent == []  # nobody waited for the broker
    going_on.set()
    bell.stop()
    assert sent == [INGEST_DUE, INGEST_DUE]
    bell.stop()
    silent = Bell(Slow(redis_url), INGEST_DUE)
    silent.start()
    silent.stop()
    assert len(sent) == 2
