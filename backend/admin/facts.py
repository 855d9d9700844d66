"""What is known of a shop's setup, read once from the settings, PostgreSQL and the broker."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.access.callers import Scope
from backend.access.keys import list_keys, normal_origin
from backend.admin.event_facts import events_state, exploration_state, running_experiments
from backend.admin.event_schemas import EventsState, ExperimentState, ExplorationState
from backend.admin.learning_facts import learning_state
from backend.admin.learning_schemas import LearningState
from backend.admin.schemas import CatalogueState, ImageCounts, IndexState, KeyState, Serving, ShopState, WebhookState
from backend.admin.webhook_facts import shop_state, webhook_states
from backend.catalog.captioning.repository import caption_status
from backend.catalog.captioning.schemas import CaptionerOut
from backend.catalog.image_rows import count_vectors
from backend.catalog.models import Product, ProductImage
from backend.generations.builds import progress, running_build
from backend.generations.due import count_products_due
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.settings import Settings
from backend.vector_index import LITE_VECTORS

DEMO_IDS = "demo-%"
"""Ids of the products that the demo shop is made of."""


@dataclass(frozen=True)
class Switch:
    """An index build that is being made: the source of its encoder, how many products it holds, and what it is for."""

    build: int
    source: str
    products: int
    total: int
    error: str | None
    adapted: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything the checklist looks at.

    Args:
        settings: of the API.
        worker: whether one answers; None where the broker does not.
        serving: what is live; None while nothing is.
        switch: the build that is being made, if there is one.
        index: where the vectors are.
        catalogue: what is for sale.
        captioner: that in use; None where captioning is off.
        webhooks: the platforms that may send.
        shop: the one whose list is compared at night, if one is named.
        keys: those that work.
        events: what came from shoppers in the last day.
        exploration: how many sessions explore.
        experiments: those that are running.
        learning: what the nights have come to.
    """

    settings: Settings
    worker: bool | None
    serving: Serving | None
    switch: Switch | None
    index: IndexState
    catalogue: CatalogueState
    captioner: CaptionerOut | None
    webhooks: tuple[WebhookState, ...]
    shop: ShopState | None
    keys: tuple[KeyState, ...]
    events: EventsState
    exploration: ExplorationState
    experiments: tuple[ExperimentState, ...]
    learning: LearningState

    @property
    def own_products(self) -> int:
        """Products that are not the demo's."""
        return self.catalogue.products - self.catalogue.of_the_demo

    @property
    def page_origins(self) -> frozenset[str]:
        """Origins of web pages, other than this server's own, that a storefront key lists."""
        listed = {origin for key in self.keys if key.scope == Scope.STOREFRONT for origin in key.origins}
        return frozenset(listed - {origin_of(self.settings)})


def gather(session: Session, settings: Settings, *, worker: bool | None, is_lite: bool) -> Facts:
    """The facts as they are now."""
    serving = _serving(session)
    return Facts(
        settings=settings,
        worker=worker,
        serving=serving,
        switch=_switch(session),
        index=IndexState(
            engine="Milvus Lite" if is_lite else "Milvus",
            vectors=count_vectors(session),
            serves_well=LITE_VECTORS if is_lite else None,
        ),
        catalogue=_catalogue(session, serving.build if serving else None),
        captioner=caption_status(session).current,
        webhooks=tuple(webhook_states(session, settings)),
        shop=shop_state(session, settings),
        keys=tuple(_keys(session)),
        events=events_state(session),
        exploration=exploration_state(session, settings),
        experiments=tuple(running_experiments(session)),
        learning=learning_state(session, settings),
    )


def origin_of(settings: Settings) -> str:
    """The web origin under which this server is reached."""
    if settings.public_url:
        parts = urlsplit(settings.public_url)
        return normal_origin(f"{parts.scheme}://{parts.netloc}")
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  only compared
    return normal_origin(f"http://{f'[{host}]' if ':' in host else host}:{settings.port}")


def _keys(session: Session) -> Iterator[KeyState]:
    for key in list_keys(session, revoked=False):
        yield KeyState(
            id=key.id,
            name=key.name,
            scope=key.scope,
            begins_with=key.prefix,
            origins=key.origins,
            rate_limit_per_minute=key.rate_limit_per_minute,
            created_at=key.created_at,
        )


def _serving(session: Session) -> Serving | None:
    row = session.execute(
        select(Generation, IndexBuild.id, EncoderRecord)
        .join(IndexBuild, IndexBuild.id == Generation.index_build_id)
        .join(EncoderRecord, EncoderRecord.id == IndexBuild.encoder_id)
        .where(Generation.state == "live")
    ).one_or_none()
    if row is None:
        return None
    generation, build, encoder = row
    return Serving(
        generation=f"g{generation.id}",
        encoder=encoder.id,
        drawings_only=encoder.drawings_only,
        build=build,
        live_at=generation.live_at,
    )


def _switch(session: Session) -> Switch | None:
    build = running_build(session)
    if build is None:
        return None
    known = progress(session, build) if build.encoder_id is not None else None
    return Switch(
        build=build.id,
        source=build.source or build.encoder_id or "",
        products=known.products if known else 0,
        total=known.total if known else count_products_due(session, None),
        error=build.error,
        adapted=build.adapted,
    )


def _catalogue(session: Session, build: int | None) -> CatalogueState:
    alive = select(func.count()).select_from(Product).where(Product.deleted_at.is_(None))
    states = (
        select(ProductImage.state, func.count())
        .join(Product, Product.number == ProductImage.product)
        .where(Product.deleted_at.is_(None))
        .group_by(ProductImage.state)
    )
    return CatalogueState(
        products=session.scalar(alive) or 0,
        of_the_demo=session.scalar(alive.where(Product.id.like(DEMO_IDS))) or 0,
        images=ImageCounts.model_validate(dict(session.execute(states).all())),
        waiting=count_products_due(session, build),
    )
