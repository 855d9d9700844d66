"""``morelike shop``: the shop whose catalogue this is."""

from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.imports import knows_only_drawings, leave, patiently, running, shown

if TYPE_CHECKING:
    from backend.catalog.models import ImportRun
    from backend.catalog.shops.opening import Access
    from backend.settings import Settings

shop = typer.Typer(help="The shop that this is the catalogue of: compare, look back, subscribe.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``shop`` to ``app``."""
    app.add_typer(shop, name="shop")


@shop.command("reconcile")
def reconcile(
    wait: Annotated[bool, typer.Option(help="Wait until everything can be searched.")] = True,
    delete_many: Annotated[bool, typer.Option(help="Let it delete more than half of the catalogue.")] = False,
    allow_demo_encoder: Annotated[
        bool, typer.Option(help="Take pictures although the encoder in use knows only drawings.")
    ] = False,
) -> None:
    """Compare the shop's list with the catalogue now, and repair what webhooks missed."""
    from backend.catalog.importer import ImportOptions
    from backend.catalog.shops.opening import Access
    from backend.catalog.shops.reconcile import comparison

    with running() as (settings, sessions, console):
        access = Access.of(settings, _url(settings), patiently(console))
        options = ImportOptions(
            encoder_drawings_only=knows_only_drawings(settings, sessions) and not allow_demo_encoder,
            delete_many=delete_many,
        )
        with comparison(sessions, access, options) as (feed, repairing):
            done = shown(settings, sessions, feed, repairing, None, console, wait=wait)
    leave(done)


@shop.command("status")
def status(limit: Annotated[int, typer.Option(min=1, max=1000, help="Most readings listed.")] = 10) -> None:
    """List the last readings of the shop, and what came of them."""
    from rich.console import Console
    from rich.table import Table

    from backend.catalog.shops.reconcile import runs_of_shops
    from backend.db import session_scope

    with running() as (settings, sessions, _), session_scope(sessions) as session:
        runs = runs_of_shops(session, limit)
        console = Console()
        told = (
            f"compared with the catalogue at {settings.reconcile_at} UTC" if settings.reconcile_at != "off" else "not"
        )
        console.print(f"{settings.shop_url or 'MORELIKE_SHOP_URL is not set'}: {told}.", highlight=False)
        table = Table("began (UTC)", "how", "what", "s", "outcome")
        for run in runs:
            table.add_row(*_row(run))
        console.print(table)


@shop.command("connect")
def connect_shop(
    to: Annotated[
        str | None, typer.Option(help="Address under which the shop reaches this API; MORELIKE_PUBLIC_URL if none.")
    ] = None,
) -> None:
    """Subscribe to the webhooks of the shop's products."""
    from backend.catalog.shops.opening import Access
    from backend.catalog.shops.subscribe import subscribe
    from backend.settings import Settings

    settings = Settings()
    made = subscribe(_with_credentials(Access.of(settings, _url(settings))), settings, to or settings.public_url or "")
    for topic, is_new in made:
        typer.echo(f"{topic}: {'subscribed' if is_new else 'was subscribed before'}")


def _url(settings: "Settings") -> str:
    from backend.errors import BadRequest

    if not settings.shop_url:
        raise BadRequest("No shop is named.", found="MORELIKE_SHOP_URL is not set", expected="https://shop.example")
    return settings.shop_url


def _with_credentials(access: "Access") -> "Access":
    from backend.errors import BadRequest

    if not access.secret:
        raise BadRequest(
            "Subscribing needs the shop's credentials.",
            found="MORELIKE_SHOP_CLIENT_SECRET is not set",
            expected="MORELIKE_SHOP_CLIENT_ID and MORELIKE_SHOP_CLIENT_SECRET",
        )
    return access


def _row(run: "ImportRun") -> tuple[str, ...]:
    from backend.catalog.shops.reconcile import stopped_by

    problem = stopped_by(run)
    took = f"{(run.finished_at - run.started_at).total_seconds():,.0f}" if run.finished_at else ""
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(run.counts.items())) or "nothing"
    outcome = problem or (counts if run.finished_at else "runs, or was killed")
    return (f"{run.started_at:%Y-%m-%d %H:%M}", run.format, run.mode, took, outcome)
