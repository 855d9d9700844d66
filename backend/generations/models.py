"""Encoders, index builds, what each build's collections hold, and the generations that serve."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, column_property, mapped_column

from backend.db import Base


class EncoderRecord(Base):
    """A frozen encoder that was used here: its name and the hash of its weights."""

    __tablename__ = "encoders"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)  # <name>@<first 12 of weights_hash>
    name: Mapped[str] = mapped_column(String(400))
    weights_hash: Mapped[str] = mapped_column(String(64))
    dim: Mapped[int] = mapped_column(Integer)
    source: Mapped[str | None] = mapped_column(String(1000))  # what opens it; null: it was never asked for by source
    drawings_only: Mapped[bool] = mapped_column(Boolean, server_default="false")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class IndexBuild(Base):
    """(encoder, item heads) and the two collections filled with them. Heads that are null are the identity.

    While it is ``building``, ``step`` says what is done next (``build.py``); its encoder is known once ``source`` was
    opened.
    """

    __tablename__ = "index_builds"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    encoder_id: Mapped[str | None] = mapped_column(ForeignKey("encoders.id"))
    source: Mapped[str | None] = mapped_column(String(1000))
    item_heads: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)  # read where it is used: up to 2 MB
    adapted: Mapped[bool] = column_property(item_heads.is_not(None))
    image_collection: Mapped[str] = mapped_column(String(120), unique=True)
    caption_collection: Mapped[str] = mapped_column(String(120), unique=True)
    state: Mapped[str] = mapped_column(String(16))  # building, ready, dropped, failed
    step: Mapped[str] = mapped_column(String(16), server_default="done")
    promote: Mapped[bool] = mapped_column(Boolean, server_default="false")  # go live once it is ready
    actor: Mapped[str] = mapped_column(String(120), server_default="")  # who asked for it
    error: Mapped[str | None] = mapped_column(Text)
    report: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # what its verification measured
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    ready_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    emptied_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))  # dropped and nothing is left of it


class IndexRow(Base):
    """What one build's collections hold of one product: the revision written and the row keys in each collection."""

    __tablename__ = "index_rows"

    index_build_id: Mapped[int] = mapped_column(ForeignKey("index_builds.id", ondelete="CASCADE"), primary_key=True)
    product: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    image_keys: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")
    caption_keys: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")
    written_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Generation(Base):
    """(index build, query heads, calibration, summarizer, provenance): immutable but for its state, once it is ready.

    One that is ``trained`` waits for its build; its calibration and summarizer come with that.
    """

    __tablename__ = "generations"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    index_build_id: Mapped[int] = mapped_column(ForeignKey("index_builds.id"))
    query_heads: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)  # read where it is used
    calibration: Mapped[dict[str, Any]] = mapped_column()
    summarizer_id: Mapped[int | None] = mapped_column(ForeignKey("summarizers.id"))
    feedback: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # fitted for relevance feedback
    data_range: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    gate_report: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    code_version: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(16))  # trained, ready, live, retired, rejected, failed
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    live_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    retired_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    replaced: Mapped[int | None] = mapped_column(ForeignKey("generations.id"))  # where a rollback of it leads

    __table_args__ = (Index("uq_generations_one_live", "state", unique=True, postgresql_where=text("state = 'live'")),)


class SummarizerRecord(Base):
    """Weights of an attentive summarizer that was trained for one encoder; generations name the one they use."""

    __tablename__ = "summarizers"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    encoder_id: Mapped[str] = mapped_column(ForeignKey("encoders.id"))
    weights_hash: Mapped[str] = mapped_column(String(64))
    weights: Mapped[bytes] = mapped_column(LargeBinary)  # safetensors; its header carries the configuration
    report: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # what its training measured
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (UniqueConstraint("encoder_id", "weights_hash"),)


class Refusal(Base):
    """An image or text that an encoder cannot embed although the live one did: its builds do without it."""

    __tablename__ = "refusals"

    encoder_id: Mapped[str] = mapped_column(ForeignKey("encoders.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)  # image or text
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    refused_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class GenerationPin(Base):
    """A reason why a generation is kept ready to serve beside the live one: ``holdout``, or an experiment (``e3``)."""

    __tablename__ = "generation_pins"

    generation_id: Mapped[int] = mapped_column(ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True)
    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
