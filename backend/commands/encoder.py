"""``morelike encoder``: fetches encoders into directories that open without a network."""

from pathlib import Path
from typing import Annotated

import typer

encoders = typer.Typer(help="Fetch encoders.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``encoder`` to ``app``."""
    app.add_typer(encoders, name="encoder")


@encoders.callback()
def encoder() -> None:
    """Fetch encoders."""


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
    typer.echo(f"It is in {written}. To use it:\n\n    MORELIKE_ENCODER='local-dir:{written}'")
