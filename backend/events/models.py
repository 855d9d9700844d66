"""What was shown and what was done with it. Positions come from served lists, never from a client."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base


class UnitKey(Base):
    """Secret of this installation under which shoppers' and sessions' ids are hashed; the newest one is in use.

    Older ones stay until the rows hashed under them expire, so that a shopper's rows can be found and deleted.
    """

    __tablename__ = "unit_keys"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ServedList(Base):
    """One immutable list that was served: the request that made it, and under which generation."""

    __tablename__ = "served_lists"

    query_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    parent_id: Mapped[str | None] = mapped_column(String(32))
    root_id: Mapped[str | None] = mapped_column(String(32))  # the first list of its session; null: it is the first
    turn: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    generation_id: Mapped[int] = mapped_column(BigInteger)
    experiments: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    request: Mapped[dict[str, Any]] = mapped_column()  # text, image hash, product id, filters, sort, lexical
    refinement: Mapped[dict[str, Any] | None] = mapped_column()  # the turns that led to it, as inputs; what came of it
    total: Mapped[int] = mapped_column(Integer)
    total_is: Mapped[str] = mapped_column(String(8))
    shopper_id: Mapped[str | None] = mapped_column(String(100))  # hashed under a unit key, never as given
    session_id: Mapped[str | None] = mapped_column(String(100))  # likewise
    surface: Mapped[str | None] = mapped_column(String(16))
    device: Mapped[str | None] = mapped_column(String(16))
    query_type: Mapped[str | None] = mapped_column(String(16))
    served_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        Index("ix_served_lists_served_at", "served_at"),
        Index("ix_served_lists_root_id", "root_id", postgresql_where=text("root_id IS NOT NULL")),
    )


class ServedPage(Base):
    """One page of a served list: products in the order shown, the first at ``first_position`` (1-based)."""

    __tablename__ = "served_pages"

    query_id: Mapped[str] = mapped_column(ForeignKey("served_lists.query_id", ondelete="CASCADE"), primary_key=True)
    first_position: Mapped[int] = mapped_column(Integer, primary_key=True)
    product_ids: Mapped[list[str]] = mapped_column(ARRAY(String))
    scores: Mapped[list[float]] = mapped_column(ARRAY(Float))
    served_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class EventId(Base):
    """Ids of messages that were accepted, so that one that is sent again counts once; pruned by age."""

    __tablename__ = "event_ids"

    message_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("ix_event_ids_received_at", "received_at"),)


class Event(Base):
    """What a shopper did with a product of a served list."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    message_id: Mapped[str] = mapped_column(String(100))
    type: Mapped[str] = mapped_column(String(24))
    query_id: Mapped[str | None] = mapped_column(String(32))  # the list may not be recorded yet: joined at night
    product_id: Mapped[str | None] = mapped_column(String(256))
    shopper_id: Mapped[str | None] = mapped_column(String(100))  # hashed under a unit key, never as given
    session_id: Mapped[str | None] = mapped_column(String(100))  # likewise
    value: Mapped[float | None] = mapped_column(Float)  # -1 to 1, of a judgement
    dwell_ms: Mapped[int | None] = mapped_column(Integer)
    image: Mapped[int | None] = mapped_column(SmallInteger)
    box: Mapped[list[float] | None] = mapped_column(ARRAY(Float))  # x1, y1, x2, y2, 0 to 1 on the picture
    source: Mapped[str] = mapped_column(String(8))  # client, or refine: written by the server
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("ix_events_query_id", "query_id"), Index("ix_events_received_at", "received_at"))
