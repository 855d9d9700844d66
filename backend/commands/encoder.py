"""``morelike encoder``: fetches encoders, and changes the one that the catalogue is searched with."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.stores import Stores, opened

if TYPE_CHECKING:
    from backend.generations.schemas import BuildRead

ACTOR = "command line"
STEPS = {
    "open": "Opening the encoder",
    "create": "Making collections",
    "backfill": "Embedding and indexing",
    "verify": "Verifying",
    "calibrate": "Calibrating",
    "promote": "Going live",
    "done": "Done",
}
"""What each step of a build is called on the terminal."""

encoders = typer.Typer(help="Fetch encoders, and change the one in use.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``encoder`` to ``app``."""
    app.add_typer(encoders, name="encoder")


@encoders.callback()
def encoder() -> None:
    """Fetch encoders, and change the one in use."""


@encoders.command("fetch")
def fetch(
    source: Annotated[str, typer.Argument(help="NAME:PRETRAINED of open_clip, or hf-hub:ID.")],
    to: Annotated[
        Path | None, typer.Option(help="Directory to write; by default one of MORELIKE_HOME's folder `encoders`.")
    ] = None,
) -> None:
    """Download an encoder and say how to use it."""
    from backend.ml.encoder import fetch_encoder
    from backend.settings import Settings

    directory = to or Settings().home / "encoders" / source.removeprefix("hf-hub:").replace("/", "-").replace(":", "-")
    typer.echo(f"Fetching {source} ...")
    written = fetch_encoder(source, directory).resolve()
    typer.echo(f"It is in {written}. To change to it:\n\n    morelike encoder switch 'local-dir:{written}'\n")
    typer.echo(f"To begin a new catalogue with it:\n\n    MORELIKE_ENCODER='local-dir:{written}'")


@encoders.command("switch")
def switch(
    source: Annotated[str, typer.Argument(help="demo, NAME:PRETRAINED of open_clip, hf-hub:ID or local-dir:PATH.")],
    wait: Annotated[bool, typer.Option(help="Wait until it is live.")] = True,
    promote: Annotated[bool, typer.Option(help="Go live as soon as it is ready.")] = True,
) -> None:
    """Embed the catalogue with another encoder beside the one in use, then go live with it; searches go on."""
    from backend.db import session_scope
    from backend.generations.builds import start_build, usable_source
    from backend.ml.encoder import EncoderSpec
    from backend.queue import ADVANCE_BUILDS

    with opened() as stores:
        with session_scope(stores.sessions) as session:
            usable = usable_source(EncoderSpec(source).absolute)
            number = start_build(session, usable, promote=promote, actor=ACTOR).id
            stores.queue.nudge_after_commit(session, ADVANCE_BUILDS)
        if wait:
            _watch(stores, number)
        else:
            typer.echo(f"Index build {number} is being made. `morelike encoder status` shows how far it is.")


@encoders.command("status")
def status() -> None:
    """Show the encoder in use, and how far a switch is."""
    from backend.commands.builds import read_builds
    from backend.db import session_scope
    from backend.generations.repository import live_encoder

    with opened() as stores, session_scope(stores.sessions) as session:
        live = live_encoder(session)
        if live is None:
            typer.echo("No generation is live yet: the worker has not made the first one.")
            return
        known = f"{live.dim} numbers a vector{', knows only drawings' if live.drawings_only else ''}"
        typer.echo(f"{live.id} is in use: {known}; opened by {live.source or stores.settings.encoder}.")
        running = [build for build in read_builds(stores, session) if build.state == "building" or build.promote]
    if not running:
        typer.echo("No switch is under way.")
    for build in running:
        done = f", {build.progress.products:,} of {build.progress.total:,} products" if build.progress else ""
        what = "Adapting" if build.adapted else "Switching to"
        typer.echo(f"{what} {build.encoder or build.source} (build {build.id}): {STEPS[build.step].lower()}{done}.")
        if build.error:
            typer.echo(f"  {build.error}")


@encoders.command("cancel")
def cancel() -> None:
    """Give up the switch that is under way; nothing of it is left."""
    from datetime import timedelta

    from backend.db import session_scope
    from backend.errors import Conflict
    from backend.generations.builds import drop_build, running_build
    from backend.queue import ADVANCE_BUILDS

    with opened() as stores, session_scope(stores.sessions) as session:
        running = running_build(session)
        if running is None:
            raise Conflict("No switch is under way.")
        window = timedelta(hours=stores.settings.rollback_window_h)
        drop_build(session, running.id, window=window, actor=ACTOR, forget=True)
        stores.queue.nudge_after_commit(session, ADVANCE_BUILDS)
    typer.echo(f"Index build {running.id} is given up; the encoder in use stays.")


def _watch(stores: Stores, number: int) -> None:
    """Show a build until it is live, ready or given up; an interrupt ends the showing only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            shown, said = progress.add_task(STEPS["open"], total=None), None
            while (build := _read(stores, number)).state == "building" or build.promote:
                if build.progress is not None:
                    progress.update(shown, completed=build.progress.products, total=build.progress.total)
                progress.update(shown, description=STEPS[build.step])
                if build.error and build.error != said:
                    said = build.error
                    console.print(said, highlight=False)
                time.sleep(0.5)
            progress.update(shown, description=STEPS[build.step])
    except KeyboardInterrupt:
        typer.echo("It goes on without this window: `morelike encoder status`, `morelike encoder cancel`.")
        return
    if build.state != "ready":
        from backend.errors import Conflict

        raise Conflict(build.error or f"index build {number} was dropped")
    ready = ", ".join(use.generation for use in build.used_by)
    if build.live:
        typer.echo(f"{build.encoder} is live as {ready}. `morelike generation rollback` goes back.")
    else:
        typer.echo(f"{build.encoder} is ready as {ready}. `morelike generation promote {ready}` goes live with it.")


def _read(stores: Stores, number: int) -> "BuildRead":
    from backend.commands.builds import read_builds
    from backend.db import session_scope

    with session_scope(stores.sessions) as session:
        return next(build for build in read_builds(stores, session) if build.id == number)
