"""Getting the pictures that products name: leased, fetched side by side, retried with backoff, then parked.

Nothing waits for a picture: its product is found by its captions meanwhile, and for good when the picture is parked.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.models import Product
from backend.catalog.pictures import MAX_PIXELS, PictureFacts, PictureRefused, verify
from backend.db import session_scope
from backend.errors import AppError
from backend.http import NotFetched, SafeFetcher
from backend.logs import get_logger

log = get_logger(__name__)

LEASE_S = 30
"""A leased image is left alone this long; the lease of one that takes longer is renewed. One whose worker died is
taken up by another when it ends."""

RECORD_S = 1.0
"""What was fetched is recorded this often, so that one slow server holds no other image back."""

# a common table is evaluated once: as a subquery it could be, row by row, and then its limit would be none
_CLAIM = text(
    "WITH due AS MATERIALIZED ("
    " SELECT i.id FROM product_images i JOIN products p ON p.number = i.product"
    " WHERE i.state = 'pending' AND i.due_at <= now() AND p.deleted_at IS NULL"
    " ORDER BY i.due_at, i.id LIMIT :limit FOR UPDATE OF i SKIP LOCKED"
    ") UPDATE product_images i SET due_at = now() + make_interval(secs => :lease_s) FROM due WHERE i.id = due.id"
    " RETURNING i.id, i.product, i.source, i.attempts"
)
_RENEW = text(
    "UPDATE product_images SET due_at = now() + make_interval(secs => :lease_s)"
    " WHERE id = ANY(:ids) AND state = 'pending'"
)
_FILES = text(
    "INSERT INTO image_files (content_hash, format, width, height, bytes)"
    " VALUES (:content_hash, :format, :width, :height, :bytes) ON CONFLICT DO NOTHING"
)
_READY = text(
    "UPDATE product_images i SET state = 'ready', content_hash = r.hash, error = NULL, attempts = attempts + 1"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:hashes AS varchar[])) AS r(id, hash)"
    " WHERE i.id = r.id AND i.state = 'pending' RETURNING i.product"
)
_REVISE = text("UPDATE products SET revision = revision + 1 WHERE number = ANY(:numbers)")
_FAILED = text(
    "UPDATE product_images SET attempts = attempts + 1, error = :error, state = :state,"
    " due_at = now() + make_interval(secs => :pause_s) WHERE id = :id AND state = 'pending'"
)


@dataclass(frozen=True)
class FetchLimits:
    """How images are fetched and retried; the settings ``image_*`` say what each is for."""

    max_pixels: int = MAX_PIXELS
    attempts: int = 5
    backoff_s: float = 30.0
    threads: int = 8


@dataclass(frozen=True)
class FetchReport:
    """What became of the images that one call claimed."""

    claimed: int = 0
    ready: int = 0
    retried: int = 0
    parked: int = 0


@dataclass(frozen=True)
class _Claim:
    id: int
    product: int
    source: str
    attempts: int


@dataclass(frozen=True)
class _Got:
    """One image's outcome: its hash and facts, or why not and whether that is for good."""

    claim: _Claim
    content_hash: str = ""
    size: int = 0
    facts: PictureFacts | None = None
    error: str = ""
    permanent: bool = False


def fetch_due(
    sessions: sessionmaker[Session], blobs: BlobStore, fetcher: SafeFetcher, limits: FetchLimits, limit: int = 64
) -> FetchReport:
    """Fetch up to ``limit`` images that are due; what became of them. Any number of workers may call it at once."""
    with session_scope(sessions) as session:
        rows = session.execute(_CLAIM, {"lease_s": LEASE_S, "limit": limit}).all()
    claims = [_Claim(row.id, row.product, row.source, row.attempts) for row in rows]
    ready = retried = parked = 0
    with ThreadPoolExecutor(limits.threads, thread_name_prefix="fetch") as pool:
        waiting = {pool.submit(_get, claim, blobs, fetcher, limits): claim for claim in claims}
        while waiting:
            done, _ = wait(waiting, timeout=RECORD_S)
            got = [future.result() for future in done]
            with session_scope(sessions) as session:
                record(session, got, limits)
                _renew(session, [claim for future, claim in waiting.items() if future not in done])
            _forget(waiting, done)
            ready += sum(one.facts is not None for one in got)
            parked += sum(one.facts is None and _is_last(one, limits) for one in got)
            retried += sum(one.facts is None and not _is_last(one, limits) for one in got)
    return FetchReport(len(claims), ready, retried, parked)


def _forget(waiting: dict[Future[_Got], _Claim], done: set[Future[_Got]]) -> None:
    for future in done:
        del waiting[future]


def _get(claim: _Claim, blobs: BlobStore, fetcher: SafeFetcher, limits: FetchLimits) -> _Got:
    """Bytes, checked and kept; never raises, since one picture must not stop the others."""
    try:
        data = _bytes_of(claim.source, blobs, fetcher)
        facts = verify(data, limits.max_pixels)
        return _Got(claim, blobs.put(data), len(data), facts)
    except PictureRefused as refused:
        return _Got(claim, error=_said(refused), permanent=True)
    except NotFetched as failed:
        return _Got(claim, error=_said(failed), permanent=failed.permanent)
    except FileNotFoundError:
        return _Got(claim, error="The image's bytes are no longer kept: send it again.", permanent=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this picture only and is shown beside it
        log.warning("image_failed", source=claim.source, error=repr(error))
        return _Got(claim, error=f"{type(error).__name__}: {error}"[:500])


def _bytes_of(source: str, blobs: BlobStore, fetcher: SafeFetcher) -> bytes:
    if source.startswith("blob:"):
        return blobs.get(source.removeprefix("blob:"))
    return fetcher.get(source).data


def _said(error: AppError) -> str:
    return error.sentence().replace("\x00", "\\0")


def _is_last(got: _Got, limits: FetchLimits) -> bool:
    return got.permanent or got.claim.attempts + 1 >= limits.attempts


def record(session: Session, got: Sequence[_Got], limits: FetchLimits) -> None:
    """Keep what became of images. Products are locked first, in the order of ids, as every writer of products does."""
    if not got:
        return
    numbers = sorted({one.claim.product for one in got})
    session.execute(select(Product.number).where(Product.number.in_(numbers)).order_by(Product.id).with_for_update())
    good = [one for one in got if one.facts is not None]
    files = [
        {
            "content_hash": one.content_hash,
            "format": one.facts.format,
            "width": one.facts.width,
            "height": one.facts.height,
            "bytes": one.size,
        }
        for one in sorted(good, key=lambda one: one.content_hash)
        if one.facts is not None
    ]
    if files:
        session.execute(_FILES, files)
        kept = {"ids": [one.claim.id for one in good], "hashes": [one.content_hash for one in good]}
        session.execute(_REVISE, {"numbers": sorted(set(session.execute(_READY, kept).scalars()))})
    failed = [_failure(one, limits) for one in got if one.facts is None]
    if failed:
        session.execute(_FAILED, failed)


def _failure(got: _Got, limits: FetchLimits) -> dict[str, object]:
    return {
        "id": got.claim.id,
        "error": got.error,
        "state": "parked" if _is_last(got, limits) else "pending",
        "pause_s": limits.backoff_s * 2**got.claim.attempts,
    }


def _renew(session: Session, claims: Sequence[_Claim]) -> None:
    if claims:
        session.execute(_RENEW, {"lease_s": LEASE_S, "ids": [claim.id for claim in claims]})
