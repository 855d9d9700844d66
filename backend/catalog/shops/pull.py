"""A shop's list as a feed: what differs from the catalogue is fetched whole, the rest is only named."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.feeds.detect import Feed
from backend.catalog.feeds.drafts import Draft, Item, Seen
from backend.catalog.models import Product, Variant
from backend.catalog.schemas import Problem, Rejected
from backend.catalog.shops.client import ShopRefused
from backend.catalog.shops.listing import Change, Listed, Listing
from backend.catalog.shops.platform import Delete, NotReadable, Write
from backend.db import session_scope

BELIEVED = timedelta(hours=1)
"""A deletion younger than this is believed over a list that shows the product: lists come out of caches."""


@dataclass(frozen=True)
class Kept:
    """What the catalogue has under an id."""

    updated_at: datetime
    deleted_at: datetime | None
    variants: int


class Pull:
    """One reading of a shop.

    Args:
        sessions: PostgreSQL, to tell what differs.
        shop: its list.
        again: fetch and write every product, also those whose time of change is the one kept.
        on_page: called as the list is read.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        shop: Listing,
        *,
        again: bool = False,
        on_page: Callable[[int], None] | None = None,
    ) -> None:
        self._sessions = sessions
        self._shop = shop
        self._again = again
        self._on_page = on_page or (lambda _read: None)
        self._read = 0
        self._names: set[str] = set()
        self._formers: set[str] = set()

    def feed(self) -> Feed:
        """The shop's products as a feed that the importer reads."""
        return Feed(
            self._shop.url,
            self._shop.name,
            self._drafts(),
            lambda: self._read,
            self._shop.count(),
            as_of=self._shop.as_of,
            still_sold=self._shop.still_sold,
        )

    def _drafts(self) -> Iterator[Item]:
        self._formers = self._named_in_words()
        for page in self._shop.pages():
            listed = [one for one in page if isinstance(one, Listed)]
            self._must_go_on(listed)
            for one in page:
                if isinstance(one, NotReadable):
                    yield _rejected(self._read, None, one)
            kept = self._kept([one.id for one in listed])
            wanted = [one for one in listed if self._again or self._differs(one, kept.get(one.id))]
            named = {one.id for one in wanted}
            yield from (Seen(one.id) for one in listed if one.id not in named)
            for one, change in self._shop.changes(wanted):
                yield from self._drafts_of(one, change, kept.get(one.id))
            self._read += len(page)
            self._on_page(self._read)

    def _must_go_on(self, listed: Sequence[Listed]) -> None:
        """A list whose pages repeat has no end: something between the shop and here answers without reading."""
        before = len(self._names)
        self._names.update(one.id for one in listed)
        if listed and len(self._names) == before:
            raise ShopRefused(
                "The shop's list repeats itself.", found=f"a page of {len(listed)} known products", expected="others"
            )

    def _kept(self, ids: Sequence[str]) -> Mapping[str, Kept]:
        with session_scope(self._sessions) as session:
            variants = select(func.count()).where(Variant.product == Product.number).scalar_subquery()
            rows = session.execute(
                select(Product.id, Product.updated_at, Product.deleted_at, variants).where(Product.id.in_(ids))
            ).all()
        return {product_id: Kept(*rest) for product_id, *rest in rows}

    def _named_in_words(self) -> set[str]:
        """Ids that are no platform's numbers: products that a file brought under another name."""
        with session_scope(self._sessions) as session:
            rows = select(Product.id).where(Product.deleted_at.is_(None), Product.id.regexp_match("[^0-9]"))
            return set(session.scalars(rows))

    def _differs(self, listed: Listed, kept: Kept | None) -> bool:
        if kept is None or listed.updated_at is None or listed.updated_at > kept.updated_at:
            return True
        return self._is_back(kept) or _has_other_variants(listed, kept)

    def _is_back(self, kept: Kept) -> bool:
        """Whether the shop sells again what was deleted here before."""
        return kept.deleted_at is not None and kept.deleted_at < self._shop.as_of - BELIEVED

    def _drafts_of(self, listed: Listed, change: Change, kept: Kept | None) -> Iterator[Item]:
        if isinstance(change, NotReadable):
            yield _rejected(self._read, listed.id, change)
        elif isinstance(change, Delete):
            if kept is not None and kept.deleted_at is None:
                yield Draft(self._read, {"id": change.id, "deleted": True, "updated_at": change.at})
        else:
            yield from self._written(listed, change, kept)

    def _written(self, listed: Listed, change: Write, kept: Kept | None) -> Iterator[Item]:
        product = change.product
        values = product.model_dump(exclude={"images"}, exclude_none=True)
        values["images"] = [image.url for image in product.images]
        known = kept is not None and (self._is_back(kept) or _has_other_variants(listed, kept))
        if product.updated_at is None or (known and product.updated_at <= self._shop.as_of):
            values["updated_at"] = self._shop.as_of  # it is so now, whenever it was last changed
        yield Draft(self._read, values)
        yield from (Draft(self._read, {"id": one, "deleted": True}) for one in change.replaces if one in self._formers)


def _has_other_variants(listed: Listed, kept: Kept) -> bool:
    return listed.variants is not None and kept.deleted_at is None and listed.variants != kept.variants


def _rejected(line: int, product_id: str | None, error: NotReadable) -> Rejected:
    return Rejected(line, product_id, [Problem("", error.found, f"{error.detail} {error.expected or ''}".strip())])
