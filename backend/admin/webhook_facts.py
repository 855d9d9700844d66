"""What arrived from each shop platform, what became of it, and how the shop's list was compared last."""

from collections.abc import Iterator

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from backend.admin.schemas import ShopState, WebhookState
from backend.catalog.models import ImportRun
from backend.catalog.shops.platforms import PLATFORMS
from backend.catalog.shops.reconcile import stopped_by
from backend.catalog.webhooks.inbox import secrets_by_source
from backend.catalog.webhooks.models import Delivery
from backend.settings import Settings

REPAIRS = ("created", "updated", "deleted")
"""What a comparison does to products that differ."""


def webhook_states(session: Session, settings: Settings) -> Iterator[WebhookState]:
    """Each platform that may send, whether or not it is listened to."""
    known = secrets_by_source(settings)
    # what was not signed may come from anybody, and says nothing of whether the shop still sends
    arrived = select(Delivery.source, func.max(Delivery.received_at)).where(Delivery.verdict != "rejected")
    last = dict(session.execute(arrived.group_by(Delivery.source)).all())
    counts: dict[str, dict[str, int]] = {}
    since = Delivery.received_at > func.now() - text("interval '24 hours'")
    counted = select(Delivery.source, Delivery.verdict, func.count()).where(since)
    for source, verdict, count in session.execute(counted.group_by(Delivery.source, Delivery.verdict)):
        counts.setdefault(source, {})[verdict] = count
    base = (settings.public_url or "").rstrip("/")
    for platform in PLATFORMS:
        yield WebhookState(
            source=platform.name,
            url=f"{base}/v1/webhooks/{platform.name}" if base else None,
            has_secret=bool(known.get(platform.name)),
            last_at=last.get(platform.name),
            last_day=counts.get(platform.name, {}),
        )


def shop_state(session: Session, settings: Settings) -> ShopState | None:
    """The shop that is compared at night; None where no shop is named."""
    if settings.shop_url is None:
        return None
    compared = select(ImportRun).where(ImportRun.mode == "reconcile").order_by(ImportRun.id.desc()).limit(1)
    last = session.scalars(compared).first()
    return ShopState(
        url=settings.shop_url,
        compared_at=settings.reconcile_at,
        last_at=last.started_at if last else None,
        last_finished=last is not None and last.finished_at is not None,
        last_problem=stopped_by(last) if last else None,
        last_counts={name: count for name, count in last.counts.items() if name in REPAIRS} if last else {},
    )
