"""From a row that is due to a product that is found: fetch, embed, index, overlapping, until nothing is due.

One ingest fills the builds of one encoder: that of the live generation, or one beside it.

Nothing is handed from stage to stage but through PostgreSQL: each stage asks it what is due, so one that died is taken
up where it stopped, by whoever comes next. Any number of workers may run this at once: images to fetch are leased,
subjects to embed are claimed, the index has one writer at a time.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields

from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.images import FetchLimits, fetch_due
from backend.db import session_scope
from backend.generations.features import Embedded, EmbedStage
from backend.generations.fill import fill_from_features
from backend.generations.index_writer import Written, write_due
from backend.generations.repository import Build, writable_builds
from backend.http import SafeFetcher
from backend.logs import get_logger
from backend.ml.encoder import Encoder
from backend.settings import TokenForm
from backend.vector_index import VectorIndex

log = get_logger(__name__)

INDEX_CHUNK = 256
"""Products written under the index lock at a time: about a second on Milvus Lite, so that nobody waits long for it."""

BULK_S = 5.0
"""Seconds for which products are written in bulk before fresh changes come first again."""

FETCH_CHUNK = 64
"""Images leased at a time."""

_PAUSES_S = (0.2, 3.0)
_WRITE_SHARE = 5  # while the encoder is busy, small writes wait five times as long as the last one took


@dataclass(frozen=True)
class IngestReport:
    """What one run did. ``failed`` counts downloads that will be tried again."""

    fetched: int = 0
    failed: int = 0
    images: int = 0
    texts: int = 0
    parked: int = 0
    products: int = 0
    removed: int = 0
    rows: int = 0

    def __add__(self, other: "IngestReport") -> "IngestReport":
        return IngestReport(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def progressed(self) -> bool:
        """Whether anything was done at all."""
        return any(getattr(self, f.name) for f in fields(self))


def never() -> bool:
    """The run is not stopped from outside."""
    return False


@dataclass(frozen=True)
class Ingest:
    """One worker's ingest.

    Args:
        sessions: PostgreSQL.
        blobs: image bytes.
        fetcher: downloads images within the rules for strangers' addresses.
        encoder: the frozen encoder; used by the thread that calls :meth:`run_due` only.
        index: the vector index.
        limits: how images are fetched and retried.
        tokens: form that patch and word tokens are kept in.
        embed_batch: images encoded at a time; 0 takes what fills the encoder's device.
        decode_threads: threads that decode images ahead; 0 takes what keeps that device busy.
        fetches: whether it downloads images, too; one that fills builds beside the live one leaves that to the other.
        turn: entered for each batch while it is encoded.
    """

    sessions: sessionmaker[Session]
    blobs: BlobStore
    fetcher: SafeFetcher
    encoder: Encoder
    index: VectorIndex
    limits: FetchLimits
    tokens: TokenForm
    embed_batch: int
    decode_threads: int = 0
    fetches: bool = True
    turn: Callable[[], AbstractContextManager[None]] = nullcontext

    def run_due(
        self, stop: Callable[[], bool] = never, on_progress: Callable[[IngestReport], None] | None = None
    ) -> IngestReport:
        """Fetch, embed and index until nothing is due now or ``stop()``; what was done.

        Args:
            stop: asked between batches.
            on_progress: told what was done so far, from any of the stages' threads.
        """
        total = IngestReport()
        while True:
            tally = Tally(total, on_progress)
            Round(self, tally, stop).run()
            done = tally.total != total
            total = tally.total
            if stop() or not done:
                return total


class Tally:
    """Sums what the stages did, from whichever thread they report."""

    def __init__(self, total: IngestReport, on_progress: Callable[[IngestReport], None] | None) -> None:
        self.total = total
        self._on_progress = on_progress
        self._lock = threading.Lock()

    def add(self, done: IngestReport) -> None:
        """Count ``done``."""
        if not done.progressed:
            return
        with self._lock:
            self.total += done
            if self._on_progress is not None:
                self._on_progress(self.total)


@dataclass
class Round:
    """The three stages, once, side by side. One that fails does not stop the others; its error is raised at the end."""

    ingest: Ingest
    tally: Tally
    stop: Callable[[], bool]
    _wanted: threading.Event = field(default_factory=threading.Event)
    _embedded: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until no stage finds anything."""
        # whoever makes a build from stored features backfills it: fresh changes of the live one do not wait for that
        left_out = ("open", "create", "backfill") if self.ingest.fetches else ("open", "create")
        with session_scope(self.ingest.sessions) as session:
            writable = writable_builds(session, but_at=left_out)
            builds = [build for build in writable if build.encoder_id == self.ingest.encoder.id]
        with ThreadPoolExecutor(2, thread_name_prefix="ingest") as pool:
            fetching = pool.submit(self._fetch)
            indexing = pool.submit(self._index, builds)
            try:
                self._embed(builds, fetching)
            finally:
                self._embedded.set()
                self._wanted.set()
        for stage in (fetching, indexing):
            stage.result()

    def _fetch(self) -> None:
        ingest = self.ingest
        while ingest.fetches and not self.stop():
            report = fetch_due(ingest.sessions, ingest.blobs, ingest.fetcher, ingest.limits, limit=FETCH_CHUNK)
            if not report.claimed:
                return
            self.tally.add(IngestReport(fetched=report.ready, failed=report.retried, parked=report.parked))
            self._wanted.set()

    def _embed(self, builds: Sequence[Build], fetching: Future[None]) -> None:
        if not builds:
            return

        def stored(done: Embedded) -> None:
            self.tally.add(IngestReport(images=done.images, texts=done.texts, parked=done.parked))
            self._wanted.set()

        stage = EmbedStage(
            sessions=self.ingest.sessions,
            blobs=self.ingest.blobs,
            encoder=self.ingest.encoder,
            tokens=self.ingest.tokens,
            batch=self.ingest.embed_batch,
            max_pixels=self.ingest.limits.max_pixels,
            decoders=self.ingest.decode_threads,
            turn=self.ingest.turn,
        )
        stage.run(builds, more=lambda: not fetching.done(), stop=self.stop, on_stored=stored)

    def _index(self, builds: Sequence[Build]) -> None:
        while True:
            last = self._embedded.is_set()  # asked before looking: what was embedded meanwhile is seen by the next look
            began = time.monotonic()
            written = sum((self._write(build) for build in builds), Written())
            if last and (written.products == 0 or self.stop()):
                return
            if not last and written.products < INDEX_CHUNK:
                self._pause(time.monotonic() - began)

    def _write(self, build: Build) -> Written:
        written = write_due(self.ingest.sessions, self.ingest.index, build, INDEX_CHUNK)
        self._count(written)
        if written.products < INDEX_CHUNK:
            return written
        # there is more than a few: for a while in bulk, then what is fresh by then comes first again
        until = time.monotonic() + BULK_S
        return written + fill_from_features(
            self.ingest.sessions,
            self.ingest.index,
            build,
            stop=lambda: self.stop() or time.monotonic() > until,
            on_progress=self._count,
        )

    def _count(self, written: Written) -> None:
        self.tally.add(IngestReport(products=written.products, removed=written.removed, rows=written.rows))

    def _pause(self, took_s: float) -> None:
        """Wait until there is something new, and long enough that small writes do not slow the encoder down."""
        least, most = _PAUSES_S
        self._embedded.wait(min(max(least, _WRITE_SHARE * took_s), most))
        self._wanted.wait(most)
        self._wanted.clear()
