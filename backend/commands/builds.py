"""``morelike build`` and ``morelike generation``: what was made, what serves, and the way back."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.stores import Stores, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from backend.generations.schemas import BuildRead

ACTOR = "command line"
SHOWN = 50

builds = typer.Typer(help="Index builds: an encoder and the collections filled with it.", no_args_is_help=True)
generations = typer.Typer(help="Generations: what searches, what did, and what may.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``build`` and ``generation`` to ``app``."""
    app.add_typer(builds, name="build")
    app.add_typer(generations, name="generation")


@builds.command("list")
def list_builds() -> None:
    """List index builds, how far they are, and what keeps them."""
    from rich.console import Console
    from rich.table import Table

    from backend.db import session_scope

    table = Table("id", "state", "encoder", "products", "used by", "made", "note")
    with opened() as stores, session_scope(stores.sessions) as session:
        for build in read_builds(stores, session):
            state = "live" if build.live else build.step if build.state == "building" else build.state
            products = f"{build.progress.products:,} of {build.progress.total:,}" if build.progress else ""
            used = "\n".join(
                f"{use.generation} {use.state}{f' until {use.until:%Y-%m-%d %H:%M}' if use.until else ''}"
                for use in build.used_by
            )
            made = f"{build.created_at:%Y-%m-%d %H:%M}"
            table.add_row(str(build.id), state, build.encoder or build.source, products, used, made, build.error or "")
    Console().print(table)


@builds.command("drop")
def drop(
    number: Annotated[int, typer.Argument(help="Number of the build, as `morelike build list` shows it.")],
    forget: Annotated[
        bool, typer.Option("--forget", help="Although retired or waiting generations use it: they are given up.")
    ] = False,
) -> None:
    """Drop an index build that nothing needs; its vectors are removed, the features stay."""
    from backend.db import session_scope
    from backend.generations.builds import drop_build
    from backend.queue import ADVANCE_BUILDS

    with opened() as stores, session_scope(stores.sessions) as session:
        window = timedelta(hours=stores.settings.rollback_window_h)
        state = drop_build(session, number, window=window, actor=ACTOR, forget=forget).state
        stores.queue.nudge_after_commit(session, ADVANCE_BUILDS)
    typer.echo(f"Index build {number} is {state}.")


@generations.command("list")
def list_generations() -> None:
    """List generations, the newest first."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from backend.db import session_scope
    from backend.generations.listing import list_generations as read
    from backend.generations.schemas import GenerationRead

    heads = ("id", "state", "build", "encoder", "heads", "gate", "live from, to")
    table = Table(*heads, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)  # 80 columns
    with opened() as stores, session_scope(stores.sessions) as session:
        for listed in read(session, SHOWN):
            generation = GenerationRead.of(listed)
            table.add_row(
                generation.id,
                generation.state,
                str(generation.build),
                generation.encoder,
                "\n".join(generation.heads),
                "" if generation.gate_passed is None else "passed" if generation.gate_passed else "refused",
                "\n".join(f"{at:%y-%m-%d %H:%M}" for at in (generation.live_at, generation.retired_at) if at),
            )
    Console().print(table)


@generations.command("show")
def show(
    name: Annotated[str, typer.Argument(help="The generation, as `morelike generation list` shows it: g7.")],
) -> None:
    """Show one generation: its heads, what its gate measured, and what keeps it from going live."""
    from rich.console import Console
    from rich.table import Table

    from backend.db import session_scope
    from backend.generations.listing import one_generation
    from backend.generations.schemas import GenerationRead

    table = Table(show_header=False)
    with opened() as stores, session_scope(stores.sessions) as session:
        shown = GenerationRead.of(one_generation(session, number_of(name)))
    for field, value in _flat(shown.model_dump(mode="json")):
        table.add_row(field, value)
    Console().print(table)


@generations.command("promote")
def promote(
    name: Annotated[str, typer.Argument(help="The generation, as `morelike generation list` shows it: g7.")],
    guard: Annotated[
        bool, typer.Option("--guard", help="A few shoppers keep what is replaced, so that harm is seen and undone.")
    ] = False,
) -> None:
    """Go live with a generation that is ready, or that was live before."""
    from backend.db import session_scope
    from backend.learning.promoting import promote as go_live
    from backend.queue import ADVANCE_BUILDS

    number = number_of(name)
    with opened() as stores, session_scope(stores.sessions) as session:
        settings = stores.settings
        guarding = go_live(session, number, actor=ACTOR, guard_share=settings.guard_share if guard else None)
        stores.queue.nudge_after_commit(session, ADVANCE_BUILDS)
    typer.echo(f"g{number} is live; every API process follows within half a second.")
    if guarding is not None:
        typer.echo(f"e{guarding.id} guards it for {settings.guard_hours:g} hours: harm brings back what it replaced.")


@generations.command("rollback")
def rollback() -> None:
    """Go back to the generation that the live one replaced."""
    from backend.db import session_scope
    from backend.generations.promote import roll_back
    from backend.queue import ADVANCE_BUILDS

    with opened() as stores, session_scope(stores.sessions) as session:
        number = roll_back(session, actor=ACTOR)
        stores.queue.nudge_after_commit(session, ADVANCE_BUILDS)
    typer.echo(f"g{number} is live again; every API process follows within half a second.")


def read_builds(stores: Stores, session: "Session") -> "list[BuildRead]":
    """Index builds as the API shows them, the newest first."""
    from backend.generations.builds import list_builds as read
    from backend.generations.builds import uses
    from backend.generations.routes import read_build

    used = uses(session, timedelta(hours=stores.settings.rollback_window_h))
    return [read_build(session, build, used.get(build.id, [])) for build in read(session, SHOWN)]


def number_of(name: str) -> int:
    """``g7`` -> 7.

    Raises:
        NotFound: it is no generation's name.
    """
    from backend.errors import NotFound

    if re.fullmatch("g?[0-9]{1,18}", name) is None:
        raise NotFound("this is no generation", found=name, expected="g7")
    return int(name.removeprefix("g"))


def _flat(value: Any, name: str = "") -> "Iterator[tuple[str, str]]":
    """Everything in ``value``, a line each: ``gate_report.adapter.passed``, ``True``."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and isinstance(value[0], str):
        yield name, "\n".join(value)
    elif value not in (None, [], {}):
        yield name, f"{value:.4g}" if isinstance(value, float) else str(value)
