"""``morelike webhook``: deliveries of webhooks, what became of them, and applying them again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, get_args

import typer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from backend.catalog.webhooks.schemas import DeliveryRow, DeliveryVerdict
    from backend.settings import Settings

webhooks = typer.Typer(
    help="Deliveries of webhooks: see what became of them, and apply them again.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add ``webhook`` to ``app``."""
    app.add_typer(webhooks, name="webhook")


@webhooks.command("list")
def show_list(
    source: Annotated[str | None, typer.Option(help="Only those of this platform.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Only those with this verdict, as parked.")] = None,
    product: Annotated[str | None, typer.Option(help="Only those that name this product.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most deliveries listed.")] = 50,
    before: Annotated[int | None, typer.Option(min=1, help="List deliveries older than the one with this id.")] = None,
) -> None:
    """List deliveries, the newest first."""
    from rich.console import Console
    from rich.table import Table

    from backend.catalog.webhooks.reads import list_deliveries

    known = _known(verdict)
    with _session() as (_, session):
        page = list_deliveries(session, source=source, verdict=known, product=product, before=before, limit=limit)
    table = Table("id", "received", "source", "topic", "products", "verdict", "repeats", "why")
    for one in page.deliveries:
        table.add_row(*_columns(one))
    console = Console()
    console.print(table)
    console.print(", ".join(f"{count:,} {word}" for word, count in page.counts.items()) or "None.", highlight=False)


@webhooks.command("show")
def show_one(delivery: Annotated[int, typer.Argument(help="Id of the delivery.")]) -> None:
    """Show one delivery with its headers and body, as JSON."""
    from backend.catalog.webhooks.reads import find_delivery

    with _session() as (_, session):
        found = find_delivery(session, delivery)
    typer.echo(json.dumps(found.model_dump(mode="json"), indent=2, ensure_ascii=False))


@webhooks.command("replay")
def replay(
    ids: Annotated[list[int] | None, typer.Argument(help="Deliveries by id.")] = None,
    verdict: Annotated[str | None, typer.Option(help="All with this verdict instead, as parked.")] = None,
) -> None:
    """Apply deliveries again. The newest updated_at wins as ever."""
    from backend.catalog.webhooks.repository import replay_rows
    from backend.errors import Unprocessable
    from backend.queue import PROCESS_DELIVERIES, Queue

    if bool(ids) == (verdict is not None):
        raise Unprocessable("Say which deliveries.", expected="ids, or --verdict")
    known = _known(verdict)
    with _session() as (settings, session):
        Queue(settings.redis_url or "").nudge_after_commit(session, PROCESS_DELIVERIES)
        again = replay_rows(session, ids or None, known)
    typer.echo(f"{len(again)} deliveries will be applied again.")


def _known(verdict: str | None) -> "DeliveryVerdict | None":
    from pydantic import TypeAdapter, ValidationError

    from backend.catalog.webhooks.schemas import DeliveryVerdict
    from backend.errors import Unprocessable

    try:
        return TypeAdapter(DeliveryVerdict | None).validate_python(verdict)
    except ValidationError as error:
        raise Unprocessable(
            "There is no such verdict.", found=verdict, expected=", ".join(get_args(DeliveryVerdict))
        ) from error


def _columns(one: "DeliveryRow") -> list[str]:
    products = ", ".join(one.products[:3]) + (", …" if len(one.products) > 3 else "")
    received = f"{one.received_at.astimezone():%Y-%m-%d %H:%M:%S}"
    return [str(one.id), received, one.source, one.topic, products, one.verdict, str(one.repeats), one.detail or ""]


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
