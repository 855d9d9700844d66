"""Refine policies over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from backend.access.dependencies import AdminCaller, SessionDep, SettingsDep
from backend.search.refinement.policies import NAME, POLICY, NamedPolicy, add_policy, find_policy, list_policies

router = APIRouter(prefix="/v1/refine-policies", tags=["refine policies"])

Name = Annotated[str, Field(pattern=NAME, examples=["gentle"])]

_EXAMPLE: dict[str, Any] = {
    "name": "gentle",
    "config": {"strategy": "auto", "drift_budget": 0.8, "likes": {"a": 1.0, "b": 0.5, "c": 0.2}},
    "actor": "search team",
    "created_at": "2026-11-21T09:00:00Z",
}


class PolicyIn(BaseModel):
    """A policy to add: its parameters, all or some of them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "gentle", "based_on": "auto", "config": {"drift_budget": 0.8}}]},
    )

    name: Name
    based_on: Name | None = Field(None, description="The policy whose parameters it takes where `config` says nothing.")
    config: dict[str, Any] = Field(default_factory=dict, description="Parameters; docs/feedback.md lists them.")


class PolicyRead(BaseModel):
    """A policy with all of its parameters. Those that are built in were added by nobody."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    config: dict[str, Any]
    actor: str | None
    created_at: datetime | None

    @classmethod
    def of(cls, one: NamedPolicy) -> "PolicyRead":
        """``one`` as it is shown."""
        config = POLICY.dump_python(one.policy, mode="json")
        return cls(name=one.name, config=config, actor=one.actor, created_at=one.created_at)


class PolicyList(BaseModel):
    """The policies there are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"in_use": "auto", "policies": [_EXAMPLE]}]})

    in_use: str = Field(description="The one that refinements follow: MORELIKE_REFINE_POLICY.")
    policies: list[PolicyRead]


@router.get("", operation_id="list_refine_policies")
def get_policies(_caller: AdminCaller, session: SessionDep, settings: SettingsDep) -> PolicyList:
    """The refine policies that are built in, then those that were added, and the one in use."""
    found = [PolicyRead.of(one) for one in list_policies(session)]
    return PolicyList(in_use=settings.refine_policy, policies=found)


@router.get("/{name}", operation_id="get_refine_policy")
def get_policy(_caller: AdminCaller, session: SessionDep, name: Annotated[Name, Path()]) -> PolicyRead:
    """One refine policy with all of its parameters."""
    return PolicyRead.of(find_policy(session, name))


@router.post("", operation_id="add_refine_policy", status_code=201)
def post_policy(body: PolicyIn, caller: AdminCaller, session: SessionDep) -> PolicyRead:
    """Add a refine policy. It never changes: another one needs another name."""
    return PolicyRead.of(add_policy(session, body.name, body.config, base=body.based_on, actor=caller.name))
