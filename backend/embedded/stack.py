"""One stack from start to stop: stores, migrations, worker, beat and API under one supervisor."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from backend.embedded import postgres, processes, stores
from backend.embedded.demo_gates import with_lighter_gates
from backend.embedded.home import Home, StackError
from backend.embedded.keys import shown_keys
from backend.embedded.ports import free_port, require_free
from backend.embedded.supervisor import Program, Supervisor
from backend.embedded.terminal import Terminal
from backend.settings import Settings

Prepare = Callable[[Settings], Program | None]
"""Names what is run to its end on a stack that is ready, before it is shown; nothing for ``None``."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _StopAskedFor(BaseException):
    """Ctrl-C or SIGTERM. Not an ``Exception``: nothing on the way may take it for a failure."""


def run_stack(settings: Settings, *, prepare: Prepare | None = None, console: Console | None = None) -> None:
    """Run the stack until Ctrl-C or SIGTERM.

    Raises:
        StackError: it cannot start; nothing of it is left running.
    """
    home = Home(settings.home)
    terminal = Terminal(console or Console(stderr=True))
    home.prepare()
    with home.locked(), _signals():
        supervisor = Supervisor(home, terminal.say)
        try:
            _run(_located(settings, home), home, supervisor, terminal, prepare)
        except _StopAskedFor:
            pass
        finally:
            _ignore_signals()
            if supervisor.pids():
                with terminal.step("Stopped"):
                    supervisor.stop()
            home.stack_file.unlink(missing_ok=True)


def _located(settings: Settings, home: Home) -> Settings:
    """``settings`` with the port chosen where it is 0, the home made absolute, and the demo recognised."""
    port = settings.port or free_port()
    require_free(settings.host, port)
    demo = settings.demo or (settings.encoder == "demo" and settings.host in LOOPBACK and not settings.public_url)
    return with_lighter_gates(settings.model_copy(update={"port": port, "home": home.root, "demo": demo}))


def _run(settings: Settings, home: Home, supervisor: Supervisor, terminal: Terminal, prepare: Prepare | None) -> None:
    leftovers = home.stop_leftovers()
    if leftovers:
        terminal.say(f"The last stack here was killed; stopped what it left: {', '.join(leftovers)}")
    settings = _start_stores(settings, home, supervisor, terminal)
    with terminal.step("Database schema"):
        keys = _migrate(settings, home)
    home.tell(_known(settings))
    with terminal.step("Worker, schedule and API"):
        supervisor.start(processes.worker(settings))
        supervisor.start(processes.beat(settings, home))
        supervisor.start(processes.api(settings))
    program = prepare(settings) if prepare is not None else None
    if program is not None and supervisor.complete(program):
        terminal.say(f"{program.name} did not end well. {program.advice}")
    _show(settings, home, keys, terminal)
    supervisor.watch()


def _start_stores(settings: Settings, home: Home, supervisor: Supervisor, terminal: Terminal) -> Settings:
    """Start the stores that the settings do not name; the settings that name them all."""
    found: dict[str, str] = {}
    if settings.database_url is None:
        with terminal.step("PostgreSQL"):
            program, found["database_url"] = postgres.postgres(home)
            supervisor.start(program)
            postgres.create_database(found["database_url"])
    if settings.redis_url is None:
        with terminal.step("Redis"):
            program, found["redis_url"] = stores.redis(home)
            supervisor.start(program)
    if settings.milvus_uri is None:
        with terminal.step("Milvus Lite"):
            program, found["milvus_uri"] = stores.milvus(home)
            supervisor.start(program)
    return settings.model_copy(update=found)


def _migrate(settings: Settings, home: Home) -> dict[str, str]:
    from sqlalchemy.exc import OperationalError

    from backend.db import connect, session_factory, session_scope
    from backend.migrate import migrate

    engine = connect(settings.database_url or "")
    try:
        migrate(engine)
        with session_scope(session_factory(engine)) as session:
            return shown_keys(session, home, origin=settings.public_url or processes.url_of(settings))
    except OperationalError as error:
        reason = str(error.orig).strip()
        raise StackError(f"PostgreSQL does not let us in: {reason}. Check DATABASE_URL.") from error
    finally:
        engine.dispose()


def _known(settings: Settings) -> dict[str, object]:
    token = settings.milvus_token.get_secret_value() if settings.milvus_token else None
    return {
        "pid": os.getpid(),
        "url": processes.url_of(settings),
        "database_url": settings.database_url,
        "redis_url": settings.redis_url,
        "milvus_uri": settings.milvus_uri,
        "milvus_token": token,
        "encoder": settings.encoder,
        "demo": settings.demo,
    }


def _show(settings: Settings, home: Home, keys: dict[str, str], terminal: Terminal) -> None:
    url = settings.public_url or processes.url_of(settings)
    terminal.show()
    terminal.show(f"  Shop        {url}/")
    terminal.show(f"  Setup       {_setup_page(url, keys, with_key=settings.demo)}")
    terminal.show(f"  API         {url}/openapi.json")
    for scope, key in keys.items():
        terminal.show(f"  {scope.capitalize():<11} {key}")
    terminal.show(f"  Data, logs  {home.root}")
    terminal.show()
    body = json.dumps({"text": "a small orange plush toy with big eyes", "limit": 3})
    terminal.show(f"  curl -s {url}/v1/search -H 'Authorization: Bearer {keys['server']}' \\")
    terminal.show(f"    -H 'Content-Type: application/json' -d '{body}'")
    terminal.show()
    terminal.show("  Ctrl-C stops everything.")


def _setup_page(url: str, keys: dict[str, str], *, with_key: bool) -> str:
    """Address of the setup page; on the demo with the key that changes need, behind the #, which is never sent."""
    return f"{url}/setup#key={keys['admin']}" if with_key else f"{url}/setup"


@contextmanager
def _signals() -> Iterator[None]:
    """Within: Ctrl-C and SIGTERM raise. Afterwards: as before."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _StopAskedFor

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """A second Ctrl-C must not leave processes behind: stopping takes seconds, and is bounded."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
