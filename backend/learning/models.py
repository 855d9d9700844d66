"""Nights: each run of the learning job, and how far each of its steps has come."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base


class NightlyRun(Base):
    """One night: what it was given, and what came of it."""

    __tablename__ = "nightly_runs"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    night: Mapped[date | None] = mapped_column(Date)  # of the schedule; null: asked for by somebody
    state: Mapped[str] = mapped_column(String(16), server_default="running")  # running, done, failed, cancelled
    outcome: Mapped[str | None] = mapped_column(String(16))  # promoted, ready, screening, unchanged, rolled_back
    reason: Mapped[str] = mapped_column(Text, server_default="")  # of the outcome, one sentence for people
    dry_run: Mapped[bool] = mapped_column(Boolean, server_default="false")
    item_heads: Mapped[bool] = mapped_column(Boolean, server_default="false")  # whether heads of items learn, too
    actor: Mapped[str] = mapped_column(String(120), server_default="")
    seed: Mapped[int] = mapped_column(BigInteger)
    window_from: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    window_to: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    production_id: Mapped[int | None] = mapped_column(BigInteger)  # generation that was live when it began
    generation_id: Mapped[int | None] = mapped_column(BigInteger)  # that it made
    options: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # thresholds and plans in use
    report: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    error: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index("uq_nightly_runs_night", "night", unique=True, postgresql_where=text("night IS NOT NULL")),
        Index("uq_nightly_runs_one_runs", "state", unique=True, postgresql_where=text("state = 'running'")),
    )


class NightlyStep(Base):
    """A step of a night; one that is done is never done again."""

    __tablename__ = "nightly_steps"

    run_id: Mapped[int] = mapped_column(ForeignKey("nightly_runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    place: Mapped[int] = mapped_column(SmallInteger)  # in their order, from 0
    state: Mapped[str] = mapped_column(String(16), server_default="pending")  # pending, running, done, failed, skipped
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    progress: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # {"what": …, "done": 3, "total": 10}
    result: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
