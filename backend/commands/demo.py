"""``morelike demo``: draws the demo shop and moves it in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress
    from sqlalchemy.orm import Session, sessionmaker

    from backend.queue import Queue
    from backend.settings import Settings


def register(app: typer.Typer) -> None:
    """Add ``demo`` to ``app``."""
    app.command("demo")(demo)


def demo(
    if_empty: Annotated[
        bool, typer.Option("--if-empty", help="Only into an empty catalogue, or to end an import that was stopped.")
    ] = False,
) -> None:
    """Draw the demo shop and import it, then wait until it can be searched."""
    from backend.db import connect, session_factory
    from backend.embedded import settings_of_running
    from backend.settings import Settings

    settings = settings_of_running(Settings())
    engine = connect(settings.database_url or "")
    try:
        sessions = session_factory(engine)
        if not if_empty or is_due(settings, sessions):
            move_in(settings, sessions)
    finally:
        engine.dispose()


def folder_of(settings: "Settings") -> Path:
    """Where the drawings are kept."""
    return settings.home.resolve() / "demo"


def is_due(settings: "Settings", sessions: "sessionmaker[Session]") -> bool:
    """Whether the catalogue is empty, or an import of the demo was stopped before its end."""
    from sqlalchemy import select

    from backend.catalog.models import Product
    from backend.db import session_scope

    folder = folder_of(settings)
    if folder.exists() and not (folder / "moved-in").exists():
        return True
    with session_scope(sessions) as session:
        return session.scalar(select(Product.number).limit(1)) is None


def move_in(settings: "Settings", sessions: "sessionmaker[Session]") -> None:
    """Draw, import, and wait for the worker; what was done before is not done again."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from backend.commands.waiting import wait_until_indexed
    from backend.queue import INGEST_DUE, Queue

    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    queue = Queue(settings.redis_url or "")
    with Progress(*columns, console=Console(stderr=True)) as progress:
        _draw(settings, progress)
        _import(settings, sessions, queue, progress)
        queue.nudge(INGEST_DUE)
        wait_until_indexed(sessions, progress)
    (folder_of(settings) / "moved-in").touch()


def _draw(settings: "Settings", progress: "Progress") -> None:
    from backend.demo import catalogue

    shown = progress.add_task("Drawing pictures", total=None)
    folder = folder_of(settings)
    catalogue.write(folder, progress=lambda done, total: progress.update(shown, completed=done, total=total))
    if progress.tasks[shown].total is None:  # all were there already
        progress.remove_task(shown)


def _import(settings: "Settings", sessions: "sessionmaker[Session]", queue: "Queue", progress: "Progress") -> None:
    from backend.blobs import BlobStore
    from backend.catalog.feeds.detect import open_feed
    from backend.catalog.feeds.pictures import open_pictures
    from backend.catalog.importer import Importer, ImportOptions, ImportReport
    from backend.errors import Unprocessable
    from backend.queue import INGEST_DUE

    folder = folder_of(settings)
    feed = open_feed(folder / "products.jsonl")
    total = sum(1 for _ in (folder / "products.jsonl").open("rb"))
    shown = progress.add_task("Importing products", total=total)

    def on_batch(report: ImportReport) -> None:
        progress.update(shown, completed=sum(n for what, n in report.counts.items() if what != "images_missing"))
        queue.nudge(INGEST_DUE)

    options = ImportOptions(pictures=open_pictures(folder / "images", settings.image_max_bytes), source_is_demo=True)
    report = Importer(sessions, BlobStore(settings.blob_dir), options, on_batch=on_batch).run(feed)
    if report.problem or report.counts["rejected"] or report.counts["images_missing"]:
        raise Unprocessable("The demo shop was not imported whole.", found=report.problem or dict(report.counts))
