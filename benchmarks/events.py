"""Events taken in over HTTP, each on the disk when it is answered, against COPY of the same rows.

    python -m benchmarks.events [--events 20000] [--rounds 5] [--clients 4]

Starts PostgreSQL, which waits for the disk as it does in a shop, and the API in a process of its own. In turns, within
one run: clients post batches of 500 events, each with an id of its own and of a list that was served; then COPY brings
the rows that came of it, under other message ids, into the same two tables (events and event_ids, with their indexes)
in one transaction. Prints a table and where the API's time went; exits with 1 when the median round takes in fewer
than 0.25 of the events that COPY does, or when the tables do not hold each event once.
"""

import argparse
import io
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import orjson
from sqlalchemy import Engine, insert, text
from sqlalchemy.orm import Session

from backend.db import connect, session_factory, session_scope
from backend.events.models import Event, ServedList, ServedPage
from backend.events.query_ids import new_query_id
from benchmarks.search import api, stack

LEAST_SHARE = 0.25
BATCH = 500
LISTS = 200
SHOWN = 20

_SENT = ", ".join(column.name for column in Event.__table__.columns if column.name not in ("id", "message_id"))


def main() -> None:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=20_000, help="of each round")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--clients", type=int, default=4)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, stack(Path(folder)) as started:
        engine = connect(started.database)
        with session_scope(session_factory(engine)) as session:
            lists = [put_list(session) for _ in range(LISTS)]
        with api(started) as port:
            failed = not measure(engine, port, lists, given.events, given.rounds, given.clients)
        engine.dispose()
    print(f"\n{'failed' if failed else 'all within bounds'}")
    sys.exit(1 if failed else 0)


def measure(engine: Engine, port: int, lists: list[str], events: int, rounds: int, clients: int) -> bool:
    """Print the table; whether all that is claimed held."""
    send = sender(port)
    print("| round | HTTP events/s | COPY rows/s | share |")
    print("|-------|---------------|-------------|-------|")
    shares = []
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, batches("warm", lists, clients * BATCH)))
        for turn in range(rounds):
            bodies = batches(f"r{turn}", lists, events)
            http = events / timed(lambda: list(pool.map(send, bodies)))  # noqa: B023  called at once
            rows = copied_out(engine, f"r{turn}-")
            copy = events / timed(lambda: copy_in(engine, rows))  # noqa: B023  called at once
            shares.append(http / copy)
            print(f"| {turn + 1:5} | {http:13,.0f} | {copy:11,.0f} | {shares[-1]:5.2f} |", flush=True)
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT count(*), count(DISTINCT message_id) FROM events")).one()
    expected = clients * BATCH + 2 * rounds * events
    print(f"\nmedian share {np.median(shares):.2f}; {kept[0]:,} rows with {kept[1]:,} different ids, of {expected:,}")
    return bool(np.median(shares) >= LEAST_SHARE and tuple(kept) == (expected, expected))


def timed(call: Callable[[], object]) -> float:
    """Seconds that ``call`` takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def put_list(session: Session) -> str:
    """Id of a served list of ``SHOWN`` products."""
    query_id = new_query_id()
    served = {"query_id": query_id, "generation_id": 1, "request": {}, "total": SHOWN, "total_is": "exact"}
    session.execute(insert(ServedList).values(served))
    page = {"query_id": query_id, "first_position": 1, "scores": [0.5] * SHOWN}
    session.execute(insert(ServedPage).values(page | {"product_ids": [f"p{place}" for place in range(SHOWN)]}))
    return query_id


def batches(name: str, lists: list[str], events: int) -> list[bytes]:
    """Bodies of ``BATCH`` events each: what a shopper sees, opens, reads and puts into the cart."""
    now = datetime.now(UTC).isoformat()
    return [
        orjson.dumps([event(f"{name}-{number}", number, lists, now) for number in range(start, start + BATCH)])
        for start in range(0, events, BATCH)
    ]


def event(message_id: str, number: int, lists: list[str], now: str) -> dict[str, object]:
    """Sixteen of twenty were seen, two clicked, one read, one put into the cart."""
    said: dict[str, object] = {
        "message_id": message_id,
        "query_id": lists[number // SHOWN % len(lists)],
        "product_id": f"p{number % SHOWN}",
        "shopper_id": f"shopper-{number // 100}",
        "session_id": f"session-{number // 50}",
        "timestamp": now,
        "surface": "web",
        "device": "mobile",
    }
    match number % SHOWN:
        case 16 | 17:
            return said | {"type": "click"}
        case 18:
            return said | {"type": "dwell", "dwell_ms": 4000}
        case 19:
            return said | {"type": "add_to_cart", "quantity": 1, "price": 12.5, "currency": "EUR"}
        case _:
            return said | {"type": "exposure", "visible_share": 0.8, "visible_ms": 1200, "columns": 4}


def sender(port: int) -> Callable[[bytes], None]:
    """Posts a body, a connection a thread; every event of it must be accepted."""
    local = threading.local()

    def send(body: bytes) -> None:
        if not hasattr(local, "connection"):
            local.connection = HTTPConnection("127.0.0.1", port)
        local.connection.request("POST", "/v1/events", body, {"content-type": "application/json"})
        answer = local.connection.getresponse()
        said = answer.read()
        assert answer.status == 202, said
        assert orjson.loads(said)["accepted"] == BATCH

    return send


def copied_out(engine: Engine, name: str) -> tuple[str, str]:
    """What COPY reads of the rows that came of a round, for both tables, under other message ids."""
    whole, ids = io.StringIO(), io.StringIO()
    raw = engine.raw_connection()
    try:
        with raw.cursor() as cursor:
            chosen = f"FROM events WHERE message_id LIKE '{name}%'"
            cursor.copy_expert(f"COPY (SELECT 'c' || message_id, {_SENT} {chosen}) TO STDOUT", whole)
            cursor.copy_expert(f"COPY (SELECT 'c' || message_id {chosen}) TO STDOUT", ids)
    finally:
        raw.close()
    return whole.getvalue(), ids.getvalue()


def copy_in(engine: Engine, rows: tuple[str, str]) -> None:
    """Bring them in, in one transaction that is on the disk at its end."""
    raw = engine.raw_connection()
    try:
        with raw.cursor() as cursor:
            cursor.copy_expert("COPY event_ids (message_id) FROM STDIN", io.StringIO(rows[1]))
            cursor.copy_expert(f"COPY events (message_id, {_SENT}) FROM STDIN", io.StringIO(rows[0]))
        raw.commit()
    finally:
        raw.close()


if __name__ == "__main__":
    main()
