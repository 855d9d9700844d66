"""Applying deliveries: what they say is written to the catalogue, in whatever order they came."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.repository import delete_product, delete_products, upsert_products
from backend.catalog.schemas import Verdict
from backend.catalog.shops.platform import (
    Change,
    Delete,
    Envelope,
    Ignored,
    NotReadable,
    Platform,
    Received,
    Shop,
    Write,
    WriteVariant,
)
from backend.catalog.shops.platforms import PLATFORMS
from backend.catalog.webhooks.merging import NotThereYet, with_kept_currency, with_kept_variants, with_variant
from backend.catalog.webhooks.models import Delivery
from backend.catalog.webhooks.repository import claim, claim_due, last_triggered, put_off, told_before
from backend.db import session_scope
from backend.logs import get_logger

log = get_logger(__name__)

BATCH = 100
ATTEMPTS = 6
PAUSE = timedelta(seconds=15)
"""Before the second try; each further pause is twice as long."""

_APPLIED = ("created", "updated", "deleted")


@dataclass
class Outcome:
    """What one delivery amounts to."""

    delivery: Delivery
    changes: Sequence[Change]
    verdicts: list[Verdict]


class Applier:
    """Applies due deliveries.

    Args:
        sessions: PostgreSQL.
        blobs: where pictures given inline are kept.
        shop: what payloads leave out.
        on_written: called in the transaction that wrote products; nudges the workers.
        platforms: those that may have sent.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        blobs: BlobStore,
        shop: Shop,
        *,
        on_written: Callable[[Session], None],
        platforms: Sequence[Platform] = PLATFORMS,
    ) -> None:
        self._sessions = sessions
        self._blobs = blobs
        self._shop = shop
        self._on_written = on_written
        self._platforms = {platform.name: platform for platform in platforms}

    def run_due(self, stop: Callable[[], bool] = lambda: False) -> Counter[str]:
        """Apply what is due, batch by batch; how many deliveries met each verdict."""
        counts: Counter[str] = Counter()
        while not stop():
            numbers: list[int] = []
            try:
                with session_scope(self._sessions) as session:
                    due = claim_due(session, BATCH)
                    numbers = [one.id for one in due]
                    found = self._apply(session, due)
            except Exception as error:
                if not numbers:
                    raise
                log.info("deliveries_apart", deliveries=len(numbers), error=str(error).partition("\n")[0])
                found = Counter[str]()
                for number in numbers:
                    found.update(self._apply_alone(number))
            if not numbers:
                break
            counts.update(found)
        return counts

    def _apply_alone(self, number: int) -> Counter[str]:
        """Apply one delivery: what is wrong with it must not hold up the others of its batch."""
        try:
            with session_scope(self._sessions) as session:
                one = claim(session, number)
                return self._apply(session, [one] if one is not None else [])
        except OperationalError:
            raise  # PostgreSQL is away: nothing is wrong with the delivery
        except Exception as error:  # whatever it is, it is noted beside the delivery and tried again
            why = error.detail if isinstance(error, NotThereYet) else f"{type(error).__name__}: {error}"[:2000]
            log.warning("delivery_failed", delivery=number, exc_info=not isinstance(error, NotThereYet))
            with session_scope(self._sessions) as session:
                put_off(session, number, why.replace("\x00", ""), attempts=ATTEMPTS, pause=PAUSE)
            return Counter(failed=1)

    def _apply(self, session: Session, due: Sequence[Delivery]) -> Counter[str]:
        told = told_before(session, due)
        readable: list[Outcome] = []
        # as far as the shop says when things happened, they happen here in that order
        for one in sorted(due, key=lambda d: (d.triggered_at or d.received_at, d.id)):
            event = (one.source, one.event or "", one.body_hash)
            if one.event and (first := told.setdefault(event, one.id)) != one.id:
                _settle(one, "duplicate", f"delivery {first} told of the same event")
            else:
                readable += self._read(one)
        if readable:
            _Writing(session, self._blobs, readable).run()
        if any(verdict.status in _APPLIED for outcome in readable for verdict in outcome.verdicts):
            self._on_written(session)
        return Counter(one.verdict for one in due)

    def _read(self, one: Delivery) -> list[Outcome]:
        envelope = Envelope(one.topic, one.key, one.event, one.triggered_at, one.headers)
        try:
            platform = self._platforms.get(one.source)
            if platform is None:
                raise NotReadable("No platform has this name any more.", found=one.source)
            changes = platform.read(Received(envelope, one.body or b"", one.received_at), self._shop_of(one))
        except NotReadable as error:  # the same bytes will never be readable to this program
            found = f" Found: {error.found}." if error.found is not None else ""
            _settle(one, "parked", f"{error.detail}{found} Expected: {error.expected}.")
            return []
        if all(isinstance(change, Ignored) for change in changes):
            _settle(one, "ignored", "; ".join(change.reason for change in changes if isinstance(change, Ignored)))
            return []
        return [Outcome(one, [change for change in changes if not isinstance(change, Ignored)], [])]

    def _shop_of(self, one: Delivery) -> Shop:
        """The shop as it is set; else Shopify's own domain for it, which leads to the shop's pages."""
        domain = one.headers.get("x-shopify-shop-domain", "")
        return self._shop if self._shop.url or not domain else Shop(f"https://{domain}", self._shop.currency)


class _Writing:
    """Writes what readable deliveries say, in their order, products that follow one another in one go."""

    def __init__(self, session: Session, blobs: BlobStore, outcomes: Sequence[Outcome]) -> None:
        self._session = session
        self._blobs = blobs
        self._outcomes = outcomes
        self._together: list[tuple[Outcome, Write]] = []
        self._later = self._known_later()

    def run(self) -> None:
        for outcome in self._outcomes:
            for change in outcome.changes:
                self._do(outcome, change)
        self._flush()
        for outcome in self._outcomes:
            _judge(outcome)

    def _known_later(self) -> dict[tuple[str, datetime], datetime]:
        known: dict[tuple[str, datetime], datetime] = {}
        for source in {outcome.delivery.source for outcome in self._outcomes}:
            of_source = [outcome for outcome in self._outcomes if outcome.delivery.source == source]
            named = {product for outcome in of_source for product in map(_product, outcome.changes)}
            known |= last_triggered(self._session, source, sorted(named))
        return known

    def _do(self, outcome: Outcome, change: Change) -> None:
        product, at = _product(change), _dated(change)
        triggered = outcome.delivery.triggered_at
        later = self._later.get((product, at)) if at is not None else None
        if later is not None and triggered is not None and triggered < later:
            why = f"of {at}, as what is kept, but triggered at {triggered.isoformat()}, before {later.isoformat()}"
            outcome.verdicts.append(Verdict(product, "stale", why))
        elif isinstance(change, Write) and not change.keeps_variants:
            self._together.append((outcome, change))
        else:
            self._flush()
            outcome.verdicts.append(self._alone(change))

    def _alone(self, change: Change) -> Verdict:
        if isinstance(change, Delete):
            verdict = delete_product(self._session, change.id, change.at)
            self._forget_earlier_ids(change.replaces)
            return verdict
        if isinstance(change, WriteVariant):
            product = with_variant(self._session, change)
            if isinstance(product, Verdict):
                return product
            return upsert_products(self._session, [product], blobs=self._blobs)[0]
        assert isinstance(change, Write)  # noqa: S101  nothing else is left
        (whole,) = with_kept_currency(self._session, [with_kept_variants(self._session, change.product)])
        verdict = upsert_products(self._session, [whole], blobs=self._blobs)[0]
        self._forget_earlier_ids(change.replaces if verdict.status != "stale" else ())
        return verdict

    def _flush(self) -> None:
        """Write the products gathered so far."""
        products = with_kept_currency(self._session, [change.product for _, change in self._together])
        if not products:
            return
        verdicts = upsert_products(self._session, products, blobs=self._blobs)
        replaced: list[str] = []
        for (outcome, change), verdict in zip(self._together, verdicts, strict=True):
            outcome.verdicts.append(verdict)
            replaced += change.replaces if verdict.status not in ("stale", "rejected") else ()
        self._forget_earlier_ids(replaced)
        self._together = []

    def _forget_earlier_ids(self, replaced: Sequence[str]) -> None:
        if replaced:
            delete_products(self._session, sorted(set(replaced)))


def _product(change: Change) -> str:
    if isinstance(change, Write):
        return change.product.id
    return "" if isinstance(change, Ignored) else change.id


def _dated(change: Change) -> datetime | None:
    """The time that orders what ``change`` writes. A variant's does not order its product."""
    if isinstance(change, Write):
        return change.product.updated_at
    return change.at if isinstance(change, Delete) else None


def _judge(outcome: Outcome) -> None:
    """Give a delivery the verdict that its products' verdicts amount to."""
    statuses = Counter(verdict.status for verdict in outcome.verdicts)
    details = [verdict.detail for verdict in outcome.verdicts if verdict.detail]
    detail = details[0] if len(outcome.verdicts) == 1 and details else None
    if refused := statuses["rejected"]:
        detail = f"{refused} of {len(outcome.verdicts)} products refused: {details[0]}"
    applied = any(statuses[status] for status in _APPLIED)  # type: ignore[index]
    word = "parked" if refused else "applied" if applied else "stale" if statuses["stale"] else "unchanged"
    delivery = outcome.delivery
    delivery.results = [asdict(verdict) for verdict in outcome.verdicts]
    delivery.products = sorted({verdict.id for verdict in outcome.verdicts})
    delivery.dated = _dated(outcome.changes[0]) if len(outcome.changes) == 1 else None
    _settle(delivery, word, detail)


def _settle(delivery: Delivery, verdict: str, detail: str | None) -> None:
    delivery.verdict = verdict
    delivery.detail = detail
    delivery.attempts += 1
    delivery.processed_at = datetime.now().astimezone()
