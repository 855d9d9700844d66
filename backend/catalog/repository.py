"""Writing products: in bulk, in any order, any number of times, with the newest ``updated_at`` winning."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.blobs import BlobStore
from backend.catalog.children import Children, children_of, write_children
from backend.catalog.content import CONTENT_COLUMNS, Content, content_of, refusal
from backend.catalog.models import Product
from backend.catalog.schemas import ProductIn, Verdict

CLOCK_TOLERANCE = timedelta(days=1)
"""A shop's clock may be ahead by this; a time further off would make every later update stale."""

_products = cast(Table, Product.__table__)


def upsert_products(
    session: Session, products: Sequence[ProductIn], *, blobs: BlobStore, now: datetime | None = None
) -> list[Verdict]:
    """Create or replace ``products``; one verdict each, in their order.

    A product whose content is the same is ``unchanged`` and not indexed again; one whose ``updated_at`` is older than
    what is kept is ``stale``. A product without ``updated_at`` counts as written now. Images and captions that stay
    keep their rows, so that a change of price or stock never embeds again.
    """
    now = now or datetime.now(UTC)
    verdicts: dict[int, Verdict] = {}
    for wave in _waves(products):
        contents: dict[str, Content] = {}
        for place in wave:
            content = content_of(products[place], now=now, blobs=blobs)
            if (why := _refused(content, now)) is not None:
                verdicts[place] = Verdict(content.id, "rejected", why)
            else:
                contents[content.id] = content
        written = _write(session, contents, undated={products[i].id for i in wave if products[i].updated_at is None})
        verdicts |= {place: written[products[place].id] for place in wave if place not in verdicts}
    return [verdicts[place] for place in range(len(products))]


def delete_product(session: Session, product_id: str, at: datetime | None = None) -> Verdict:
    """Delete one product: ``deleted``, ``stale``, ``unchanged`` (deleted before) or ``missing``.

    With ``at`` the deletion of a product never seen is kept too, so that its creation, arriving late, does not
    bring it to life.
    """
    if at is not None and at > datetime.now(UTC) + CLOCK_TOLERANCE:
        return Verdict(product_id, "rejected", _ahead(at))
    if at is not None:
        tombstone = {"id": product_id, "title": "", "updated_at": at, "deleted_at": at}
        added = session.execute(
            insert(_products).values(tombstone).on_conflict_do_nothing().returning(_products.c.number)
        ).first()
        if added is not None:
            return Verdict(product_id, "deleted", "the product was not known; the deletion is remembered")
    return delete_products(session, [product_id], at=at)[0]


def delete_products(session: Session, ids: Sequence[str], *, at: datetime | None = None) -> list[Verdict]:
    """Delete ``ids`` as of ``at`` (now, when none); a product updated later than ``at`` stays and is ``stale``.

    The rows stay as tombstones. A later creation revives them, together with images and captions already embedded.
    """
    kept = {
        row.id: row
        for row in session.execute(
            select(_products.c.id, _products.c.number, _products.c.updated_at, _products.c.deleted_at)
            .where(_products.c.id.in_(ids))
            .order_by(_products.c.id)
            .with_for_update()
        )
    }
    verdicts: list[Verdict] = []
    numbers: list[int] = []
    dates: list[tuple[int, datetime]] = []
    for product_id in ids:
        row = kept.pop(product_id, None)
        if row is None:
            verdicts.append(Verdict(product_id, "missing", "no product has this id"))
        elif row.deleted_at is not None:
            verdicts.append(Verdict(product_id, "unchanged", "deleted before"))
            if at is not None and at > row.updated_at:
                dates.append((row.number, at))
        elif at is not None and at < row.updated_at:
            verdicts.append(Verdict(product_id, "stale", _older(at, row.updated_at)))
        else:
            verdicts.append(Verdict(product_id, "deleted"))
            numbers.append(row.number)
    _bury(session, numbers, at or datetime.now(UTC))
    _redate(session, dates)
    return verdicts


def _bury(session: Session, numbers: Sequence[int], at: datetime) -> None:
    if numbers:
        session.execute(
            update(_products)
            .where(_products.c.number.in_(numbers))
            .values(
                deleted_at=at,
                updated_at=func.greatest(_products.c.updated_at, at),
                revision=_products.c.revision + 1,
            )
        )


def _waves(products: Sequence[ProductIn]) -> Iterator[list[int]]:
    """Places of ``products`` in groups that name each id once, so that a group is written in one statement."""
    left = list(range(len(products)))
    while left:
        seen: set[str] = set()
        wave: list[int] = []
        later: list[int] = []
        for place in left:
            (later if products[place].id in seen else wave).append(place)
            seen.add(products[place].id)
        yield wave
        left = later


def _refused(content: Content, now: datetime) -> str | None:
    return _ahead(content.updated_at) if content.updated_at > now + CLOCK_TOLERANCE else refusal(content)


def _ahead(at: datetime) -> str:
    return f"updated_at {at.isoformat()} found; expected a time not more than a day ahead of this server's clock"


def _older(found: datetime, kept: datetime) -> str:
    return f"updated_at {found.isoformat()} is older than what is kept, {kept.isoformat()}"


def _write(session: Session, contents: Mapping[str, Content], *, undated: set[str]) -> dict[str, Verdict]:
    """Write ``contents``. Rows are inserted and locked in the order of ids, so that two writers cannot deadlock."""
    created = _insert_new(session, contents)
    kept = _lock(session, sorted(contents.keys() - created.keys()))
    had = children_of(session, [row["number"] for row in kept.values()])
    verdicts = {product_id: Verdict(product_id, "created") for product_id in created}
    changes: list[tuple[int, Content, Children]] = [(n, contents[i], Children()) for i, n in created.items()]
    rows, dates = [], []
    for product_id, row in kept.items():
        content, children = contents[product_id], had[row["number"]]
        verdict = _compare(row, children, content, dated=product_id not in undated)
        verdicts[product_id] = verdict
        later = max(content.updated_at, row["updated_at"])
        if verdict.status in ("created", "updated"):
            rows.append(content.columns | {"id": product_id, "number": row["number"], "updated_at": later})
            changes.append((row["number"], content, children))
        elif verdict.status == "unchanged":
            dates.append((row["number"], later))
    _replace(session, rows)
    _redate(session, dates)
    write_children(session, changes)
    return verdicts


def _compare(row: Mapping[str, Any], children: Children, content: Content, *, dated: bool) -> Verdict:
    """What writing ``content`` over what is kept amounts to."""
    buried = row["deleted_at"] is not None
    older = content.updated_at < row["updated_at"] or (buried and content.updated_at == row["updated_at"])
    if dated and older:
        return Verdict(content.id, "stale", _older(content.updated_at, row["updated_at"]))
    if buried:
        return Verdict(content.id, "created", "it had been deleted")
    same = all(same_value(row[column], content.columns[column]) for column in CONTENT_COLUMNS)
    return Verdict(content.id, "unchanged" if same and children.hold(content) else "updated")


def same_value(kept: Any, sent: Any) -> bool:
    """Equality that tells ``True`` from ``1``, inside lists and attributes too."""
    if isinstance(kept, dict) and isinstance(sent, dict):
        return kept.keys() == sent.keys() and all(same_value(kept[name], sent[name]) for name in kept)
    if isinstance(kept, list) and isinstance(sent, list):
        return len(kept) == len(sent) and all(map(same_value, kept, sent))
    return isinstance(kept, bool) == isinstance(sent, bool) and bool(kept == sent)


def _insert_new(session: Session, contents: Mapping[str, Content]) -> dict[str, int]:
    """Insert those of ``contents`` that no row has; (id -> number) of the rows this call made."""
    known = set(session.scalars(select(_products.c.id).where(_products.c.id.in_(list(contents)))))
    rows = [
        contents[i].columns | {"id": i, "updated_at": contents[i].updated_at} for i in sorted(contents.keys() - known)
    ]
    if not rows:
        return {}
    statement = insert(_products).on_conflict_do_nothing().returning(_products.c.id, _products.c.number)
    return {row.id: row.number for row in session.execute(statement, rows)}


def _lock(session: Session, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    if not ids:
        return {}
    columns = [_products.c[name] for name in ("id", "number", "updated_at", "deleted_at", *CONTENT_COLUMNS)]
    statement = select(*columns).where(_products.c.id.in_(ids)).order_by(_products.c.id).with_for_update()
    return {row["id"]: dict(row) for row in session.execute(statement).mappings()}


def _replace(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    """Write whole rows over those of the same ``number``, in one statement, and let the index find them due."""
    if not (rows := list(rows)):
        return
    statement = insert(_products)
    changed: dict[str, Any] = {name: statement.excluded[name] for name in (*CONTENT_COLUMNS, "updated_at")}
    changed |= {"deleted_at": None, "revision": _products.c.revision + 1}
    session.execute(statement.on_conflict_do_update(index_elements=["number"], set_=changed), rows)


_REDATE = text(
    "UPDATE products SET updated_at = dated.at "
    "FROM unnest(CAST(:numbers AS bigint[]), CAST(:times AS timestamptz[])) AS dated(number, at) "
    "WHERE products.number = dated.number AND products.updated_at < dated.at"
)


def _redate(session: Session, dates: Sequence[tuple[int, datetime]]) -> None:
    """Keep the newest time at which unchanged content was confirmed: an older write that arrives later is stale."""
    if dates:
        numbers, times = zip(*dates, strict=True)
        session.execute(_REDATE, {"numbers": list(numbers), "times": list(times)})
