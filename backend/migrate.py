"""Bringing a database to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Engine

MIGRATION_LOCK = 0x6D6F7265
"""Advisory lock under which one process migrates while others wait."""


def alembic_config() -> Config:
    """Alembic's configuration, pointing at the migrations beside this package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).resolve().parent.parent / "migrations"))
    config.set_main_option("file_template", "%%(year)d%%(month).2d%%(day).2d_%%(slug)s")
    return config


def migrate(engine: Engine) -> None:
    """Upgrade ``engine``'s database to head, in one transaction."""
    config = alembic_config()
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def missing_migrations(engine: Engine) -> list[str]:
    """Migrations that ``engine``'s database has not had yet, oldest first."""
    scripts = ScriptDirectory.from_config(alembic_config())
    with engine.connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    return [script.revision for script in reversed(list(scripts.iterate_revisions("heads", heads or "base")))]
