"""Alembic environment: the database comes from the caller's connection or from DATABASE_URL."""

import os

from alembic import context

import backend.access.models
import backend.catalog.captioning.models
import backend.catalog.models
import backend.catalog.webhooks.models
import backend.events.models
import backend.experiments.models
import backend.generations.models
import backend.learning.models
import backend.search.refinement.models  # noqa: F401  every room's tables are registered on Base
from backend.db import Base, connect


def run() -> None:
    """Migrate over the connection handed in, or over one of our own."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        context.configure(connection=connection, target_metadata=Base.metadata)
        with context.begin_transaction():
            context.run_migrations()
        return
    with connect(os.environ["DATABASE_URL"]).begin() as own:
        context.configure(connection=own, target_metadata=Base.metadata)
        context.run_migrations()


run()
