"""The schema of the models and the schema that the migrations make are one."""

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from backend.db import Base, connect
from backend.migrate import alembic_config, migrate
from tests.fixtures.database import fresh_database


@pytest.fixture
def empty(postgres_uri: str) -> Iterator[Engine]:
    """A database with nothing in it."""
    with fresh_database(postgres_uri, template="template1") as url:
        engine = connect(url)
        yield engine
        engine.dispose()


def partitions(connection: Connection) -> set[str]:
    """Tables that are a part of another."""
    return set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))


def test_the_migrations_make_what_the_models_say(engine: Engine) -> None:
    with engine.connect() as connection:
        parts = partitions(connection)
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "include_name": lambda name, kind, _parents: kind != "table" or name not in parts,
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_an_empty_database_is_brought_to_head_and_a_second_time_left_alone(empty: Engine) -> None:
    migrate(empty)
    with empty.connect() as connection:
        tables = set(inspect(connection).get_table_names()) - partitions(connection)
    assert tables == set(Base.metadata.tables) | {"alembic_version"}
    migrate(empty)
    with empty.connect() as connection:
        head = ScriptDirectory.from_config(alembic_config()).get_current_head()
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == head


def test_every_migration_can_be_taken_back(empty: Engine) -> None:
    migrate(empty)
    config = alembic_config()
    with empty.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(inspect(empty).get_table_names()) == {"alembic_version"}
    migrate(empty)


def test_a_migration_that_fails_leaves_nothing_behind(empty: Engine) -> None:
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE served_lists (in_the_way int)"))
    with pytest.raises(Exception, match="served_lists"):
        migrate(empty)
    assert inspect(empty).get_table_names() == ["served_lists"]
