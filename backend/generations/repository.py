"""SQL of encoders, index builds and generations."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session

from backend.generations.heads import read_item_heads
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.ml.heads import ItemHeads

WRITABLE_STATES = ("building", "ready")
"""States of a build in which every change of the catalogue is written to it."""

GENERATIONS_LOCK = 0x6D6F7267
"""Advisory lock under which generations and builds change their state."""

INDEX_LOCK = 0x6D6F7269
"""Advisory lock of whoever writes to the index: Milvus Lite calls concurrent writers unsafe."""


@dataclass(frozen=True)
class Build:
    """An index build as its writers need it: whose features go into which collections, through which heads."""

    id: int
    encoder_id: str
    dim: int
    image_collection: str
    caption_collection: str
    item_heads: bytes | None

    @property
    def collections(self) -> tuple[str, str]:
        """Both collections, images first."""
        return self.image_collection, self.caption_collection

    @property
    def heads(self) -> ItemHeads:
        """What raw vectors go through on their way into the collections.

        Raises:
            ValueError: the bytes are damaged, or of another encoder.
        """
        return read_item_heads(self.item_heads, self.encoder_id)


def lock_generations(session: Session) -> None:
    """Let one transaction at a time change what is live; the others wait and then see its outcome."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": GENERATIONS_LOCK})


def lock_index(session: Session) -> None:
    """Be the only writer of the index until this transaction ends. What is read after this cannot be outdated."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": INDEX_LOCK})


def writable_builds(session: Session, *, but_at: Sequence[str] = ("open", "create")) -> list[Build]:
    """Builds that every change of the catalogue is written to, once their collections are made; oldest first.

    Args:
        session: where they are read.
        but_at: steps at which a build that is being made is left out.
    """
    statement = _builds().where(IndexBuild.state.in_(WRITABLE_STATES), IndexBuild.step.not_in(but_at))
    return [_build(record, encoder) for record, encoder in session.execute(statement.order_by(IndexBuild.id))]


def live_build(session: Session) -> Build | None:
    """Build that the live generation searches."""
    statement = _builds().join(Generation, Generation.index_build_id == IndexBuild.id).where(Generation.state == "live")
    row = session.execute(statement).one_or_none()
    return _build(row[0], row[1]) if row else None


def live_generation(session: Session) -> Generation | None:
    """The generation that serves."""
    return session.scalars(select(Generation).where(Generation.state == "live")).one_or_none()


def ranks_as(one: Generation, other: Generation) -> bool:
    """Whether both rank alike: a calibration that is measured anew makes another generation of the same heads."""
    same = one.index_build_id == other.index_build_id and one.query_heads == other.query_heads
    return one.id == other.id or same


def newest_ready(session: Session, build_id: int) -> Generation | None:
    """The newest generation of a build that waits to go live."""
    ready = select(Generation).where(Generation.index_build_id == build_id, Generation.state == "ready")
    return session.scalars(ready.order_by(Generation.id.desc()).limit(1)).first()


def is_written(session: Session, build: Build) -> bool:
    """Whether changes of the catalogue are still written to ``build``."""
    state = session.scalar(select(IndexBuild.state).where(IndexBuild.id == build.id))
    return state in WRITABLE_STATES


def get_build(session: Session, build_id: int) -> Build:
    """One build whose encoder is known."""
    return _build(*session.execute(_builds().where(IndexBuild.id == build_id)).one())


def new_build(session: Session, *, state: str, step: str) -> IndexBuild:
    """A build with the next number, and collections named after it."""
    number = session.scalars(select(func.nextval(func.pg_get_serial_sequence("index_builds", "id")))).one()
    build = IndexBuild(
        id=number,
        state=state,
        step=step,
        image_collection=f"images_b{number}",
        caption_collection=f"captions_b{number}",
    )
    session.add(build)
    return build


def live_encoder(session: Session) -> EncoderRecord | None:
    """Encoder of the live generation."""
    statement = select(EncoderRecord).join(IndexBuild, IndexBuild.encoder_id == EncoderRecord.id)
    statement = statement.join(Generation, Generation.index_build_id == IndexBuild.id)
    return session.scalars(statement.where(Generation.state == "live")).one_or_none()


def is_live(session: Session, encoder_id: str) -> bool:
    """Whether the live generation searches with this encoder; so does the first one, before there is any."""
    live = live_encoder(session)
    return live is None or live.id == encoder_id


def encoders_in_use(session: Session) -> list[EncoderRecord]:
    """Encoders of the builds that are written, the live one first: a rollback, too, needs its encoder at once."""
    builds = select(IndexBuild.encoder_id).where(IndexBuild.state.in_(WRITABLE_STATES))
    found = session.scalars(select(EncoderRecord).where(EncoderRecord.id.in_(builds))).all()
    live = live_encoder(session)
    return sorted(found, key=lambda encoder: (live is None or encoder.id != live.id, encoder.id))


def _builds() -> Select[IndexBuild, EncoderRecord]:
    return select(IndexBuild, EncoderRecord).join(EncoderRecord, EncoderRecord.id == IndexBuild.encoder_id)


def _build(record: IndexBuild, encoder: EncoderRecord) -> Build:
    return Build(
        id=record.id,
        encoder_id=encoder.id,
        dim=encoder.dim,
        image_collection=record.image_collection,
        caption_collection=record.caption_collection,
        item_heads=record.item_heads,
    )
