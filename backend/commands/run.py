"""``morelike run``: the one-machine stack."""

import typer


def register(app: typer.Typer) -> None:
    """Add ``run`` to ``app``."""
    app.command("run")(run)


def run() -> None:
    """Start PostgreSQL, Redis, Milvus, the worker and the API on this machine, until Ctrl-C."""
    from backend.embedded import run_stack
    from backend.settings import Settings

    run_stack(Settings())
