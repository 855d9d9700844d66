"""How many products a search for keywords in the titles would find: what the shop's page compares itself with."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.catalog.models import Product


def count_titles(session: Session, text: str) -> int:
    """Products whose title contains every word of ``text``, as PostgreSQL's English text search understands words.

    ``lexemes`` holds the title's words among others and has an index, so only what passes it is looked at again.
    """
    query = func.plainto_tsquery("english", text)
    statement = (
        select(func.count())
        .select_from(Product)
        .where(
            Product.deleted_at.is_(None),
            Product.lexemes.op("@@")(query),
            func.to_tsvector("english", Product.title).op("@@")(query),
        )
    )
    return session.scalar(statement) or 0
