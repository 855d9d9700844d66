"""``morelike key``: makes, lists and revokes API keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from backend.access.models import ApiKey

ACTOR = "command line"

keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``key`` to ``app``."""
    app.add_typer(keys, name="key")


@keys.command("create")
def create(
    scope: Annotated[str, typer.Option(help="What it may do: storefront, server or admin.")] = "storefront",
    name: Annotated[str, typer.Option(help="What people call it.")] = "unnamed",
    origin: Annotated[
        list[str] | None, typer.Option(help="Web origin it may be used from (storefront keys); may be repeated.")
    ] = None,
    rate: Annotated[int | None, typer.Option(min=0, help="Requests a minute for each address; 0 is no limit.")] = None,
) -> None:
    """Make a key and print it. It is shown this once."""
    from backend.access.audit import record
    from backend.access.keys import create_key, named_scope

    with _session() as session:
        made = create_key(
            session, name=name, scope=named_scope(scope), origins=origin or (), rate_limit_per_minute=rate
        )
        record(
            session,
            actor=ACTOR,
            action="key_created",
            subject=f"key {made.row.id}",
            details={"name": name, "scope": scope, "origins": made.row.origins, "rate_limit_per_minute": rate},
        )
    typer.echo(made.secret)


@keys.command("list")
def show() -> None:
    """List the keys, without their secrets."""
    from rich.console import Console
    from rich.table import Table

    from backend.access.keys import list_keys

    table = Table("id", "name", "scope", "begins with", "origins", "requests/min", "created", "state")
    with _session() as session:
        for row in list_keys(session):
            table.add_row(*_columns(row))
    Console().print(table)


@keys.command("revoke")
def revoke(key_id: Annotated[int, typer.Argument(help="Id of the key, as `morelike key list` shows it.")]) -> None:
    """Refuse a key from now on."""
    from backend.access.audit import record
    from backend.access.keys import revoke_key

    with _session() as session:
        row = revoke_key(session, key_id)
        record(session, actor=ACTOR, action="key_revoked", subject=f"key {row.id}", details={"name": row.name})
    typer.echo(f"key {row.id} ({row.name}) is revoked; every API process refuses it within a few seconds")


def _columns(row: "ApiKey") -> list[str]:
    rate = "default" if row.rate_limit_per_minute is None else str(row.rate_limit_per_minute or "no limit")
    state = "live" if row.revoked_at is None else f"revoked {row.revoked_at:%Y-%m-%d}"
    return [
        str(row.id),
        row.name,
        row.scope,
        f"{row.prefix}…",
        "\n".join(row.origins),
        rate,
        f"{row.created_at:%Y-%m-%d}",
        state,
    ]


@contextmanager
def _session() -> "Iterator[Session]":
    from backend.db import connect, session_factory, session_scope
    from backend.embedded import settings_of_running
    from backend.settings import Settings

    settings = settings_of_running(Settings())
    engine = connect(settings.database_url or "")
    try:
        with session_scope(session_factory(engine)) as session:
            yield session
    finally:
        engine.dispose()
