"""``morelike import``: a catalogue from a file or from a shop."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy.orm import Session, sessionmaker

    from backend.catalog.feeds.detect import Feed
    from backend.catalog.feeds.drafts import Item
    from backend.catalog.importer import ImportOptions, ImportReport
    from backend.catalog.shops.client import Pause
    from backend.settings import Settings

STOPPED, SOME_REJECTED = 1, 3
"""Exit codes: the feed was not read to its end, or rows of it were rejected. 0 is: all of it was imported."""

COLUMNS = ("line", "id", "kind", "field", "found", "expected")
SHOWN = 10

LONG_PAUSE_S = 5.0
"""Pause from which on it is worth a word."""


class Mode(StrEnum):
    """What happens to products that the feed does not name."""

    UPSERT = "upsert"
    FULL_SYNC = "full-sync"


def register(app: typer.Typer) -> None:
    """Add ``import`` to ``app``."""
    app.command("import")(import_feed)


def import_feed(
    feed: Annotated[
        str,
        typer.Argument(
            help="CSV (Shopify's too), TSV, JSONL, Parquet or Google Merchant feed; or the address of a shop, https://…"
        ),
    ],
    images: Annotated[Path | None, typer.Option(help="Folder or zip of the pictures that the feed names.")] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="csv, tsv, shopify, jsonl, parquet, merchant-tsv, merchant-xml; else found out."),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="full-sync deletes products that the feed does not name.")] = Mode.UPSERT,
    currency: Annotated[str | None, typer.Option(help="Currency of prices that name none, such as EUR.")] = None,
    report: Annotated[Path | None, typer.Option(help="File for what was rejected: .jsonl, or .csv.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until everything can be searched.")] = True,
    delete_many: Annotated[bool, typer.Option(help="Let full-sync delete more than half of the catalogue.")] = False,
    allow_demo_encoder: Annotated[
        bool, typer.Option(help="Import pictures although the encoder in use knows only drawings.")
    ] = False,
    again: Annotated[
        bool, typer.Option(help="Write every product of a shop, also those that did not change since the last time.")
    ] = False,
) -> None:
    """Import a catalogue from a file or a shop, then wait until it can be searched."""
    from backend.catalog.feeds.pictures import open_pictures
    from backend.catalog.importer import ImportOptions

    with running() as (settings, sessions, console):
        opened, told = _opened(settings, sessions, feed, format_, currency, again=again, console=console)
        options = ImportOptions(
            mode=mode.value,
            currency=told,
            pictures=open_pictures(images, settings.image_max_bytes) if images else None,
            encoder_drawings_only=knows_only_drawings(settings, sessions) and not allow_demo_encoder,
            delete_many=delete_many,
        )
        done = shown(settings, sessions, opened, options, report, console, wait=wait)
    leave(done)


@contextmanager
def running() -> "Iterator[tuple[Settings, sessionmaker[Session], Console]]":
    """Settings of the stack that runs, its PostgreSQL, and where a person reads."""
    from rich.console import Console

    from backend.db import connect, session_factory
    from backend.embedded import settings_of_running
    from backend.settings import Settings

    settings = settings_of_running(Settings())
    engine = connect(settings.database_url or "")
    try:
        yield settings, session_factory(engine), Console(stderr=True)
    finally:
        engine.dispose()


def leave(done: "ImportReport") -> None:
    """Exit with the code that says what became of it."""
    if done.problem:
        raise typer.Exit(STOPPED)
    if done.counts["rejected"]:
        raise typer.Exit(SOME_REJECTED)


def knows_only_drawings(settings: "Settings", sessions: "sessionmaker[Session]") -> bool:
    """Whether the live encoder, or the one that the first start will take, knows only drawings."""
    from backend.db import session_scope
    from backend.generations.repository import live_encoder

    with session_scope(sessions) as session:
        live = live_encoder(session)
    return settings.encoder == "demo" if live is None else live.drawings_only


def _opened(
    settings: "Settings",
    sessions: "sessionmaker[Session]",
    source: str,
    wanted: str | None,
    currency: str | None,
    *,
    again: bool,
    console: "Console",
) -> "tuple[Feed, str | None]":
    """The feed at ``source``, a file or a shop, and the currency of its prices."""
    from dataclasses import replace

    from backend.catalog.feeds.detect import open_feed
    from backend.catalog.shops.opening import Access, open_shop
    from backend.catalog.shops.pull import Pull
    from backend.errors import BadRequest

    if "://" not in source:
        return open_feed(Path(source), wanted), currency
    if wanted is not None:
        raise BadRequest("A shop is read as it is.", found=f"--format {wanted}", expected="no format, or a file")
    access = Access.of(settings, source, patiently(console))
    shop = open_shop(replace(access, currency=currency or access.currency))
    opened, told = Pull(sessions, shop, again=again).feed(), shop.currency()
    if told and settings.shop_currency is None:
        opened.notes.append(f"Webhooks name no currency: set MORELIKE_SHOP_CURRENCY={told} before you take them.")
    return opened, told


def patiently(console: "Console") -> "Pause":
    """Waits as a shop asks, and says so where it takes long enough to wonder."""

    def pause(seconds: float) -> None:
        if seconds >= LONG_PAUSE_S:
            console.print(f"[yellow]The shop is busy or away: asking again in {seconds:.0f} s.[/yellow]")
        time.sleep(seconds)

    return pause


def shown(
    settings: "Settings",
    sessions: "sessionmaker[Session]",
    feed: "Feed",
    options: "ImportOptions",
    report: Path | None,
    console: "Console",
    *,
    wait: bool,
) -> "ImportReport":
    """Import ``feed`` with a progress bar, say what came of it, and wait until it can be searched."""
    from dataclasses import replace

    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from backend.blobs import BlobStore
    from backend.catalog.importer import Importer
    from backend.commands.waiting import wait_until_indexed
    from backend.queue import INGEST_DUE, Queue

    queue = Queue(settings.redis_url or "")
    columns = (TextColumn("{task.description:<24}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, _reported(report) as note:
        bar = progress.add_task(f"Importing {feed.format}", total=feed.size)
        first: list[dict[str, Any]] = []

        def keep(line: dict[str, Any]) -> None:
            first.extend([line] if len(first) < SHOWN else [])
            note(line)

        def counted(drafts: "Iterator[Item]") -> "Iterator[Item]":
            for draft in drafts:
                yield draft
                progress.update(bar, completed=feed.position())

        importer = Importer(
            sessions,
            BlobStore(settings.blob_dir),
            options,
            on_batch=lambda _report: queue.nudge(INGEST_DUE),
            note=keep,
        )
        done = importer.run(replace(feed, drafts=counted(feed.drafts)))
        progress.update(bar, total=feed.position(), completed=feed.position())
        _say(console, done, first, report)
        _warn_of_lite(settings, sessions, console)
        queue.nudge(INGEST_DUE)
        if wait:
            wait_until_indexed(sessions, progress)
            _say_parked(sessions, console)
    return done


@contextmanager
def _reported(path: Path | None) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Writes lines of the report, as CSV or JSON Lines by the name of the file."""
    if path is None:
        yield lambda _line: None
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".csv":
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            yield table.writerow
        else:
            yield lambda line: file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _say(console: "Console", done: "ImportReport", first: list[dict[str, Any]], report: Path | None) -> None:
    from rich.markup import escape

    names = ("created", "updated", "unchanged", "stale", "deleted", "skipped", "rejected", "images_missing")
    counts = ", ".join(f"{done.counts[name]:,} {name.replace('_', ' ')}" for name in names if done.counts[name])
    console.print(f"{counts or 'No products'}.", highlight=False)
    for note in done.notes:
        console.print(f"[yellow]{escape(note)}[/yellow]")
    for line in first:
        where = f"line {line['line']}" + (f", product {line['id']}" if line["id"] else "")
        said = f"{where}: {line['field'] or line['kind']}: found {line['found']!r}, expected {line['expected']}"
        console.print(f"  {escape(said)}", highlight=False, soft_wrap=True)
    more = done.counts["rejected"] + done.counts["images_missing"]
    if more > len(first):
        where = f"all are in {report}" if report else "name a file with --report to see all"
        console.print(f"  … and more: {escape(where)}.", highlight=False)
    if done.problem:
        console.print(f"[red]{escape(done.problem)}[/red]", highlight=False, soft_wrap=True)


def _warn_of_lite(settings: "Settings", sessions: "sessionmaker[Session]", console: "Console") -> None:
    """Milvus Lite walks all rows: say so before searches become slow."""
    from backend.catalog.image_rows import count_vectors
    from backend.db import session_scope
    from backend.vector_index import LITE_VECTORS, VectorIndex

    with session_scope(sessions) as session:
        vectors = count_vectors(session)
    if vectors > LITE_VECTORS and VectorIndex(settings.milvus_uri or "").is_lite():
        console.print(
            f"[yellow]The catalogue needs {vectors:,} vectors; Milvus Lite serves some {LITE_VECTORS:,} well. "
            "Start a Milvus server, name it in MILVUS_URI (http://host:19530) and start again: the index is filled "
            "from PostgreSQL.[/yellow]",
            highlight=False,
        )


def _say_parked(sessions: "sessionmaker[Session]", console: "Console") -> None:
    from backend.catalog.image_rows import list_images
    from backend.db import session_scope

    with session_scope(sessions) as session:
        parked = list_images(session, "parked", limit=1).total
        later = list_images(session, "pending", limit=1).total
    if parked:
        console.print(f"{parked:,} images could not be had: `morelike images parked` says why.", highlight=False)
    if later:
        console.print(f"{later:,} images will be tried again.", highlight=False)
