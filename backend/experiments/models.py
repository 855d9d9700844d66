"""Experiments and what decides who is in which. Units are keyed hashes, never ids as given."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, Integer, SmallInteger, String, func
from sqlalchemy.dialects.postgresql import REAL
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base


class Layer(Base):
    """A salt under which units fall into 10,000 buckets; a unit is in at most one experiment of a layer."""

    __tablename__ = "layers"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    salt: Mapped[str] = mapped_column(String(64))
    salt_version: Mapped[int] = mapped_column(Integer, server_default="1")
    hashing: Mapped[str] = mapped_column(String(8), server_default="sha256")  # or fnv_v2, for clients that bucket


class Experiment(Base):
    """Arms between which units are divided, and who takes part."""

    __tablename__ = "experiments"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    layer: Mapped[str] = mapped_column(ForeignKey("layers.name"))
    method: Mapped[str] = mapped_column(String(16))  # ab, interleave
    metric: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), server_default="draft")  # draft, running, stopped, concluded
    entry_salt: Mapped[str] = mapped_column(String(64))
    arm_salt: Mapped[str] = mapped_column(String(64))
    traffic: Mapped[float] = mapped_column(REAL, server_default="1")  # share of the layer that its slices are
    slices: Mapped[list[Any]] = mapped_column(server_default="[]")  # [[from, to), …] of the layer's buckets
    coverage: Mapped[float] = mapped_column(REAL)  # 0 to 1, of the units in its slices
    targeting: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    arms: Mapped[list[Any]] = mapped_column(server_default="[]")
    revision: Mapped[int] = mapped_column(BigInteger, server_default="1")
    decision: Mapped[dict[str, Any] | None] = mapped_column()
    purpose: Mapped[str] = mapped_column(String(16), server_default="")  # of one that a night began: guard, screen
    results: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # as they were looked at last
    actor: Mapped[str] = mapped_column(String(120), server_default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class ExperimentOverride(Base):
    """A unit that is put into an arm by hand."""

    __tablename__ = "experiment_overrides"

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    unit: Mapped[str] = mapped_column(String(100), primary_key=True)
    arm: Mapped[str] = mapped_column(String(64))


class StickyArm(Base):
    """The arm that a signed-in shopper had first, which they keep on whatever device they come."""

    __tablename__ = "sticky_arms"

    unit: Mapped[str] = mapped_column(String(100), primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    arm: Mapped[str] = mapped_column(String(64))
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("ix_sticky_arms_experiment_id", "experiment_id"),)


class Exploration(Base):
    """The share of sessions whose lists explore, and how; one row."""

    __tablename__ = "exploration"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default="1", autoincrement=False)
    share: Mapped[float] = mapped_column(REAL)
    policy: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # what differs from the default policy
    actor: Mapped[str] = mapped_column(String(120), server_default="")
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
