"""What a worker process works with: made once, at its first task, in the process that runs it."""

import threading
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.captioning.budget import Budget
from backend.catalog.captioning.generate import Captioning
from backend.catalog.captioning.opening import open_for, spec_in
from backend.catalog.captioning.repository import make_current
from backend.catalog.images import FetchLimits
from backend.catalog.shops.platform import Shop
from backend.catalog.webhooks.apply import Applier
from backend.db import connect, session_factory, session_scope
from backend.errors import Unavailable
from backend.generations.bootstrap import ensure_live
from backend.generations.encoders import open_encoder
from backend.generations.ingest import Ingest
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
        self.sessions: sessionmaker[Session] = session_factory(connect(self.stores.database_url, pool_size=8))
        self.queue = Queue(self.stores.redis_url)
        token = settings.milvus_token.get_secret_value() if settings.milvus_token else None
        self.index = VectorIndex(self.stores.milvus_uri, token)
        self._opening = threading.Lock()
        self._opening_captioner = threading.Lock()

    @cached_property
    def applier(self) -> Applier:
        """What applies deliveries of webhooks."""
        return Applier(
            self.sessions,
            BlobStore(self.settings.blob_dir),
            Shop(currency=self.settings.shop_currency),
            on_written=lambda session: self.queue.nudge_after_commit(session, INGEST_DUE),
        )

    @property
    def ingest(self) -> Ingest:
        """The ingest, with its encoder loaded and the live build checked against it. Tasks of several threads ask."""
        with self._opening:
            return self._ingest

    @cached_property
    def _ingest(self) -> Ingest:
        settings = self.settings
        encoder = open_encoder(settings)
        self._ensure_live(encoder)
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
            embed_batch=settings.embed_batch,
            decode_threads=settings.decode_threads,
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
        """Make the live build's collections again if Milvus has lost them; all its products are then due."""
        self._ensure_live(self.ingest.encoder)

    def _ensure_live(self, encoder: Encoder) -> None:
        with session_scope(self.sessions) as session:
            ensure_live(session, self.index, encoder)


_making = threading.Lock()
_made: list[Components] = []


def components() -> Components:
    """The components of this process, made at the first call."""
    with _making:
        if not _made:
            _made.append(Components(Settings()))
        return _made[0]
