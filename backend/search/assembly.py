"""The query path put together from the components that the composition root made."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial

from redis import Redis
from sqlalchemy.orm import Session, sessionmaker

from backend.db import connect, session_factory
from backend.generations.encoders import DEMO_ENCODER
from backend.generations.serving import ServingHolder
from backend.http import SafeFetcher
from backend.ml.encoder import Encoder, load_encoder
from backend.ml.image_tower import Precision
from backend.search.candidates import Retrieval
from backend.search.cursor import OrderStore
from backend.search.encoder_thread import EncoderThread
from backend.search.exact_sides import ExactSides
from backend.search.lists import Ranking
from backend.search.pipeline import Searcher
from backend.search.query_vectors import PictureLimits, QueryEncoder
from backend.search.vector_cache import VectorCache
from backend.settings import Settings
from backend.vector_index import VectorIndex

REDIS_TIMEOUT_S = 0.5
"""Redis is an accelerator here: one that hangs must not hold a search up."""


@lru_cache(maxsize=1)
def _opened(source: str, device: str, precision: Precision) -> Encoder:
    """The encoder for queries: one torch thread, shared by all apps of a process."""
    return load_encoder(source, device=device, precision=precision, threads=1, demo_dir=DEMO_ENCODER)


@contextmanager
def assembled(
    settings: Settings, sessions: sessionmaker[Session], index: VectorIndex, holder: ServingHolder
) -> Iterator[Searcher]:
    """A searcher with its threads running; they end with the block."""
    redis = Redis.from_url(
        settings.redis_url or "", socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
    )
    thread = EncoderThread(partial(_opened, settings.encoder, settings.device, settings.precision))
    thread.start()
    limits = PictureLimits(settings.image_max_bytes, settings.image_max_pixels)
    fetcher = SafeFetcher(
        allowed_hosts=settings.image_allowed_hosts, max_bytes=limits.max_bytes, timeout_s=settings.image_timeout_s
    )
    # each write of a search is one statement and its reads need no common snapshot
    engine = connect(settings.database_url or "", pool_size=settings.database_pool, single_statements=True)
    single = session_factory(engine)
    # each request asks for two things beside its own thread: captions and words
    with ThreadPoolExecutor(2 * settings.database_pool, thread_name_prefix="search") as pool:
        queries = QueryEncoder(thread, VectorCache(redis), sessions, fetcher, limits)
        ranking = Ranking(single, engine, index, queries, Retrieval(index, ExactSides(single), pool))
        try:
            yield Searcher(single, engine, holder, queries, ranking, OrderStore(redis), pool)
        finally:
            thread.stop()
    redis.close()
    engine.dispose()
