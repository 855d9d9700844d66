"""From a picture that is due to a caption that is kept: claimed, asked about within limits, recorded or parked."""

import json
import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore, content_hash
from backend.catalog.captioning.alignment import SHOWN, Plan, align, align_all, pictures_due
from backend.catalog.captioning.budget import Budget, may_ask, note_success, pause, spend
from backend.catalog.captioning.captioners import Captioner, CaptionerStopped, Picture, PictureFailed, Said
from backend.catalog.pictures import MAX_PIXELS, PictureRefused, decode
from backend.db import session_scope
from backend.errors import AppError
from backend.logs import get_logger

log = get_logger(__name__)

ALIGN_EVERY_S = 5.0
"""While captions are written, products that changed meanwhile are looked for this often."""

_GLANCE_S = 0.2

# a common table is evaluated once: as a subquery it could be, row by row, and then its limit would be none
_CLAIM = text(f"""
    WITH due AS MATERIALIZED (
        SELECT g.content_hash FROM generated_captions g
        WHERE g.captioner_id = :captioner AND g.state = 'pending' AND g.due_at <= now() AND {SHOWN}
        ORDER BY g.created_at DESC, g.content_hash LIMIT :limit FOR UPDATE OF g SKIP LOCKED)
    UPDATE generated_captions g SET due_at = now() + make_interval(secs => :lease_s) FROM due
    WHERE g.captioner_id = :captioner AND g.content_hash = due.content_hash
    RETURNING g.content_hash, g.attempts
""")  # noqa: S608  constants only
_LEASE = text("""
    UPDATE generated_captions SET due_at = due_at + make_interval(secs => :more_s)
    WHERE captioner_id = :captioner AND content_hash = ANY(:hashes) AND state = 'pending'
""")
_RELEASE = text("""
    UPDATE generated_captions SET due_at = now()
    WHERE captioner_id = :captioner AND content_hash = ANY(:hashes) AND state = 'pending'
""")
_WRITE = text("""
    UPDATE generated_captions SET state = 'ready', text = :text, text_hash = :text_hash, turns = CAST(:turns AS jsonb),
        attempts = attempts + 1, error = NULL, written_at = now()
    WHERE captioner_id = :captioner AND content_hash = :content_hash
""")
_FAIL = text("""
    UPDATE generated_captions SET attempts = attempts + 1, error = :error, state = :state,
        due_at = now() + make_interval(secs => :pause_s)
    WHERE captioner_id = :captioner AND content_hash = :content_hash AND state = 'pending'
""")
_LOCK_SHOWING = text("""
    SELECT number FROM products WHERE number IN (
        SELECT product FROM product_images WHERE content_hash = ANY(:hashes) AND state = 'ready')
    ORDER BY id FOR UPDATE
""")


@dataclass(frozen=True)
class CaptionReport:
    """What one run did: products aligned; pictures captioned, to be tried again and given up on; pauses."""

    aligned: int = 0
    captioned: int = 0
    retried: int = 0
    parked: int = 0
    paused: int = 0

    def __add__(self, other: "CaptionReport") -> "CaptionReport":
        return CaptionReport(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def progressed(self) -> bool:
        """Whether anything was done at all."""
        return self != CaptionReport()


@dataclass(frozen=True)
class _Claim:
    attempts: dict[str, int]  # by content hash
    wait_s: float


@dataclass
class Captioning:
    """One worker's captioning.

    Args:
        sessions: PostgreSQL.
        blobs: image bytes.
        plan: whose captions products should have, and of how many pictures.
        open_captioner: opens what says what pictures show; called when a picture is due for the first time.
        budget: limits on requests, and the first pause after a failure.
        attempts: failures after which a picture is parked.
        max_pixels: largest picture that is decoded.
        on_written: called when captions are there for the index to take up.
    """

    sessions: sessionmaker[Session]
    blobs: BlobStore
    plan: Plan
    open_captioner: Callable[[], Captioner]
    budget: Budget
    attempts: int = 5
    max_pixels: int = MAX_PIXELS
    on_written: Callable[[], None] = lambda: None
    _captioner: Captioner | None = None
    _aligning: threading.Lock = field(default_factory=threading.Lock)
    _aligned_at: float = -math.inf

    def run_due(self, stop: Callable[[], bool] = lambda: False) -> CaptionReport:
        """Align products and caption pictures until nothing is due now, the captioner is paused, or ``stop()``."""
        self._aligned_at = -math.inf
        total = self._align(stop)
        while not stop() and (captioner := self._ready()) is not None:
            with ThreadPoolExecutor(captioner.threads, thread_name_prefix="caption") as pool:
                runs = [pool.submit(self._until_nothing_is_due, captioner, stop) for _ in range(captioner.threads)]
            total += sum((run.result() for run in runs), CaptionReport())
        return total

    def _ready(self) -> Captioner | None:
        """The captioner where a picture is due and nothing holds it up; opened when it is first needed."""
        with session_scope(self.sessions) as session:
            if not pictures_due(session, self.plan):
                return None
        if self._captioner is None:
            try:
                self._captioner = self.open_captioner()
            except AppError as error:
                self._pause((), CaptionerStopped(error.sentence()))
        return self._captioner

    def _until_nothing_is_due(self, captioner: Captioner, stop: Callable[[], bool]) -> CaptionReport:
        total = CaptionReport()
        while not stop():
            total += self._align(stop)
            claim = self._claim(captioner)
            if claim is None and self._aligning.locked():  # another thread is finding some
                time.sleep(_GLANCE_S)
                continue
            if claim is None:
                break
            done = self._caption(captioner, claim, stop)
            total += done
            if done.paused:
                break
        return total

    def _align(self, stop: Callable[[], bool]) -> CaptionReport:
        """Look for products that changed, unless another thread does or has done so just now."""
        aligned = 0
        if self._aligning.acquire(blocking=False):
            try:
                if time.monotonic() - self._aligned_at > ALIGN_EVERY_S:
                    aligned = align_all(self.sessions, self.plan, stop)
                    self._aligned_at = time.monotonic()
            finally:
                self._aligning.release()
        if aligned:
            self.on_written()
        return CaptionReport(aligned=aligned)

    def _claim(self, captioner: Captioner) -> _Claim | None:
        """Pictures to ask about, and how long to wait first; ``None`` where none is due or none may be asked about."""
        name = self.plan.captioner_id
        with session_scope(self.sessions) as session:
            if not may_ask(session, name, self.budget, captioner.requests):
                return None
            values = {"captioner": name, "lease_s": captioner.lease_s, "limit": captioner.batch}
            rows = session.execute(_CLAIM, values).all()
            if not rows:
                return None
            wait_s = spend(session, name, self.budget, captioner.requests * len(rows))
            attempts = {row.content_hash: row.attempts for row in rows}
            if wait_s:
                session.execute(_LEASE, {"captioner": name, "hashes": list(attempts), "more_s": wait_s})
            return _Claim(attempts, wait_s)

    def _caption(self, captioner: Captioner, claim: _Claim, stop: Callable[[], bool]) -> CaptionReport:
        if not _waited(claim.wait_s, stop):
            self._release(claim.attempts)
            return CaptionReport()
        pictures, failed = self._opened(list(claim.attempts))
        try:
            answers = captioner.describe(pictures) if pictures else []
        except CaptionerStopped as stopped:
            self._pause(claim.attempts, stopped)
            return CaptionReport(paused=1)
        except Exception as error:  # noqa: BLE001  a defect or no memory: whatever it is, no picture is to blame
            self._pause(claim.attempts, CaptionerStopped(f"{type(error).__name__}: {error}"))
            return CaptionReport(paused=1)
        outcomes = failed | {one.content_hash: said for one, said in zip(pictures, answers, strict=True)}
        return self._record(claim, outcomes)

    def _opened(self, hashes: Sequence[str]) -> tuple[list[Picture], dict[str, "Said | PictureFailed"]]:
        pictures: list[Picture] = []
        failed: dict[str, Said | PictureFailed] = {}
        for key in hashes:
            try:
                pictures.append(Picture(key, decode(self.blobs.get(key), self.max_pixels)))
            except FileNotFoundError:
                failed[key] = PictureFailed("The image's bytes are no longer kept: send it again.", permanent=True)
            except PictureRefused as refused:
                failed[key] = PictureFailed(f"{refused.detail} Found: {refused.found}.", permanent=True)
        return pictures, failed

    def _record(self, claim: _Claim, outcomes: dict[str, "Said | PictureFailed"]) -> CaptionReport:
        name = self.plan.captioner_id
        said = {key: one for key, one in outcomes.items() if isinstance(one, Said)}
        failures = [self._failure(claim, key, one) for key, one in outcomes.items() if isinstance(one, PictureFailed)]
        with session_scope(self.sessions) as session:
            # products first, in the order of ids, as every writer of them does
            showing = list(session.execute(_LOCK_SHOWING, {"hashes": list(said)}).scalars()) if said else []
            if said:
                session.execute(_WRITE, [_written(name, key, said[key]) for key in sorted(said)])
                note_success(session, name)
            if failures:
                session.execute(_FAIL, failures)
            if showing:
                align(session, self.plan, showing)
        if showing:
            self.on_written()
        parked = sum(failure["state"] == "parked" for failure in failures)
        return CaptionReport(captioned=len(said), retried=len(failures) - parked, parked=parked)

    def _failure(self, claim: _Claim, key: str, failed: PictureFailed) -> dict[str, object]:
        tried = claim.attempts[key]
        last = failed.permanent or tried + 1 >= self.attempts
        log.warning("picture_not_captioned", content_hash=key, reason=failed.reason, parked=last)
        return {
            "captioner": self.plan.captioner_id,
            "content_hash": key,
            "error": failed.reason.replace("\x00", "")[:1000],
            "state": "parked" if last else "pending",
            "pause_s": self.budget.backoff_s * 2**tried,
        }

    def _pause(self, hashes: Collection[str], stopped: CaptionerStopped) -> None:
        log.warning("captioner_paused", captioner=self.plan.captioner_id, reason=stopped.reason)
        with session_scope(self.sessions) as session:
            reason = stopped.reason.replace("\x00", "")
            pause(session, self.plan.captioner_id, self.budget, reason, stopped.pause_s)
        self._release(hashes)

    def _release(self, hashes: Collection[str]) -> None:
        with session_scope(self.sessions) as session:
            session.execute(_RELEASE, {"captioner": self.plan.captioner_id, "hashes": list(hashes)})


def _written(captioner_id: str, key: str, said: Said) -> dict[str, object]:
    return {
        "captioner": captioner_id,
        "content_hash": key,
        "text": said.text,
        "text_hash": content_hash(said.text.encode()),
        "turns": json.dumps([asdict(turn) for turn in said.turns]),
    }


def _waited(seconds: float, stop: Callable[[], bool]) -> bool:
    """Whether ``seconds`` passed without ``stop()``."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop():
            return False
        time.sleep(min(left, _GLANCE_S))
    return not stop()
