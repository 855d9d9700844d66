"""The query path put together from the components that the composition root made."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from random import SystemRandom
from weakref import WeakValueDictionary

from redis import Redis
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.db import connect, session_factory
from backend.events.units import UnitHasher
from backend.experiments.assignment import Assigner
from backend.experiments.known_units import KnownUnits
from backend.experiments.registry import Registry
from backend.generations.encoders import open_recorded
from backend.generations.serving import EncoderKey, ServingHolder
from backend.http import SafeFetcher
from backend.ml.encoder import Encoder
from backend.ml.image_tower import Precision
from backend.search.candidates import Retrieval
from backend.search.cursor import OrderStore
from backend.search.exact_sides import ExactSides
from backend.search.explanations.captions import ReadWords
from backend.search.explanations.explain import Explainer
from backend.search.explanations.pictures import LookedAt
from backend.search.explanations.weighed import Weighing
from backend.search.lists import Ranking
from backend.search.pipeline import Searcher
from backend.search.query_encoders import QueryEncoders
from backend.search.query_vectors import PictureLimits, QueryEncoder
from backend.search.randomiser import Randomiser
from backend.search.refinement.features import ItemVectors
from backend.search.refinement.marks import Marks
from backend.search.refinement.policies import Policies
from backend.search.refinement.regions import RegionCrops
from backend.search.refinement.replay import Replay
from backend.search.refinement.rescoring import Rescoring
from backend.search.refinement.tokens import TokenLoader
from backend.search.refinement.turns import Refiner
from backend.search.summarizers import Summarizers
from backend.search.trials import Trials
from backend.search.vector_cache import VectorCache
from backend.settings import Settings
from backend.vector_index import VectorIndex

REDIS_TIMEOUT_S = 0.5
"""Redis is an accelerator here: one that hangs must not hold a search up."""

TOKENS_IN_PROCESS = 256
"""Texts whose tokens are kept in the process: 10 MB at 20 tokens of 512 numbers."""

_last_opened: list[Encoder] = []
_opened: WeakValueDictionary[tuple[str, str, Precision], Encoder] = WeakValueDictionary()
"""Encoders in use, shared by all apps of a process; one that no app uses is kept only until another is opened."""


def query_encoders(settings: Settings) -> QueryEncoders:
    """The encoders for queries, each on one torch thread. Nothing is loaded yet."""
    own = settings.model_copy(update={"torch_threads": 1})

    def load(key: EncoderKey) -> Encoder:
        known = (key.id, own.device, own.precision)
        encoder = _opened.get(known)
        if encoder is None:
            encoder = _opened[known] = open_recorded(own, key.id, key.source)
            _last_opened[:] = [encoder]
        return encoder

    return QueryEncoders(load)


@contextmanager
def assembled(
    settings: Settings,
    sessions: sessionmaker[Session],
    index: VectorIndex,
    holder: ServingHolder,
    encoders: QueryEncoders,
    registry: Registry,
) -> Iterator[tuple[Searcher, Refiner, Explainer]]:
    """What searches, what refines and what explains, with their threads running; they end with the block."""
    policies = Policies(sessions)
    policies.named(settings.refine_policy)  # a name that is wrong is said now, not to shoppers
    redis = Redis.from_url(
        settings.redis_url or "", socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
    )
    limits = PictureLimits(settings.image_max_bytes, settings.image_max_pixels)
    fetcher = SafeFetcher(
        allowed_hosts=settings.image_allowed_hosts, max_bytes=limits.max_bytes, timeout_s=settings.image_timeout_s
    )
    # each write of a search is one statement and its reads need no common snapshot
    engine = connect(settings.database_url or "", pool_size=settings.database_pool, single_statements=True)
    single = session_factory(engine)
    summarizers = Summarizers(single)
    # each request asks for two things beside its own thread: captions and words
    with ThreadPoolExecutor(2 * settings.database_pool, thread_name_prefix="search") as pool:
        cache, orders, products = VectorCache(redis), OrderStore(redis), ItemVectors(engine)
        queries = QueryEncoder(encoders, cache, sessions, fetcher, limits)
        blobs = BlobStore(settings.blob_dir)
        crops = RegionCrops(encoders, cache, sessions, blobs, limits)
        tokens = TokenLoader(encoders, VectorCache(redis, TOKENS_IN_PROCESS), sessions)
        replay = Replay(queries, products, crops, tokens, summarizers, cache, pool)
        marks = Marks(engine, orders, products)
        retrieval = Retrieval(index, ExactSides(single), pool)
        ranking = Ranking(single, engine, index, queries, replay, Rescoring(products), retrieval)

        def hasher() -> UnitHasher:
            return searcher.hasher

        known = KnownUnits(engine, hasher, pool)
        assigner = Assigner(registry, known, lambda generation_id: holder.arm(generation_id) is not None)
        trials = Trials(assigner, holder, ranking, Randomiser(engine, SystemRandom()))
        searcher = Searcher(single, engine, holder, queries, ranking, orders, marks, trials, pool)
        expires = timedelta(hours=settings.session_hours)
        given = settings.refine_policy
        refiner = Refiner(searcher, holder, replay, marks, orders, engine, pool, policies, given, expires)
        looked, words = LookedAt(encoders, blobs, limits), ReadWords(encoders, sessions)
        explainer = Explainer(Weighing(searcher, holder, replay), looked, words)
        yield searcher, refiner, explainer
    summarizers.stop()
    redis.close()
    engine.dispose()
