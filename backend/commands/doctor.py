"""``morelike doctor``: looks at each component and says what to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from backend.settings import Settings


@dataclass(frozen=True)
class Finding:
    """What was found of one component. ``advice`` is what to do about it; with ``well`` it is a recommendation."""

    component: str
    well: bool
    fact: str
    advice: str = ""


Check = Callable[["Settings"], Iterator[Finding]]


def register(app: typer.Typer) -> None:
    """Add ``doctor`` to ``app``."""
    app.command("doctor")(doctor)


def doctor(
    rows: Annotated[
        bool, typer.Option(help="Compare catalogue and index row by row, too; writers wait for it.")
    ] = False,
) -> None:
    """Check each component of the stack; exit code 1 when one needs attention."""
    from rich.console import Console
    from rich.markup import escape

    from backend.embedded import settings_of_running
    from backend.settings import Settings

    settings = settings_of_running(Settings())
    console = Console()
    well = True
    for check in (*CHECKS, *([_rows] if rows else [])):
        for finding in _findings(check, settings):
            well = well and finding.well
            mark = "[green]ok  [/green]" if finding.well else "[red]bad [/red]"
            line = f"{finding.component:<11}{finding.fact}{f'. {finding.advice}' if finding.advice else ''}"
            console.print(f"{mark} {escape(line)}", highlight=False, soft_wrap=True)
    if not well:
        raise typer.Exit(1)


def _findings(check: Check, settings: "Settings") -> Iterator[Finding]:
    """What ``check`` finds; a check that breaks is itself a finding, and the others still run."""
    component = check.__name__.strip("_").capitalize()
    try:
        yield from check(settings)
    except Exception as error:  # noqa: BLE001  whatever is broken, the doctor goes on
        reason = str(error).strip().splitlines() or [type(error).__name__]
        advice = "See logs/ in the data directory, and docs/trouble.md"
        yield Finding(component, well=False, fact=reason[0].rstrip("."), advice=advice)


def _disk(settings: "Settings") -> Iterator[Finding]:
    import shutil

    from backend.embedded.home import FREE_BYTES

    home = settings.home.resolve()
    folder = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    advice = "" if free >= FREE_BYTES else "Free some, or move the data directory to another disk (MORELIKE_HOME)"
    yield Finding("Disk", free >= FREE_BYTES, f"{free / 2**30:.1f} GiB free at {folder}", advice)


def _database(settings: "Settings") -> Iterator[Finding]:
    from backend.db import connect
    from backend.migrate import missing_migrations

    engine = connect(settings.database_url or "")
    try:
        with engine.connect() as connection:
            server = connection.connection.dbapi_connection
            version = getattr(server, "server_version", 0) // 10_000
        missing = missing_migrations(engine)
    finally:
        engine.dispose()
    advice = "`morelike migrate` brings it up to date" if missing else ""
    state = f"{len(missing)} migrations behind" if missing else "schema up to date"
    yield Finding("Database", not missing, f"PostgreSQL {version} answers, {state}", advice)


def _redis(settings: "Settings") -> Iterator[Finding]:
    from redis import Redis

    with Redis.from_url(settings.redis_url or "", socket_timeout=3, socket_connect_timeout=3) as client:
        version = client.info("server")["redis_version"]
        waiting = client.llen("celery")
    yield Finding("Redis", well=True, fact=f"Redis {version} answers, {waiting} messages wait")


def _worker(settings: "Settings") -> Iterator[Finding]:
    from celery import Celery

    app = Celery(broker=settings.redis_url)
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=3)
        count = len(app.control.ping(timeout=3, connection=connection) or [])
    advice = "" if count else "Nothing is downloaded, embedded or indexed until one runs: see logs/worker.log"
    yield Finding("Worker", count > 0, f"{count} running", advice)


def _index(settings: "Settings") -> Iterator[Finding]:
    from sqlalchemy import func, select

    from backend.generations.backlog import count_due
    from backend.generations.models import IndexRow
    from backend.generations.repository import live_build
    from backend.vector_index import LITE_VECTORS, VectorIndex

    token = settings.milvus_token.get_secret_value() if settings.milvus_token else None
    index = VectorIndex(settings.milvus_uri or "", token)
    kind = "Milvus Lite" if index.is_lite() else "Milvus"
    with _session(settings) as session:
        build, due = live_build(session), count_due(session)
        if build is None:
            yield Finding("Index", False, f"{kind} answers, and no generation is live", "See logs/worker.log")
            return
        keys = func.cardinality(IndexRow.image_keys) + func.cardinality(IndexRow.caption_keys)
        recorded = session.scalar(select(func.sum(keys)).where(IndexRow.index_build_id == build.id)) or 0
    vectors = sum(index.count(name) for name in build.collections)
    advice = ""
    if index.is_lite() and vectors > LITE_VECTORS:
        advice = f"Milvus Lite serves some {LITE_VECTORS:,} well: start a Milvus server and name it in MILVUS_URI"
    yield Finding("Index", not advice, f"{kind} answers with {vectors:,} vectors", advice)
    waiting = due["images"] + due["products"]
    if waiting:
        yield Finding("Catalogue", well=True, fact=f"{waiting:,} images and products wait for the worker")
    elif vectors != recorded:
        fact = f"PostgreSQL knows of {recorded:,} vectors, the index of {vectors:,}"
        yield Finding("Catalogue", False, fact, "`morelike doctor --rows` says which; docs/trouble.md what to do")
    else:
        yield Finding("Catalogue", well=True, fact="all of it is in the index")
    if due["parked_images"]:
        fact = f"{due['parked_images']:,} were given up on"
        yield Finding(
            "Images",
            well=True,
            fact=fact,
            advice="`morelike images parked` lists them, `morelike images retry` tries again",
        )


def _rows(settings: "Settings") -> Iterator[Finding]:
    from backend.generations.audit import compare
    from backend.generations.repository import live_build
    from backend.vector_index import VectorIndex

    token = settings.milvus_token.get_secret_value() if settings.milvus_token else None
    with _session(settings) as session:
        build = live_build(session)
        if build is None:
            return
        report = compare(session, VectorIndex(settings.milvus_uri or "", token), build)
    differing = ", ".join(
        f"{count:,} {kind.replace('_', ' ')}" for kind, count in report.disagreements.items() if count
    )
    fact = differing or f"all {report.rows:,} rows of {report.products:,} products are as they should be"
    yield Finding("Rows", report.agrees, fact, "" if report.agrees else "See docs/trouble.md")


@contextmanager
def _session(settings: "Settings") -> "Iterator[Session]":
    from backend.db import connect, session_factory

    engine = connect(settings.database_url or "")
    try:
        with session_factory(engine)() as session:
            yield session
    finally:
        engine.dispose()


def _encoder(settings: "Settings") -> Iterator[Finding]:
    from backend.generations.encoders import open_encoder, open_recorded
    from backend.generations.repository import live_encoder

    # the worker may have all cores busy: one thread that is scheduled beats several that wait for each other
    own = settings.model_copy(update={"torch_threads": 1})
    with _session(settings) as session:
        live = live_encoder(session)
    encoder = open_recorded(own, live.id, live.source) if live is not None else open_encoder(own)
    yield Finding("Encoder", well=True, fact=f"{encoder.id} loads, {encoder.dim} numbers a vector")


def _captions(settings: "Settings") -> Iterator[Finding]:
    from backend.catalog.captioning.repository import caption_status

    with _session(settings) as session:
        captioner = caption_status(session).current
    if captioner is None:
        return
    counts = captioner.counts
    fact = f"{captioner.id}: {counts.ready:,} pictures captioned, {counts.pending:,} wait"
    if captioner.paused_until:
        advice = "`morelike caption generate` tries at once"
        yield Finding("Captions", well=False, fact=f"{fact}; paused: {captioner.reason}".rstrip("."), advice=advice)
        return
    advice = f"{counts.parked:,} were given up on: `morelike caption parked` says why" if counts.parked else ""
    yield Finding("Captions", well=True, fact=fact, advice=advice)


def _api(settings: "Settings") -> Iterator[Finding]:
    from backend.embedded.processes import responds, url_of

    url = url_of(settings)
    well = responds(f"{url}/readyz")
    advice = "" if well else f"Ask {url}/readyz what is missing, and see logs/api.log"
    yield Finding("API", well, f"{url} {'is ready' if well else 'is not ready'}", advice)


CHECKS: tuple[Check, ...] = (_disk, _database, _redis, _worker, _index, _encoder, _captions, _api)
