"""Generations as people look at them: with their builds, and with what their heads say of themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from backend.errors import NotFound
from backend.generations.models import Generation, IndexBuild
from backend.ml.head_files import read_header

_HEADER = 8192  # bytes at the beginning of heads in which they say what they are; all of them may be megabytes


@dataclass(frozen=True)
class ListedGeneration:
    """A generation, its build, and how much each of their heads changes.

    Args:
        generation: without its query heads.
        build: without its item heads.
        heads: α and γ (``ml/heads.py``) of each head that is not the identity; by side, such as ``query_text``.
    """

    generation: Generation
    build: IndexBuild
    heads: dict[str, dict[str, float]]


def list_generations(session: Session, limit: int) -> Sequence[ListedGeneration]:
    """The newest generations, newest first."""
    return [_listed(*row) for row in session.execute(_rows().order_by(Generation.id.desc()).limit(limit))]


def one_generation(session: Session, generation_id: int) -> ListedGeneration:
    """The generation of this number.

    Raises:
        NotFound: there is none.
    """
    row = session.execute(_rows().where(Generation.id == generation_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no generation g{generation_id}", found=f"g{generation_id}")
    return _listed(*row)


def _rows() -> Select[Generation, IndexBuild, bytes, bytes]:
    heads = (func.substring(column, 1, _HEADER) for column in (Generation.query_heads, IndexBuild.item_heads))
    return select(Generation, IndexBuild, *heads).join(IndexBuild, IndexBuild.id == Generation.index_build_id)


def _listed(generation: Generation, build: IndexBuild, queries: bytes | None, items: bytes | None) -> ListedGeneration:
    heads = {
        f"{of}_{side}": blend
        for of, stated in (("query", queries), ("item", items))
        if stated is not None
        for side, blend in sorted(read_header(bytes(stated))["heads"].items(), reverse=True)
    }
    return ListedGeneration(generation, build, heads)
