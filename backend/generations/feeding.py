"""Batches for the encoder, prepared ahead in threads: listed, claimed, read, decoded, turned into pixels."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy.orm import Session, sessionmaker
from torch import Tensor

from backend.blobs import BlobStore
from backend.catalog.pictures import PictureRefused, decode
from backend.db import session_scope
from backend.generations.claims import OLDEST_LIST_S, Claims
from backend.generations.due import Kind, Subject, seen_among, unseen
from backend.generations.repository import Build
from backend.ml.encoder import Encoder

LISTED = 1024
"""Subjects listed at a time, at least; one list serves several batches."""

TEXT_BATCH = 128
"""Captions encoded at a time: short enough that images do not wait for them."""

_LEAST_PAUSE_S = 1.0
_QUERY_SHARE = 10  # a list is used for ten times as long as it took to make, so listing costs at most a tenth


@dataclass(frozen=True)
class Failure:
    """A subject that cannot be embedded, and why."""

    subject: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Inputs of one call of the encoder, and the subjects that already failed on their way to it.

    Images are one tensor (n, 3, h, w) where the encoder runs; one without subjects has no inputs.
    """

    kind: Kind
    subjects: tuple[str, ...]
    inputs: Tensor | tuple[str, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def claimed(self) -> list[str]:
        """All subjects of it, failed ones included."""
        return [*self.subjects, *(failure.subject for failure in self.failures)]


@dataclass
class Listing:
    """Subjects known to be unseen, the freshest first, until they are used up or old."""

    subjects: list[Subject] = field(default_factory=list)
    began: float = 0.0
    fresh_until: float = 0.0


class Feeder:
    """Makes batches of what the builds' encoder has not seen.

    Args:
        sessions: where due products are found.
        blobs: where image bytes lie.
        encoder: whose preprocessing images go through; it is safe in other threads.
        builds: builds of that encoder.
        claims: shares the work with other workers.
        batch: images in a batch.
        max_pixels: largest image decoded.
        decoders: threads that decode.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        blobs: BlobStore,
        encoder: Encoder,
        builds: Sequence[Build],
        claims: Claims,
        *,
        batch: int,
        max_pixels: int,
        decoders: int,
    ) -> None:
        self._sessions = sessions
        self._blobs = blobs
        self._encoder = encoder
        self._builds = builds
        self._claims = claims
        self._sizes: dict[Kind, int] = {"text": TEXT_BATCH, "image": batch}
        self._max_pixels = max_pixels
        self._decoders = decoders
        self._listings: dict[Kind, Listing] = {"text": Listing(), "image": Listing()}

    def feed(self, put: Callable[[Batch], None], *, more: Callable[[], bool], stop: Callable[[], bool]) -> None:
        """Put batches until nothing is unseen and ``more()`` says that nothing will come, or ``stop()``.

        Captions and images take turns, so that a product is found by its words while its pictures wait.
        """
        begun: list[Callable[[], Batch]] = []
        with ThreadPoolExecutor(self._decoders, thread_name_prefix="decode") as pool:
            while not stop():
                expecting = more()  # asked before looking: what came in between is seen by the next look
                following = [one for kind in ("text", "image") if (one := self._begin(kind, pool)) is not None]
                for finish in begun:  # the decoders have the next batch to go on with meanwhile
                    put(finish())
                if not begun and not following and not expecting:
                    return
                if not begun and not following:
                    time.sleep(0.1)
                begun = following

    def _begin(self, kind: Kind, pool: ThreadPoolExecutor) -> Callable[[], Batch] | None:
        """Claim a batch and set the decoders on it; what is returned waits for them."""
        subjects = self._claim(kind)
        if not subjects:
            return None
        if kind == "text":
            batch = Batch(kind, tuple(s.key for s in subjects), tuple(s.text or "" for s in subjects))
            return lambda: batch
        loaded = pool.map(self._load, subjects)
        return lambda: self._image_batch(list(loaded))

    def _claim(self, kind: Kind) -> list[Subject]:
        while taken := self._take(kind, self._listed(kind)):
            listing = self._listings[kind]
            listing.subjects = listing.subjects[listing.subjects.index(taken[-1]) + 1 :]
            with session_scope(self._sessions) as session:  # another worker may have finished one since it was listed
                known = seen_among(session, self._encoder.id, kind, [subject.key for subject in taken])
            self._claims.done(kind, sorted(known))
            if left := [subject for subject in taken if subject.key not in known]:
                return left
        self._listings[kind].subjects = []  # all that is left is in other hands
        return []

    def _take(self, kind: Kind, listing: Listing) -> list[Subject]:
        return self._claims.take(kind, listing.subjects, self._sizes[kind], listing.began)

    def _listed(self, kind: Kind) -> Listing:
        listing = self._listings[kind]
        if not listing.subjects or time.monotonic() > listing.fresh_until:
            listing = self._listings[kind] = self._list(kind)
        return listing

    def _list(self, kind: Kind) -> Listing:
        began = time.monotonic()
        found: dict[str, Subject] = {}
        with session_scope(self._sessions) as session:
            for build in self._builds:
                limit = max(LISTED, 4 * self._sizes[kind])
                found |= {subject.key: subject for subject in unseen(session, build, kind, limit)}
        ended = time.monotonic()
        used_s = min(max(_LEAST_PAUSE_S, _QUERY_SHARE * (ended - began)), OLDEST_LIST_S)
        return Listing(list(found.values()), began, ended + used_s)

    def _load(self, subject: Subject) -> tuple[str, Tensor | Failure]:
        try:
            pixels = self._encoder.preprocess(decode(self._blobs.get(subject.key), self._max_pixels))
        except FileNotFoundError:
            return subject.key, Failure(subject.key, "its bytes are no longer kept; retry downloads them again")
        except PictureRefused as error:
            return subject.key, Failure(subject.key, f"{error.detail} Found: {error.found}.")
        return subject.key, pixels

    def _image_batch(self, loaded: Sequence[tuple[str, Tensor | Failure]]) -> Batch:
        good = [(key, pixels) for key, pixels in loaded if not isinstance(pixels, Failure)]
        return Batch(
            "image",
            tuple(key for key, _ in good),
            self._encoder.stage_images([pixels for _, pixels in good]) if good else (),
            tuple(failure for _, failure in loaded if isinstance(failure, Failure)),
        )
