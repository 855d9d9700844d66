"""Bringing the captions of products to what is said of their pictures, product by product.

A product is due while its ``caption_marks`` row names another revision or another plan than now: so a new picture, a
picture that became ready, another captioner and another number of pictures are all found by one question, and nothing
that a crash interrupted is forgotten. What the current captioner has not said yet stands in by what another said of the
same picture before: search keeps its captions while they are written anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.models import Product
from backend.db import session_scope

ALIGN_LOCK = 0x6D6F7263
"""Advisory lock of whoever looks for due products: two workers would only do the same work twice."""

ALIGN_CHUNK = 2000
"""Products aligned in one transaction."""


@dataclass(frozen=True)
class Plan:
    """Whose captions products should have: a captioner's, of the first ``pictures`` pictures of each; 0 means all.

    While captioning is off, nothing ``asks``: what was said before stays, and goes with its picture.
    """

    captioner_id: str
    pictures: int
    asks: bool = True

    @property
    def name(self) -> str:
        """What a mark keeps of it."""
        return f"{self.captioner_id}/{self.pictures}"


_DUE = """
    FROM products p WHERE p.deleted_at IS NULL AND (
        SELECT m.revision FROM caption_marks m WHERE m.product = p.number AND m.plan = :plan
    ) IS DISTINCT FROM p.revision
"""

# what was parked has no picture to show and gives its place to the next one; what is pending keeps it
_PICTURES = """
    SELECT s.product, s.content_hash FROM (
        SELECT i.product, i.content_hash, i.state,
            row_number() OVER (PARTITION BY i.product ORDER BY i.position) AS place
        FROM product_images i WHERE i.product = ANY(:numbers) AND i.state <> 'parked'
    ) s WHERE s.state = 'ready' AND (:pictures = 0 OR s.place <= :pictures)
"""

_WANTED = f"""
    SELECT DISTINCT s.product, said.captioner_id AS source, said.text_hash, said.text
    FROM ({_PICTURES}) s, LATERAL (
        SELECT g.captioner_id, g.text_hash, g.text FROM generated_captions g
        WHERE g.content_hash = s.content_hash AND g.state = 'ready'
        ORDER BY g.captioner_id = :captioner DESC, g.written_at DESC LIMIT 1
    ) said
"""  # noqa: S608  constants only

_ASK = text(f"""
    INSERT INTO generated_captions (captioner_id, content_hash)
    SELECT :captioner, s.content_hash FROM (SELECT DISTINCT content_hash FROM ({_PICTURES}) x) s
    ORDER BY s.content_hash ON CONFLICT DO NOTHING
""")  # noqa: S608

_REMOVE = text(f"""
    DELETE FROM captions c WHERE c.product = ANY(:numbers) AND strpos(c.source, '@') > 0 AND NOT EXISTS (
        SELECT FROM ({_WANTED}) w WHERE w.product = c.product AND w.source = c.source AND w.text_hash = c.text_hash)
    RETURNING c.product
""")  # noqa: S608

_ADD = text(f"""
    INSERT INTO captions (product, source, text, text_hash)
    SELECT w.product, w.source, w.text, w.text_hash FROM ({_WANTED}) w
    ON CONFLICT (product, source, text_hash) DO NOTHING RETURNING product
""")  # noqa: S608

_REVISE = text("UPDATE products SET revision = revision + 1 WHERE number = ANY(:numbers)")

_MARK = text("""
    INSERT INTO caption_marks (product, revision, plan)
    SELECT p.number, p.revision, :plan FROM products p WHERE p.number = ANY(:numbers)
    ON CONFLICT (product) DO UPDATE SET revision = excluded.revision, plan = excluded.plan
""")

# scalar subqueries go through an index for each row, whatever PostgreSQL believes to know about tables that just grew
SHOWN = """(
    SELECT true FROM product_images i
    WHERE i.content_hash = g.content_hash AND i.state = 'ready'
        AND (SELECT p.deleted_at IS NULL FROM products p WHERE p.number = i.product)
    LIMIT 1)
"""
"""A picture that no product shows any more is neither asked about nor counted; ``g`` is its row."""

_PICTURES_DUE = text(f"""
    SELECT EXISTS (
        SELECT FROM generated_captions g JOIN captioners c ON c.id = g.captioner_id
        WHERE c.id = :captioner AND c.current AND coalesce(c.paused_until <= now(), true)
        AND g.state = 'pending' AND g.due_at <= now() AND {SHOWN})
""")  # noqa: S608

_LIST_DUE = text(f"SELECT p.number {_DUE} ORDER BY age(p.xmin), p.number LIMIT :limit")
_ANY_DUE = text(f"SELECT EXISTS (SELECT {_DUE})")
_COUNT_DUE = text(f"SELECT count(*) {_DUE}")


def align_all(sessions: sessionmaker[Session], plan: Plan, stop: Callable[[], bool]) -> int:
    """Align all due products, chunk by chunk; how many there were."""
    aligned = 0
    while not stop():
        with session_scope(sessions) as session:
            done = align_due(session, plan, ALIGN_CHUNK)
        aligned += done
        if done < ALIGN_CHUNK:
            break
    return aligned


def align_due(session: Session, plan: Plan, limit: int) -> int:
    """Align up to ``limit`` due products, those written last first; how many there were."""
    if not session.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": ALIGN_LOCK}).scalar():
        return 0
    numbers = list(session.execute(_LIST_DUE, {"plan": plan.name, "limit": limit}).scalars())
    if numbers:
        align(session, plan, numbers)
    return len(numbers)


def align(session: Session, plan: Plan, numbers: Sequence[int]) -> None:
    """Ask for the captions that pictures of the products ``numbers`` lack, and give the products those that are there.

    A product whose captions change has a new revision, so that the index takes it up.
    """
    # locked in the order of ids, as every writer of products does
    session.execute(select(Product.number).where(Product.number.in_(numbers)).order_by(Product.id).with_for_update())
    values = {"numbers": list(numbers), "captioner": plan.captioner_id, "pictures": plan.pictures}
    if plan.asks:
        session.execute(_ASK, values)
    changed = {*session.execute(_REMOVE, values).scalars(), *session.execute(_ADD, values).scalars()}
    if changed:
        session.execute(_REVISE, {"numbers": sorted(changed)})
    session.execute(_MARK, {"numbers": list(numbers), "plan": plan.name})


def products_due(session: Session, plan: Plan) -> bool:
    """Whether a product's captions may differ from what its pictures call for."""
    return bool(session.execute(_ANY_DUE, {"plan": plan.name}).scalar())


def count_products_unaligned(session: Session, plan: Plan) -> int:
    """Products whose pictures were not looked at yet as they are now."""
    return session.execute(_COUNT_DUE, {"plan": plan.name}).scalar() or 0


def pictures_due(session: Session, plan: Plan) -> bool:
    """Whether there is a picture to ask about now, and nothing that holds it up."""
    return plan.asks and bool(session.execute(_PICTURES_DUE, {"captioner": plan.captioner_id}).scalar())
