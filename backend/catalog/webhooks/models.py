"""Deliveries as they came."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base


class Delivery(Base):
    """One delivery of a shop's webhook: its bytes, and what became of them.

    ``waiting`` and ``failed`` ones are due when ``due_at`` has come; the other verdicts are final until somebody
    replays the delivery. A ``rejected`` one was not signed: nothing of its body is kept.
    """

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    source: Mapped[str] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(500))
    body_hash: Mapped[str] = mapped_column(String(64))
    topic: Mapped[str] = mapped_column(String(200))
    event: Mapped[str | None] = mapped_column(String(200))
    headers: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    size: Mapped[int] = mapped_column(Integer)  # bytes of the body
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    triggered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))  # by the shop's clock
    repeats: Mapped[int] = mapped_column(Integer, server_default="0")
    repeated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    verdict: Mapped[str] = mapped_column(String(12), server_default="waiting")
    detail: Mapped[str | None] = mapped_column(Text)
    results: Mapped[list[Any]] = mapped_column(server_default="[]")  # {id, status, detail} of each product
    products: Mapped[list[str]] = mapped_column(ARRAY(String), server_default="{}")
    dated: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))  # the time that ordered what it wrote
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    processed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        # a rejected delivery claims no key: what strangers send must not keep the shop's own out
        Index(
            "uq_deliveries_key",
            "source",
            "key",
            "body_hash",
            unique=True,
            postgresql_where=text("verdict <> 'rejected'"),
        ),
        Index("ix_deliveries_due", "due_at", postgresql_where=text("verdict IN ('waiting', 'failed')")),
        Index("ix_deliveries_event", "event", postgresql_where=text("event IS NOT NULL")),
        Index("ix_deliveries_products", "products", postgresql_using="gin"),
        Index("ix_deliveries_verdict", "verdict", "id"),
        Index("ix_deliveries_received_at", "received_at"),
    )
