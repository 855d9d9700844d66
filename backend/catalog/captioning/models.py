"""Captioners, what each of them said of each picture, and how far products are captioned."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Date, DateTime, ForeignKey, Index, Integer, SmallInteger, String, Text, func
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base


class CaptionerRecord(Base):
    """A captioner that was used here: its model and its prompts. Another prompt makes another captioner.

    The current one is that of the worker that started last. ``next_at`` is when its next request may be sent, by
    whichever worker; until ``paused_until`` none is, and ``reason`` says why.
    """

    __tablename__ = "captioners"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # <name>@<first 12 of the hash of all of it>
    kind: Mapped[str] = mapped_column(String(8))  # openai, coca
    model: Mapped[str] = mapped_column(String(400))
    prompts: Mapped[dict[str, Any]] = mapped_column()
    pictures: Mapped[int] = mapped_column(Integer)  # of a product, the first ones; 0 is all
    current: Mapped[bool] = mapped_column(Boolean, server_default="false")
    next_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    paused_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reason: Mapped[str | None] = mapped_column(Text)
    failures: Mapped[int] = mapped_column(Integer, server_default="0")  # pauses since something was last said
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("uq_captioners_current", "current", unique=True, postgresql_where=sql("current")),)


class GeneratedCaption(Base):
    """What one captioner says of one picture, whichever products show it: asked for once.

    States: ``pending`` (to be asked for when ``due_at`` has come), ``ready`` (``text`` is kept), ``parked`` (given
    up on; ``error`` says why; an administrator may retry it).
    """

    __tablename__ = "generated_captions"

    captioner_id: Mapped[str] = mapped_column(ForeignKey("captioners.id"), primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)
    state: Mapped[str] = mapped_column(String(8), server_default="pending")
    text: Mapped[str | None] = mapped_column(Text)
    text_hash: Mapped[str | None] = mapped_column(String(64))
    turns: Mapped[list[Any]] = mapped_column(server_default="[]")  # each prompt that was sent with its answer
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    written_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index(
            "ix_generated_captions_due",
            "captioner_id",
            "created_at",
            postgresql_where=sql("state = 'pending'"),
        ),
    )


class CaptionMark(Base):
    """How a product was when its captions were last brought up to its pictures; it is due while either differs."""

    __tablename__ = "caption_marks"

    product: Mapped[int] = mapped_column(ForeignKey("products.number", ondelete="CASCADE"), primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    plan: Mapped[str] = mapped_column(String(48))  # the captioner and how many pictures


class CaptionRequests(Base):
    """Requests sent to the captioner's endpoint on one day (UTC), by all workers."""

    __tablename__ = "caption_requests"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    requests: Mapped[int] = mapped_column(Integer)
