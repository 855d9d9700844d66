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


def test_lists_and_events_of_earlier_versions_are_kept_there_and_back(empty: Engine) -> None:
    config = alembic_config()
    lists = """
        INSERT INTO served_lists (query_id, generation_id, request, total, total_is) VALUES ('q_1', 1, '{}', 2, 'exact')
    """
    pages = """
        INSERT INTO served_pages (query_id, first_position, product_ids, scores) VALUES ('q_1', 1, '{p1,p2}', '{1,.5}')
    """
    events = """
        INSERT INTO events (message_id, type, query_id, source, occurred_at, received_at)
        VALUES ('m1', 'click', 'q_1', 'client', now(), now()),
               ('m2', 'click', 'q_1', 'client', now(), '2026-01-05T23:30Z'),
               ('m3', 'purchase', NULL, 'client', now(), now())
        RETURNING id
    """
    kept = """
        SELECT * FROM served_lists JOIN served_pages USING (query_id) JOIN events USING (query_id) ORDER BY message_id
    """
    with empty.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.execute(text(lists))
        connection.execute(text(pages))
        ids = connection.scalars(text(events)).all()
        before = connection.execute(text(kept)).mappings().all()
        command.upgrade(config, "0006")
        days = connection.execute(
            text("SELECT received_on::text, tableoid::regclass::text FROM events ORDER BY id")
        ).all()
        assert tuple(days[1]) == ("2026-01-05", "events_y20260105")
        assert connection.scalars(text("SELECT id FROM events ORDER BY message_id")).all() == ids
        joined = connection.scalars(text("SELECT attribution FROM events ORDER BY message_id")).all()
        assert joined == ["given", "given", "none"]
        found = connection.execute(text('SELECT "position", product_id, served_on::text FROM shown ORDER BY 1')).all()
        assert [tuple(row) for row in found] == [(1, "p1", "2000-01-01"), (2, "p2", "2000-01-01")]
        command.downgrade(config, "0005")
        assert connection.execute(text(kept)).mappings().all() == before
        assert connection.scalar(text(events)) == max(ids) + 1
