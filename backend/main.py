"""The composition root of the API: makes every component once and hands it to the rooms' routes."""

import atexit
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from importlib.metadata import version
from urllib.parse import urlsplit

import numpy as np
from anyio.to_thread import current_default_thread_limiter, run_sync
from fastapi import APIRouter, FastAPI
from sqlalchemy import Engine, text
from starlette.middleware import Middleware

from backend import health
from backend.access import routes as access
from backend.access.bodies import LimitBody
from backend.access.cors import Cors
from backend.access.identify import IdentifyCaller
from backend.access.keyring import Keyring
from backend.access.keys import normal_origin
from backend.access.limits import LimitRate, RateLimiter
from backend.access.observe import Observe
from backend.access.provided import provide
from backend.admin import routes as admin
from backend.blobs import BlobStore
from backend.catalog import routes as catalog
from backend.catalog.captioning import routes as captioning
from backend.catalog.webhooks import routes as webhooks
from backend.catalog.webhooks.inbox import Inbox, secrets_by_source
from backend.db import connect, session_factory
from backend.demo.learn import routes as learn
from backend.demo.learn.diary import Diary
from backend.demo.learn.lists import Lists
from backend.demo.learn.measuring import Measuring
from backend.demo.learn.play import Player
from backend.events import routes as events
from backend.events import tracking
from backend.events.partitions import keep_partitions
from backend.events.tally import EventTally
from backend.events.unit_keys import HasherHolder
from backend.experiments import routes as experiments
from backend.experiments.registry import Registry
from backend.failures import answer_failures
from backend.generations import routes as generations
from backend.generations.serving import ServingHolder
from backend.health import Readiness
from backend.learning import routes as learning
from backend.learning.nightly import routes as nightly
from backend.logs import configure_logs
from backend.openapi import DESCRIPTION, describe
from backend.privacy import routes as privacy
from backend.queue import PROCESS_DELIVERIES, Bell, Queue
from backend.search import routes as search
from backend.search.assembly import assembled, query_encoders
from backend.search.pipeline import Searcher
from backend.search.transcriber import Endpoint, Transcriber
from backend.settings import Settings
from backend.storefront import routes as storefront
from backend.vector_index import VectorIndex

ROUTERS: tuple[APIRouter, ...] = (
    search.router,  # routes are matched in their order: what is asked most comes first
    events.router,
    tracking.router,
    health.router,
    access.router,
    catalog.router,
    captioning.router,
    webhooks.router,
    generations.router,
    learning.router,
    experiments.router,
    nightly.router,
    storefront.router,
    learn.router,
    admin.router,
    privacy.router,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API as an ASGI application; settings come from the environment where none are given."""
    settings = settings or Settings()
    configure_logs(settings.log_level, as_json=settings.log_json)
    logging.getLogger("uvicorn.access").disabled = True  # it writes query strings; Observe writes a line of its own

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # a thread of the pool never waits for a connection: there are as many of one as of the other
        current_default_thread_limiter().total_tokens = settings.database_pool
        async with AsyncExitStack() as closing:
            await _make_components(app, settings, closing)
            _spare_collector()
            yield

    app = FastAPI(
        title="Morelike",
        version=version("morelike"),
        description=DESCRIPTION,
        lifespan=lifespan,
        middleware=_layers(settings),
        docs_url=None,  # these pages load their scripts from another company's server
        redoc_url=None,
    )
    for router in ROUTERS:
        app.include_router(router)
    answer_failures(app)
    describe(app)
    return app


@cache  # once a process: what an app leaves behind must not stay for good because another one is made
def _spare_collector() -> None:
    """Let the collector of cycles pass over what lives as long as the process: it took 5 % of a search."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # libraries that count what they leave behind at the end would complain
    gc.set_threshold(20_000, 50, 100)


def _layers(settings: Settings) -> list[Middleware]:
    """Outermost first: what each needs, the ones before it have found."""
    public = urlsplit(settings.public_url or "")
    public_origin = normal_origin(f"{public.scheme}://{public.netloc}") if settings.public_url else None
    return [
        Middleware(Observe),
        Middleware(IdentifyCaller, demo=settings.demo, is_public=settings.public_url is not None),
        Middleware(Cors, public_origin=public_origin),
        Middleware(LimitRate, default_rate=settings.rate_limit_per_minute),
        Middleware(LimitBody, max_bytes=settings.request_max_bytes),
    ]


async def _make_components(app: FastAPI, settings: Settings, closing: AsyncExitStack) -> None:
    redis_url = _named(settings.redis_url, "REDIS_URL")
    engine = connect(_named(settings.database_url, "DATABASE_URL"), pool_size=settings.database_pool)
    closing.callback(engine.dispose)
    sessions = session_factory(engine)
    await run_sync(keep_partitions, sessions)
    limiter = RateLimiter(redis_url)
    closing.push_async_callback(limiter.close)
    token = settings.milvus_token.get_secret_value() if settings.milvus_token else None
    index = VectorIndex(_named(settings.milvus_uri, "MILVUS_URI"), token)
    encoders = query_encoders(settings)
    closing.callback(encoders.stop)
    holder = ServingHolder(sessions, encoders=encoders)
    await run_sync(holder.start)
    closing.callback(holder.stop)
    registry = Registry(sessions, holdout_share=settings.holdout_share, exploration_share=settings.exploration_share)
    await run_sync(registry.start)
    closing.callback(registry.stop)
    made = closing.enter_context(assembled(settings, sessions, index, holder, encoders, registry))
    searcher, refiner, explainer = made
    transcriber = Transcriber(_transcription(settings))
    closing.push_async_callback(transcriber.close)
    keyring = Keyring(sessions, default_rate=settings.rate_limit_per_minute)
    readiness = Readiness(_checks(engine, index, holder, searcher))
    queue = Queue(redis_url)
    measuring = Measuring(settings.home, sessions, holder, encoders)
    diary = Diary(settings.home / "demo-learn" / "diary.json")
    lists = Lists(searcher, holder, measuring)
    player = Player(settings, sessions, queue, holder, lists, diary)
    closing.callback(player.close)
    provide(app, lists, player)
    tally = closing.enter_context(EventTally(sessions))
    provide(app, settings, sessions, queue, BlobStore(settings.blob_dir), *_door(settings, queue, closing))
    provide(app, tally, HasherHolder(sessions))
    provide(app, keyring, limiter, index, holder, registry, searcher, refiner, explainer, transcriber, readiness)


def _door(settings: Settings, queue: Queue, closing: AsyncExitStack) -> tuple[Inbox, Bell]:
    """Where webhooks come in, and the bell that tells the workers."""
    arrivals = connect(_named(settings.database_url, "DATABASE_URL"), pool_size=8, single_statements=True)
    closing.callback(arrivals.dispose)
    inbox = Inbox(arrivals, secrets_by_source(settings), durable=settings.webhook_durable)
    bell = Bell(queue, PROCESS_DELIVERIES, before=inbox.settle)
    bell.start()
    closing.callback(bell.stop)
    return inbox, bell


def _checks(
    engine: Engine, index: VectorIndex, holder: ServingHolder, searcher: Searcher
) -> dict[str, Callable[[], object]]:
    """What a search needs, in the order in which it needs it."""

    def database() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def collections() -> None:
        # a real search, because a collection may exist and not be loaded
        serving = holder.current
        probe = np.eye(1, serving.dim, dtype=np.float32)
        for collection in (serving.image_collection, serving.caption_collection):
            index.search(collection, probe, 1)

    return {
        "database": database,
        "serving": holder.check_following,
        "encoder": searcher.check_ready,
        "index": collections,
    }


def _transcription(settings: Settings) -> Endpoint | None:
    if settings.transcriber_url is None:
        return None
    key = settings.transcriber_key.get_secret_value() if settings.transcriber_key else None
    return Endpoint(
        url=settings.transcriber_url,
        model=settings.transcriber_model,
        key=key,
        timeout_s=settings.transcriber_timeout_s,
        max_bytes=settings.transcriber_max_bytes,
    )


def _named(url: str | None, variable: str) -> str:
    if url is None:
        raise ValueError(f"{variable} is not set: the API alone needs it; `morelike run` starts an embedded one")
    return url
