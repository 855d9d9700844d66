"""The composition root of the API: makes every component once and hands it to the rooms' routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from backend.access.provided import provide
from backend.blobs import BlobStore
from backend.db import connect, session_factory
from backend.logs import configure_logs
from backend.queue import Queue
from backend.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API as an ASGI application; settings come from the environment where none are given."""
    settings = settings or Settings()
    configure_logs(settings.log_level, as_json=settings.log_json)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = connect(_set(settings.database_url, "DATABASE_URL"), pool_size=settings.database_pool)
        queue = Queue(_set(settings.redis_url, "REDIS_URL"))
        provide(app, settings, session_factory(engine), queue, BlobStore(settings.blob_dir))
        yield
        engine.dispose()

    return FastAPI(title="Morelike", version=version("morelike"), lifespan=lifespan)


def _set(url: str | None, variable: str) -> str:
    if url is None:
        raise ValueError(f"{variable} is not set: the API alone needs it; `morelike run` starts an embedded one")
    return url
