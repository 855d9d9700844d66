"""What is due: products an index build does not hold as they are, and what its encoder has not seen of them.

A product is due for a build while the revision in ``index_rows`` is not its own. Everything an encoder has to look at
belongs to a due product, because a picture that becomes ready and a caption that changes grow the revision; so no
query here walks over what is done. The most recently written products come first (``age(xmin)`` counts transactions
since the row's last write): a change made in the middle of a large import does not wait for its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.generations.repository import Build, writable_builds

Kind = Literal["image", "text"]

# Every look-up here is a scalar subquery, or one behind OFFSET 0, which PostgreSQL never turns into a join: it goes
# through an index for each row. As a join it was planned from statistics of a minute ago, when `features` was still
# empty, and 20,000 products took minutes.
_DUE = """
    FROM products p
    WHERE CASE WHEN p.deleted_at IS NULL
        THEN (SELECT r.revision FROM index_rows r WHERE r.index_build_id = :build AND r.product = p.number)
             IS DISTINCT FROM p.revision
        ELSE (SELECT true FROM index_rows r WHERE r.index_build_id = :build AND r.product = p.number)
        END
"""

_UNSEEN_IMAGES = """
    FROM product_images c
    WHERE c.product = p.number AND c.state = 'ready' AND (
        SELECT true FROM features f
        WHERE f.encoder_id = :encoder AND f.kind = 'image' AND f.subject = c.content_hash) IS NULL AND (
        SELECT true FROM refusals f
        WHERE f.encoder_id = :encoder AND f.kind = 'image' AND f.subject = c.content_hash) IS NULL
"""

_UNSEEN_CAPTIONS = """
    FROM captions c
    WHERE c.product = p.number AND c.error IS NULL AND (
        SELECT true FROM features f
        WHERE f.encoder_id = :encoder AND f.kind = 'text' AND f.subject = c.text_hash) IS NULL AND (
        SELECT true FROM refusals f
        WHERE f.encoder_id = :encoder AND f.kind = 'text' AND f.subject = c.text_hash) IS NULL
"""

_UNSEEN = {
    kind: text(f"""
        SELECT u.subject, min(u.caption) AS caption, min(age(p.xmin)) AS age
        FROM (SELECT p.number, p.xmin {_DUE} AND p.deleted_at IS NULL OFFSET 0) AS p,
             LATERAL (SELECT {columns} {where} OFFSET 0) AS u
        GROUP BY u.subject ORDER BY age, u.subject LIMIT :limit
    """)  # noqa: S608  constants only
    for kind, columns, where in (
        ("image", "c.content_hash AS subject, NULL::text AS caption", _UNSEEN_IMAGES),
        ("text", "c.text_hash AS subject, c.text AS caption", _UNSEEN_CAPTIONS),
    )
}

# sorted first, so that only as many products are looked into as are asked for
_INDEXABLE = text(f"""
    SELECT p.number FROM (SELECT p.number, p.deleted_at {_DUE} ORDER BY age(p.xmin), p.number OFFSET 0) AS p
    WHERE p.deleted_at IS NOT NULL OR (
        (SELECT true {_UNSEEN_IMAGES} LIMIT 1) IS NULL AND (SELECT true {_UNSEEN_CAPTIONS} LIMIT 1) IS NULL)
    LIMIT :limit
""")  # noqa: S608  constants only

_DUE_BEHIND = text(f"SELECT p.number {_DUE} AND p.number > :after ORDER BY p.number LIMIT :limit")

_IMAGES_DUE = text("""
    SELECT EXISTS (
        SELECT FROM product_images i JOIN products p ON p.number = i.product
        WHERE i.state = 'pending' AND i.due_at <= now() AND p.deleted_at IS NULL)
""")

_PRODUCTS_DUE = text(f"SELECT EXISTS (SELECT {_DUE})")

_COUNT_DUE = text(f"SELECT count(*) {_DUE}")

_BEHIND = text(f"""
    SELECT count(*) {_DUE} AND CASE WHEN p.deleted_at IS NULL
        THEN (SELECT r.revision FROM index_rows r WHERE r.index_build_id = :ahead AND r.product = p.number) = p.revision
        ELSE (SELECT true FROM index_rows r WHERE r.index_build_id = :ahead AND r.product = p.number) IS NULL
        END
""")  # noqa: S608  constants only

_SEEN = text("SELECT subject FROM features WHERE encoder_id = :encoder AND kind = :kind AND subject = ANY(:subjects)")


@dataclass(frozen=True)
class Subject:
    """Something an encoder has to look at once: the bytes ``key`` is the hash of, or the text."""

    key: str
    text: str | None


def unseen(session: Session, build: Build, kind: Kind, limit: int) -> list[Subject]:
    """Images or captions of due products that have no features yet, those of the freshest products first."""
    values = {"build": build.id, "encoder": build.encoder_id, "limit": limit}
    return [Subject(row.subject, row.caption) for row in session.execute(_UNSEEN[kind], values)]


def indexable(session: Session, build: Build, limit: int) -> list[int]:
    """Numbers of due products whose ready images and captions all have features, the freshest first."""
    values = {"build": build.id, "encoder": build.encoder_id, "limit": limit}
    return list(session.execute(_INDEXABLE, values).scalars())


def due_behind(session: Session, build: Build, after: int, limit: int) -> list[int]:
    """Due products with numbers above ``after``, in ascending order, whatever their features."""
    return list(session.execute(_DUE_BEHIND, {"build": build.id, "after": after, "limit": limit}).scalars())


def anything_due(session: Session) -> bool:
    """Whether there is something to do now: an image to fetch, a product to embed or to index in any build."""
    return images_due(session) or any(products_due(session, build) for build in writable_builds(session))


def images_due(session: Session) -> bool:
    """Whether there is an image to fetch now."""
    return bool(session.execute(_IMAGES_DUE).scalar())


def products_due(session: Session, build: Build) -> bool:
    """Whether there is a product that ``build`` does not hold as it is."""
    return bool(session.execute(_PRODUCTS_DUE, {"build": build.id}).scalar())


def count_behind(session: Session, build_id: int, ahead_id: int) -> int:
    """Products that the build ``ahead_id`` holds as they are and the build ``build_id`` does not."""
    return session.execute(_BEHIND, {"build": build_id, "ahead": ahead_id}).scalar() or 0


def count_products_due(session: Session, build_id: int | None) -> int:
    """Products that a build does not hold as they are; all that are not deleted where there is no build yet."""
    return session.execute(_COUNT_DUE, {"build": build_id}).scalar() or 0


def seen_among(session: Session, encoder_id: str, kind: Kind, subjects: Sequence[str]) -> set[str]:
    """Those of ``subjects`` that have features by now."""
    values = {"encoder": encoder_id, "kind": kind, "subjects": list(subjects)}
    return set(session.execute(_SEEN, values).scalars())
