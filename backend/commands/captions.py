"""``morelike caption``: captions that a model writes of pictures."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.waiting import LONGEST_WAIT_S

if TYPE_CHECKING:
    from rich.progress import Progress
    from sqlalchemy.orm import Session, sessionmaker

    from backend.catalog.captioning.schemas import CaptionerOut, CaptionStatus
    from backend.queue import Queue

caption = typer.Typer(help="Captions that a model writes of the catalogue's pictures.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``caption`` to ``app``."""
    app.add_typer(caption, name="caption")


@caption.command("generate")
def generate(
    wait: Annotated[bool, typer.Option(help="Show a progress bar until every picture is captioned.")] = True,
) -> None:
    """Have the worker caption what is due, at once. Leaving the progress bar stops nothing."""
    from backend.catalog.captioning.budget import resume
    from backend.db import session_scope
    from backend.queue import CAPTION_DUE

    with _stores() as (sessions, queue):
        with session_scope(sessions) as session:
            _require_current(session)
            resume(session)
            queue.nudge_after_commit(session, CAPTION_DUE)
        if wait:
            _watch(sessions)


@caption.command("status")
def status() -> None:
    """Show the captioner in use, how far it got and what holds it up."""
    from rich.console import Console
    from rich.table import Table

    found = _status()
    table = Table("captioner", "kind", "model", "captioned", "waiting", "given up on", "in use")
    for one in [*([found.current] if found.current else []), *found.others]:
        counts = (one.counts.ready, one.counts.pending, one.counts.parked)
        table.add_row(one.id, one.kind, one.model, *(f"{n:,}" for n in counts), "yes" if one.current else "")
    console = Console()
    console.print(table)
    console.print(_sentence(found), highlight=False, soft_wrap=True)


@caption.command("parked")
def parked(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most pictures listed.")] = 50,
    after: Annotated[str, typer.Option(help="List pictures with content hashes above this one.")] = "",
) -> None:
    """List the pictures that the captioner was given up on for, and why."""
    from rich.console import Console
    from rich.table import Table

    from backend.catalog.captioning.repository import list_captions
    from backend.db import session_scope

    with _stores() as (sessions, _), session_scope(sessions) as session:
        page = list_captions(session, "parked", after=after, limit=limit)
    table = Table("picture", "products", "attempts", "why")
    for row in page.captions:
        table.add_row(row.content_hash, ", ".join(row.product_ids), str(row.attempts), row.error or "")
    Console().print(table)


@caption.command("retry")
def retry(
    hashes: Annotated[
        list[str] | None, typer.Argument(help="Pictures by content hash; all that were given up on if none.")
    ] = None,
) -> None:
    """Ask about pictures again, as if they had never been asked about, and end a pause."""
    from backend.catalog.captioning.repository import retry_captions
    from backend.db import session_scope
    from backend.queue import CAPTION_DUE

    with _stores() as (sessions, queue), session_scope(sessions) as session:
        queue.nudge_after_commit(session, CAPTION_DUE)
        again = retry_captions(session, hashes or None)
    typer.echo(f"{again} pictures will be asked about again.")


@caption.command("remove")
def remove(captioner: Annotated[str, typer.Argument(help="Captioner by its name, as `status` shows it.")]) -> None:
    """Remove a captioner that is no longer in use, and everything it said, from the catalogue and from search."""
    from backend.catalog.captioning.repository import remove_captioner
    from backend.db import session_scope
    from backend.queue import INGEST_DUE

    with _stores() as (sessions, queue), session_scope(sessions) as session:
        queue.nudge_after_commit(session, INGEST_DUE)
        products = remove_captioner(session, captioner)
    typer.echo(f"Captions of {captioner} are removed from {products:,} products.")


def _watch(sessions: "sessionmaker[Session]") -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(elapsed_when_finished=False)) as progress:
        found = _follow(sessions, progress)
    typer.echo(_sentence(found))


def _follow(sessions: "sessionmaker[Session]", progress: "Progress") -> "CaptionStatus":
    """Move the bar until nothing waits or the captioner pauses; what was found last.

    Raises:
        Unavailable: nothing has moved for half an hour.
    """
    from backend.errors import Unavailable

    shown = progress.add_task("Captioning", total=None)
    last: tuple[int, int] | None = None
    since = time.monotonic()
    while True:
        began = time.monotonic()
        found = _status_of(sessions)
        took_s = time.monotonic() - began
        waits = _waits(found)
        if found.current is None:
            return found
        asked = found.current.counts.ready + found.current.counts.parked
        progress.update(shown, completed=asked, total=None if waits[1] else asked + waits[0])
        if found.current.paused_until or not any(waits):
            return found
        if waits != last:
            last, since = waits, time.monotonic()
        if time.monotonic() - since > LONGEST_WAIT_S:
            raise Unavailable(
                "The worker makes no progress: see `morelike doctor` and logs/worker.log.",
                found=f"{waits[0]} pictures and {waits[1]} products waiting",
            )
        time.sleep(max(0.5, 5 * took_s))  # counting must not cost the worker its database


def _waits(found: "CaptionStatus") -> tuple[int, int]:
    """Pictures and products that wait."""
    return (found.current.counts.pending if found.current else 0), found.products_waiting


def _sentence(found: "CaptionStatus") -> str:
    current = found.current
    if current is None:
        return "Captioning is off: set MORELIKE_CAPTIONER and restart the worker."
    counts = current.counts
    said = [f"{counts.ready:,} pictures are captioned, {counts.pending:,} wait, {counts.parked:,} were given up on."]
    if found.products_waiting:
        said.append(f"The pictures of {found.products_waiting:,} products are still to be looked at.")
    if found.requests_today:
        said.append(f"{found.requests_today:,} requests were sent today.")
    return " ".join([*said, *_held_up(current)])


def _held_up(current: "CaptionerOut") -> Iterator[str]:
    if current.paused_until:
        yield f"Paused until {current.paused_until:%Y-%m-%d %H:%M:%S} UTC: {current.reason}"


def _require_current(session: "Session") -> None:
    from backend.catalog.captioning.captioners import CaptionerUnavailable
    from backend.catalog.captioning.repository import current_plan

    if current_plan(session) is None:
        raise CaptionerUnavailable(
            "Captioning is off: set MORELIKE_CAPTIONER where the worker runs, and restart it.",
            found="off",
            expected="openai:MODEL, coca:NAME:PRETRAINED or coca:local-dir:PATH",
        )


def _status() -> "CaptionStatus":
    with _stores() as (sessions, _):
        return _status_of(sessions)


def _status_of(sessions: "sessionmaker[Session]") -> "CaptionStatus":
    from backend.catalog.captioning.repository import caption_status
    from backend.db import session_scope

    with session_scope(sessions) as session:
        return caption_status(session)


@contextmanager
def _stores() -> "Iterator[tuple[sessionmaker[Session], Queue]]":
    from backend.db import connect, session_factory
    from backend.embedded import settings_of_running
    from backend.queue import Queue
    from backend.settings import Settings

    settings = settings_of_running(Settings())
    engine = connect(settings.database_url or "")
    try:
        yield session_factory(engine), Queue(settings.redis_url or "")
    finally:
        engine.dispose()
