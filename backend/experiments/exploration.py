"""How many sessions explore, and how: one row that every process follows; what it costs at most."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.access.audit import record
from backend.experiments.models import Exploration
from backend.experiments.schemas import ExplorationIn, Strict
from backend.ml.clicks.exploration import ExplorationPolicy, cost_bound

PAGE = 24
"""Hits of a page that costs are stated for: as many as a search shows unless it asks for another number."""

_EXAMPLE: dict[str, Any] = {
    "share": 0.05,
    "policy": ExplorationPolicy().to_json(),
    "cost": {"page": PAGE, "of_a_list": 0.0112, "of_all": 0.00056},
    "actor": "search team",
    "at": "2026-11-21T09:00:00Z",
}


class ExplorationChange(Strict):
    """What is to change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"share": 0.02}, {"policy": {"pair_share": 1}}]})

    share: float | None = Field(None, ge=0, le=1, description="Of sessions; 0 switches it off.")
    policy: ExplorationIn | None = Field(None, description="Takes the place of the whole policy.")


class ExplorationCost(BaseModel):
    """The most that exploring costs, as a share of the DCG of a page, for any relevance that falls with the rank."""

    page: int = Field(description="Hits of a page that this is said of.")
    of_a_list: float = Field(description="Of a list that explores, over its coins.")
    of_all: float = Field(description="Of all lists together: that, times the share of sessions.")


class ExplorationRead(BaseModel):
    """How many sessions explore, and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    share: float
    policy: dict[str, float | int]
    cost: ExplorationCost
    actor: str | None = Field(description="Who last changed it; null: it is as MORELIKE_EXPLORATION_SHARE says.")
    at: datetime | None

    @classmethod
    def of(cls, row: Exploration | None, default_share: float) -> Self:
        """The row as shown; without one, the defaults."""
        policy = ExplorationPolicy(**(row.policy if row else {}))
        share = row.share if row else default_share
        bound = cost_bound(PAGE, policy).share
        cost = ExplorationCost(page=PAGE, of_a_list=bound, of_all=share * bound)
        return cls(
            share=share,
            policy=policy.to_json(),
            cost=cost,
            actor=row.actor if row else None,
            at=row.at if row else None,
        )


def read_exploration(session: Session, default_share: float) -> ExplorationRead:
    """What is in use; ``default_share`` is that of the settings."""
    return ExplorationRead.of(session.get(Exploration, 1), default_share)


def change_exploration(
    session: Session, asked: ExplorationChange, *, default_share: float, actor: str
) -> ExplorationRead:
    """Change the share, the policy, or both; every process follows within seconds."""
    first = insert(Exploration).values(id=1, share=default_share, actor=actor[:120]).on_conflict_do_nothing()
    session.execute(first)
    row = session.get_one(Exploration, 1, with_for_update=True)
    if asked.share is not None:
        row.share = asked.share
    if asked.policy is not None:
        row.policy = asked.policy.policy().to_json()
    row.actor, row.at = actor[:120], func.now()
    details = {"share": row.share, "policy": row.policy}
    session.flush()
    record(session, actor=actor, action="exploration.changed", subject="exploration", details=details)
    session.refresh(row)
    return ExplorationRead.of(row, default_share)
