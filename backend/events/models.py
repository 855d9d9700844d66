"""What was shown and what was done with it. Positions come from served lists, never from a client."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base
from backend.events.query_ids import day_of

TODAY = text("((now() AT TIME ZONE 'utc')::date)")
"""The day it is, as PostgreSQL sees it; days are those of UTC everywhere."""


def _day_of_its_id(context: DefaultExecutionContext) -> date:
    return day_of(context.get_current_parameters()["query_id"])  # type: ignore[no-untyped-call]


class UnitKey(Base):
    """Secret of this installation under which shoppers' and sessions' ids are hashed; the newest one is in use.

    Older ones stay until the rows hashed under them expire, so that a shopper's rows can be found and deleted.
    """

    __tablename__ = "unit_keys"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ServedList(Base):
    """One immutable list that was served: the request that made it, under which generation, and why that one."""

    __tablename__ = "served_lists"

    query_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    served_on: Mapped[date] = mapped_column(Date, primary_key=True, default=_day_of_its_id)  # the day its id names
    parent_id: Mapped[str | None] = mapped_column(String(32))
    root_id: Mapped[str | None] = mapped_column(String(32))  # the first list of its session; null: it is the first
    turn: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    generation_id: Mapped[int] = mapped_column(BigInteger)
    experiments: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # as answered: {"e3": "g8"}
    assignment: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # by layer: bucket, arm, kind of unit
    coins: Mapped[dict[str, Any] | None] = mapped_column()  # of a randomised list: its policy, and what was tossed
    request: Mapped[dict[str, Any]] = mapped_column()  # text, image hash, product id, filters, sort, lexical
    refinement: Mapped[dict[str, Any] | None] = mapped_column()  # the turns that led to it, as inputs; what came of it
    total: Mapped[int] = mapped_column(Integer)
    total_is: Mapped[str] = mapped_column(String(8))
    shopper_id: Mapped[str | None] = mapped_column(String(100))  # hashed under a unit key, never as given
    session_id: Mapped[str | None] = mapped_column(String(100))  # likewise
    user_id: Mapped[str | None] = mapped_column(String(100))  # likewise, of one who is signed in
    surface: Mapped[str | None] = mapped_column(String(16))
    device: Mapped[str | None] = mapped_column(String(16))
    query_type: Mapped[str | None] = mapped_column(String(16))
    locale: Mapped[str | None] = mapped_column(String(16))
    cohort: Mapped[str | None] = mapped_column(String(32))
    layout: Mapped[str | None] = mapped_column(String(8))  # grid or list
    columns: Mapped[int | None] = mapped_column(SmallInteger)  # hits in one row of the grid
    is_bot: Mapped[bool] = mapped_column(Boolean, server_default="false")
    latency_ms: Mapped[float | None] = mapped_column(REAL)  # from the request to the writing of the list
    served_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        Index("ix_served_lists_served_at", "served_at"),
        Index("ix_served_lists_root_id", "root_id", postgresql_where=text("root_id IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (served_on)"},
    )


class ServedPage(Base):
    """One page of a served list: products in the order shown, the first at ``first_position`` (1-based)."""

    __tablename__ = "served_pages"

    query_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    served_on: Mapped[date] = mapped_column(Date, primary_key=True, default=_day_of_its_id)
    first_position: Mapped[int] = mapped_column(Integer, primary_key=True)
    product_ids: Mapped[list[str]] = mapped_column(ARRAY(String))
    scores: Mapped[list[float]] = mapped_column(ARRAY(Float))
    p_show: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))  # of each product at its place; null: not known
    candidates: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))  # numbers, before anything was randomised
    candidate_scores: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))
    served_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = ({"postgresql_partition_by": "RANGE (served_on)"},)


class EventId(Base):
    """Ids of messages that were accepted, so that one that is sent again counts once; pruned by age."""

    __tablename__ = "event_ids"

    message_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("ix_event_ids_received_at", "received_at"),)


class Event(Base):
    """What a shopper did; one row for each product that a message names."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    received_on: Mapped[date] = mapped_column(Date, primary_key=True, server_default=TODAY)
    message_id: Mapped[str] = mapped_column(String(100))
    item: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # place in the message's items, from 0
    type: Mapped[str] = mapped_column(String(24))
    query_id: Mapped[str | None] = mapped_column(String(32))
    product_id: Mapped[str | None] = mapped_column(String(256))
    shopper_id: Mapped[str | None] = mapped_column(String(100))  # hashed under a unit key, never as given
    session_id: Mapped[str | None] = mapped_column(String(100))  # likewise
    user_id: Mapped[str | None] = mapped_column(String(100))  # likewise, of one who is signed in
    value: Mapped[float | None] = mapped_column(Float)  # -1 to 1, of a judgement
    dwell_ms: Mapped[int | None] = mapped_column(Integer)
    image: Mapped[int | None] = mapped_column(SmallInteger)
    box: Mapped[list[float] | None] = mapped_column(ARRAY(Float))  # x1, y1, x2, y2, 0 to 1 on the picture
    visible_share: Mapped[float | None] = mapped_column(REAL)  # of its area, 0 to 1
    visible_ms: Mapped[int | None] = mapped_column(Integer)
    columns: Mapped[int | None] = mapped_column(SmallInteger)  # hits in one row of the grid, as it was drawn
    quantity: Mapped[int | None] = mapped_column(Integer)
    price: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))  # of one, after discount
    currency: Mapped[str | None] = mapped_column(String(3))
    surface: Mapped[str | None] = mapped_column(String(16))
    device: Mapped[str | None] = mapped_column(String(16))
    next_query_id: Mapped[str | None] = mapped_column(String(32))  # of a reformulation: the list that came instead
    attributes: Mapped[dict[str, Any] | None] = mapped_column()
    is_bot: Mapped[bool] = mapped_column(Boolean, server_default="false")
    attribution: Mapped[str] = mapped_column(String(8), server_default="given")  # given, joined, none, pending
    source: Mapped[str] = mapped_column(String(8))  # client, ubi, segment, or refine: written by the server
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        Index("ix_events_query_id", "query_id"),
        Index("ix_events_received_at", "received_at"),
        Index("ix_events_shopper_id", "shopper_id", "product_id", postgresql_where=text("shopper_id IS NOT NULL")),
        Index("ix_events_user_id", "user_id", "product_id", postgresql_where=text("user_id IS NOT NULL")),
        Index("ix_events_pending", "received_at", postgresql_where=text("attribution = 'pending'")),
        {"postgresql_partition_by": "RANGE (received_on)"},
    )


class EventCount(Base):
    """How many events had which verdict within an hour."""

    __tablename__ = "event_counts"

    hour: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    status: Mapped[str] = mapped_column(String(16), primary_key=True)
    code: Mapped[str] = mapped_column(String(32), primary_key=True, server_default="")
    n: Mapped[int] = mapped_column(BigInteger, server_default="0")


class RefusedEvent(Base):
    """An event that was refused, as it came; the newest of them are kept."""

    __tablename__ = "refused_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    code: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text)
    payload: Mapped[str] = mapped_column(Text)  # its first 2 KB
    key_id: Mapped[int | None] = mapped_column(BigInteger)
    origin: Mapped[str | None] = mapped_column(String(300))


class BotUnit(Base):
    """A shopper or session whose doings are not a person's; never learned from."""

    __tablename__ = "bot_units"

    unit: Mapped[str] = mapped_column(String(100), primary_key=True)  # as hashed in events and lists
    reason: Mapped[str] = mapped_column(String(200))
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Erasure(Base):
    """That a shopper's rows were deleted, and which generations had been made from days that held some."""

    __tablename__ = "erasures"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    units: Mapped[list[str]] = mapped_column(ARRAY(Text))  # hashes
    generations: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")
    counts: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    actor: Mapped[str] = mapped_column(String(120), server_default="")
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
