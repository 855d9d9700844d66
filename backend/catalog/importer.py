"""Importing a feed: in batches that are committed, with every row accounted for."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.feeds.detect import Feed
from backend.catalog.feeds.drafts import Draft, FeedBroken, Item, Seen
from backend.catalog.feeds.pictures import Lost, PictureSource, with_sources
from backend.catalog.models import ImportRun, Product
from backend.catalog.repository import delete_product, delete_products, upsert_products
from backend.catalog.schemas import Problem, ProductDelete, ProductIn, Rejected, problems, short
from backend.db import session_scope
from backend.errors import AppError, Conflict

Mode = Literal["upsert", "full-sync", "reconcile"]

BATCH = 500
"""Products written in one transaction: a stop loses no more than these, and starting again repeats no harm."""

REJECTED_KEPT = 1000
DELETED_SHARE = 0.5


class PhotographsRefused(Conflict):
    """The encoder in use knows only drawings."""

    title = "The encoder in use knows only drawings"


class TooManyDeletions(Conflict):
    """A full sync would delete more than half of the catalogue."""

    title = "Too many deletions"


def photographs_refused(*, encoder_drawings_only: bool, has_images: bool, source_is_demo: bool) -> bool:
    """Whether an import must stop: pictures that may be photographs, for an encoder that knows only drawings.

    Nothing looks at the pictures to tell the one from the other: only the demo's own import knows that it draws.
    """
    return encoder_drawings_only and has_images and not source_is_demo


@dataclass(frozen=True)
class ImportOptions:
    """How a feed is imported.

    Args:
        mode: ``upsert`` leaves products that the feed does not name alone; ``full-sync`` and ``reconcile``, which is
            a full sync by night, delete them.
        currency: of prices that name none.
        pictures: where the files lie that the feed names.
        encoder_drawings_only: the encoder in use is the demo's.
        source_is_demo: the feed is the demo's own.
        delete_many: a full sync may delete more than half of the catalogue.
    """

    mode: Mode = "upsert"
    currency: str | None = None
    pictures: PictureSource | None = None
    encoder_drawings_only: bool = False
    source_is_demo: bool = False
    delete_many: bool = False


@dataclass
class ImportReport:
    """What became of a feed.

    Args:
        counts: products by status, and ``images_missing``.
        problem: why the feed was not read to its end, or the full sync deleted nothing.
    """

    id: int
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    problem: str | None = None


Note = Callable[[dict[str, Any]], None]
"""Takes one line of the report: a row that was rejected, or a picture that is missing."""


class Importer:
    """Imports one feed.

    Args:
        sessions: PostgreSQL.
        blobs: where pictures that lie beside the feed are kept.
        options: how.
        on_batch: called after each batch is committed, with the report so far; nudges the workers, shows progress.
        note: takes each line of the report.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        blobs: BlobStore,
        options: ImportOptions,
        *,
        on_batch: Callable[[ImportReport], None] | None = None,
        note: Note | None = None,
    ) -> None:
        self._sessions = sessions
        self._blobs = blobs
        self._options = options
        self._on_batch = on_batch or (lambda _report: None)
        self._note = note or (lambda _line: None)
        self._kept: list[dict[str, Any]] = []
        self._named: set[str] = set()
        self._unnamed = 0  # rows whose id could not be read: they may name any product
        self._report = ImportReport(0)
        self._started = datetime.now(UTC)

    def run(self, feed: Feed) -> ImportReport:
        """Import ``feed``.

        Raises:
            PhotographsRefused: it has pictures, and the encoder in use knows only drawings.
        """
        with session_scope(self._sessions) as session:
            run = ImportRun(source=feed.source, format=feed.format, mode=self._options.mode)
            session.add(run)
            session.flush()
            self._report = ImportReport(run.id, notes=list(feed.notes))
        try:
            for batch in self._batches(feed):
                self._write(batch)
            if self._options.mode != "upsert":
                self._delete_unnamed(feed)
        except (FeedBroken, TooManyDeletions) as error:
            self._report.problem = f"{error.detail} Found: {error.found}. Expected: {error.expected}."
        except AppError as error:
            self._report.problem = error.detail
            raise
        finally:
            self._finish()
        return self._report

    def _batches(self, feed: Feed) -> Iterator[list[tuple[int, ProductIn | ProductDelete]]]:
        """Products in batches. What was read before a feed broke is written before its error is raised."""
        batch: list[tuple[int, ProductIn | ProductDelete]] = []
        try:
            for read in feed.drafts:
                found = self._checked(read)
                if found is not None and not isinstance(read, Seen):
                    batch.append((read.line, found))
                if len(batch) >= BATCH:
                    yield batch
                    batch = []
        except FeedBroken:
            yield batch
            raise
        yield batch

    def _checked(self, read: Item) -> ProductIn | ProductDelete | None:
        """The product of a draft, once it is known to be one; what is wrong is noted."""
        if isinstance(read, Seen):
            self._named.add(read.id)
            self._report.counts["unchanged"] += 1
            return None
        if isinstance(read, Rejected):
            self._reject(read)
            return None
        has_images = bool(read.values.get("images"))
        refused = photographs_refused(
            encoder_drawings_only=self._options.encoder_drawings_only,
            has_images=has_images,
            source_is_demo=self._options.source_is_demo,
        )
        if refused:
            raise PhotographsRefused(
                "The demo encoder in use knows only drawings, so photographs would not be found. Fetch a real model "
                "with `morelike encoder fetch ViT-B-32:laion2b_s34b_b79k`, and take it: `morelike encoder switch`.",
                found=f"pictures in line {read.line}",
                expected="an encoder of photographs, or --allow-demo-encoder",
            )
        found = self._product(read)
        if isinstance(found, Rejected):
            self._reject(found)
            return None
        self._named.add(found.id)
        return found

    def _product(self, draft: Draft) -> ProductIn | ProductDelete | Rejected:
        values = dict(draft.values)
        named = values.get("id")
        try:
            if values.pop("deleted", False) is True:
                return ProductDelete(id=str(named or ""), deleted=True, updated_at=values.get("updated_at"))
            values["images"], lost = with_sources(values.get("images", []), self._options.pictures, self._blobs)
            # a product that was changed while the feed was read stays as it is
            values.setdefault("updated_at", self._started)
            if values.get("currency") is None:
                values["currency"] = self._options.currency
            product = ProductIn.model_validate(values)
        except ValidationError as error:
            return Rejected(draft.line, str(named) if named else None, [*draft.problems, *problems(error)])
        if draft.problems:
            return Rejected(draft.line, product.id, draft.problems)
        for one in lost:
            self._miss(draft.line, product.id, one)
        return product

    def _write(self, batch: list[tuple[int, ProductIn | ProductDelete]]) -> None:
        """Write one batch in one transaction, deletions where they stand among the products."""
        with session_scope(self._sessions) as session:
            products = [product for _, product in batch if isinstance(product, ProductIn)]
            lines = [line for line, product in batch if isinstance(product, ProductIn)]
            verdicts = upsert_products(session, products, blobs=self._blobs)
            gone = [product for _, product in batch if isinstance(product, ProductDelete)]
            deleted = [delete_product(session, product.id, product.updated_at) for product in gone]
        for line, verdict in zip(lines, verdicts, strict=True):
            if verdict.status == "rejected":
                self._reject(Rejected(line, verdict.id, [Problem("", verdict.id, str(verdict.detail))]))
            else:
                self._report.counts[verdict.status] += 1
        self._report.counts.update("skipped" if one.status == "missing" else one.status for one in deleted)
        self._on_batch(self._report)

    def _delete_unnamed(self, feed: Feed) -> None:
        """Delete what the feed, read to its end, did not name and its source does not sell after all."""
        if self._unnamed and not self._options.delete_many:
            raise TooManyDeletions(
                "Nothing was deleted, because rows without a readable id may name any product.",
                found=f"{self._unnamed} such rows",
                expected="none, or --delete-many",
            )
        with session_scope(self._sessions) as session:
            alive = session.scalars(select(Product.id).where(Product.deleted_at.is_(None))).all()
        gone = sorted(set(alive) - self._named)
        if len(gone) > DELETED_SHARE * len(alive) and not self._options.delete_many:
            raise TooManyDeletions(
                "Nothing was deleted: the feed does not name more than half of the catalogue.",
                found=f"{len(gone)} of {len(alive)} products",
                expected="a whole feed, or --delete-many",
            )
        if gone and (overlooked := feed.still_sold(gone)):
            self._report.notes.append(
                f"{len(overlooked)} products were on no page of the list and are sold nevertheless: they stay."
            )
            gone = [product_id for product_id in gone if product_id not in overlooked]
        at = min(self._started, feed.as_of or self._started)
        for place in range(0, len(gone), 5000):
            with session_scope(self._sessions) as session:
                verdicts = delete_products(session, gone[place : place + 5000], at=at)
            self._report.counts.update(verdict.status for verdict in verdicts)
        self._on_batch(self._report)

    def _reject(self, rejected: Rejected) -> None:
        self._report.counts["rejected"] += 1
        if rejected.id is None:
            self._unnamed += 1
        else:
            self._named.add(rejected.id)
        for problem in rejected.problems:
            self._keep("rejected", rejected.line, rejected.id, problem)

    def _miss(self, line: int, product_id: str, lost: Lost) -> None:
        self._report.counts["images_missing"] += 1
        self._keep("image_missing", line, product_id, Problem("images", lost.name, lost.reason))

    def _keep(self, kind: str, line: int, product_id: str | None, problem: Problem) -> None:
        # whatever it is that was found, a report can be kept: PostgreSQL takes neither NUL nor half of a character
        entry = {
            "line": line,
            "id": short(product_id),
            "kind": kind,
            "field": short(problem.field),
            "found": short(problem.found),
            "expected": short(problem.expected, 1000),
        }
        self._note(entry)
        if len(self._kept) < REJECTED_KEPT:
            self._kept.append(entry)

    def _finish(self) -> None:
        if self._report.problem:
            stopped = {"line": None, "id": None, "kind": "stopped", "field": "", "found": None}
            self._kept.append(stopped | {"expected": short(self._report.problem, 1000)})
        with session_scope(self._sessions) as session:
            session.execute(
                update(ImportRun)
                .where(ImportRun.id == self._report.id)
                .values(counts=dict(self._report.counts), rejected=self._kept, finished_at=datetime.now(UTC))
            )
