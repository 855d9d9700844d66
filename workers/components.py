"""What a worker process works with: made once, at its first task, in the process that runs it."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.captioning.budget import Budget
from backend.catalog.captioning.generate import Captioning
from backend.catalog.captioning.opening import open_for, spec_in
from backend.catalog.captioning.repository import make_current
from backend.catalog.images import FetchLimits
from backend.catalog.shops.opening import shop_base
from backend.catalog.shops.platform import Shop
from backend.catalog.webhooks.apply import Applier
from backend.db import connect, session_factory, session_scope
from backend.errors import Unavailable
from backend.generations.bootstrap import open_live, restore_collections
from backend.generations.build import Builder
from backend.generations.encoders import OpenEncoders
from backend.generations.features import CPU_BATCH
from backend.generations.ingest import Ingest
from backend.generations.repository import encoders_in_use, live_build
from backend.generations.turns import Turns
from backend.http import SafeFetcher
from backend.ml.encoder import Encoder
from backend.queue import INGEST_DUE, Queue
from backend.settings import Settings
from backend.vector_index import VectorIndex


class NotConfigured(Unavailable):
    """A store that the worker needs is not named."""

    title = "Store not configured"


@dataclass(frozen=True)
class Stores:
    """Where the stores are."""

    database_url: str
    redis_url: str
    milvus_uri: str

    @classmethod
    def of(cls, settings: Settings) -> "Stores":
        """The stores that ``settings`` name.

        Raises:
            NotConfigured: one is not named.
        """
        named = {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "MILVUS_URI": settings.milvus_uri,
        }
        missing = [name for name, url in named.items() if not url]
        if missing:
            raise NotConfigured(
                "A worker needs stores to work with; `morelike run` starts it with its own.",
                found=f"{', '.join(missing)} not set",
                expected=list(named),
            )
        return cls(settings.database_url or "", settings.redis_url or "", settings.milvus_uri or "")


class Components:
    """The components of one worker. The encoder is opened when it is first asked for.

    Args:
        settings: settings of this process.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stores = Stores.of(settings)
        self.sessions: sessionmaker[Session] = session_factory(connect(self.stores.database_url, pool_size=16))
        self.queue = Queue(self.stores.redis_url)
        token = settings.milvus_token.get_secret_value() if settings.milvus_token else None
        self.index = VectorIndex(self.stores.milvus_uri, token)
        self._opening = threading.Lock()
        self._opening_captioner = threading.Lock()
        self._turns = Turns()
        self.encoders = OpenEncoders(settings)
        window = timedelta(hours=settings.rollback_window_h)
        self.builder = Builder(self.sessions, self.index, self.encoders, self._ingest_beside, window)

    @cached_property
    def applier(self) -> Applier:
        """What applies deliveries of webhooks."""
        url = self.settings.shop_url
        return Applier(
            self.sessions,
            BlobStore(self.settings.blob_dir),
            Shop(shop_base(url) if url else None, self.settings.shop_currency),
            on_written=lambda session: self.queue.nudge_after_commit(session, INGEST_DUE),
        )

    def ingest(self) -> Ingest:
        """The ingest of the live generation, with its encoder open; the first one makes what is missing."""
        with self._opening:  # tasks of several threads ask
            encoder = open_live(self.sessions, self.index, self.encoders, self.settings.encoder)
        return self._ingest_of(encoder, fetches=True, turn=self._turns.first, batch=self.settings.embed_batch)

    def _ingest_beside(self, encoder: Encoder) -> Ingest:
        # small batches: a product that comes in meanwhile waits for one of them at most
        batch = self.settings.embed_batch
        if not encoder.overlaps:
            batch = max(1, (batch or CPU_BATCH) // 4)
        return self._ingest_of(encoder, fetches=False, turn=self._turns.second, batch=batch)

    def turn_beside(self) -> AbstractContextManager[None]:
        """Wait for a moment in which an encoder may be used that nobody waits for."""
        return self._turns.second()

    def _ingest_of(
        self, encoder: Encoder, *, fetches: bool, turn: Callable[[], AbstractContextManager[None]], batch: int
    ) -> Ingest:
        settings = self.settings
        return Ingest(
            sessions=self.sessions,
            blobs=BlobStore(settings.blob_dir),
            fetcher=SafeFetcher(
                allowed_hosts=settings.image_allowed_hosts,
                max_bytes=settings.image_max_bytes,
                timeout_s=settings.image_timeout_s,
            ),
            encoder=encoder,
            index=self.index,
            limits=FetchLimits(
                max_pixels=settings.image_max_pixels,
                attempts=settings.image_attempts,
                backoff_s=settings.image_backoff_s,
            ),
            tokens=settings.tokens,
            embed_batch=batch,
            decode_threads=settings.decode_threads,
            fetches=fetches,
            turn=turn,
        )

    @property
    def captioning(self) -> Captioning | None:
        """The captioning as the settings of this process want it; ``None`` where there is not and was not any."""
        with self._opening_captioner:
            return self._captioning

    @cached_property
    def _captioning(self) -> Captioning | None:
        settings = self.settings
        spec = spec_in(settings)
        with session_scope(self.sessions) as session:
            plan = make_current(session, spec, settings.caption_images)
        if plan is None:
            return None
        return Captioning(
            sessions=self.sessions,
            blobs=BlobStore(settings.blob_dir),
            plan=plan,
            open_captioner=lambda: open_for(spec, settings),
            budget=Budget(
                per_minute=settings.caption_per_minute,
                per_day=settings.caption_per_day,
                backoff_s=settings.image_backoff_s,
            ),
            attempts=settings.image_attempts,
            max_pixels=settings.image_max_pixels,
            on_written=lambda: self.queue.nudge(INGEST_DUE),
        )

    def restore_index(self) -> None:
        """Make collections again that Milvus has lost, all their products being due then; the first start's, too."""
        with session_scope(self.sessions) as session:
            restore_collections(session, self.index)
            found = live_build(session) is not None
        if not found:
            self.ingest()

    def let_go(self) -> None:
        """Close the encoders that no build needs any more."""
        with session_scope(self.sessions) as session:
            in_use = [encoder.id for encoder in encoders_in_use(session)]
        self.encoders.keep(in_use)


_making = threading.Lock()
_made: list[Components] = []


def components() -> Components:
    """The components of this process, made at the first call."""
    with _making:
        if not _made:
            _made.append(Components(Settings()))
        return _made[0]
