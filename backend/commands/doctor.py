"""``morelike doctor``: checks each component and says what to do."""

import typer


def register(app: typer.Typer) -> None:
    """Add ``doctor`` to ``app``."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Check each component of the stack; exit code 1 when one needs attention."""
    from backend.embedded import settings_of_running
    from backend.settings import Settings

    settings_of_running(Settings())
