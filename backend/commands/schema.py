"""``morelike migrate``: brings a database to the newest schema."""

import typer


def register(app: typer.Typer) -> None:
    """Add ``migrate`` to ``app``."""
    app.command("migrate")(migrate)


def migrate() -> None:
    """Bring the database to the newest schema; `morelike run` does it at every start."""
    from backend.db import connect
    from backend.embedded import settings_of_running
    from backend.migrate import migrate as upgrade
    from backend.migrate import missing_migrations
    from backend.settings import Settings

    settings = settings_of_running(Settings())
    engine = connect(settings.database_url or "")
    try:
        missing = missing_migrations(engine)
        upgrade(engine)
    finally:
        engine.dispose()
    typer.echo(f"applied {', '.join(missing)}" if missing else "the schema is up to date")
