"""``morelike images``: the images that were given up on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from backend.settings import Settings

images = typer.Typer(help="Images that were given up on: see why, and try them again.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``images`` to ``app``."""
    app.add_typer(images, name="images")


@images.command("parked")
def parked(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most images listed.")] = 50,
    after: Annotated[int, typer.Option(min=0, help="List images with ids above this one.")] = 0,
) -> None:
    """List the images that were given up on, and why."""
    from rich.console import Console
    from rich.table import Table

    from backend.catalog.image_rows import list_images

    with _session() as (_, session):
        page = list_images(session, "parked", after=after, limit=limit)
    table = Table("id", "product", "source", "attempts", "why")
    for image in page.images:
        table.add_row(str(image.id), image.product_id, image.source, str(image.attempts), image.error or "")
    console = Console()
    console.print(table)
    console.print(f"{page.total:,} in all.", highlight=False)


@images.command("retry")
def retry(
    ids: Annotated[list[int] | None, typer.Argument(help="Images by id; all that were given up on if none.")] = None,
) -> None:
    """Try images again, as if they had never been tried."""
    from backend.catalog.image_rows import retry_images
    from backend.queue import INGEST_DUE, Queue

    with _session() as (settings, session):
        Queue(settings.redis_url or "").nudge_after_commit(session, INGEST_DUE)
        again = retry_images(session, ids or None)
    typer.echo(f"{again} images will be tried again.")


@contextmanager
def _session() -> "Iterator[tuple[Settings, Session]]":
    from backend.db import connect, session_factory, session_scope
    from backend.embedded import settings_of_running
    from backend.settings import Settings

    settings = settings_of_running(Settings())
    engine = connect(settings.database_url or "")
    try:
        with session_scope(session_factory(engine)) as session:
            yield settings, session
    finally:
        engine.dispose()
