"""What events are answered: a verdict on each."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.events.dialects.understood import Dialect
from backend.events.schemas import EVENT_EXAMPLE

Status = Literal["accepted", "duplicate", "rejected", "ignored"]
Code = Literal["invalid", "unknown_query_id", "too_old", "not_used"]


class EventVerdict(BaseModel):
    """What became of one event. ``code`` and ``detail`` say why one was rejected, or not used."""

    message_id: str | None
    status: Status
    code: Code | None = None
    detail: str | None = None


_TAKEN: dict[str, Any] = {"message_id": "m1", "status": "accepted", "code": None, "detail": None}


class EventVerdicts(BaseModel):
    """What became of each event, in the order in which they were sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted": 1,
                    "results": [
                        _TAKEN,
                        {
                            "message_id": "m2",
                            "status": "rejected",
                            "code": "unknown_query_id",
                            "detail": "no list has this id, or it is no longer kept: found 'q_gone'",
                        },
                    ],
                }
            ]
        }
    )

    accepted: int = Field(description="How many were new and are kept.")
    results: list[EventVerdict]


class Tracked(EventVerdicts):
    """The same, as the SDKs of Segment and RudderStack expect it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"success": True, "accepted": 1, "results": [_TAKEN]}]})

    success: bool = True


class EventOpinion(EventVerdict):
    """What would become of an event, and what it was understood as."""

    dialect: Dialect
    understood_as: dict[str, Any] | None = Field(
        None, description="The event in the native shape, with the time at which it is taken to have happened."
    )


class EventOpinions(BaseModel):
    """What would become of each event, in the order in which they were sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted": 1,
                    "results": [
                        {
                            "message_id": "ubi_0d6f6a0c4f5b7c0e9a54d9a1c3b1f6d2",
                            "status": "accepted",
                            "code": None,
                            "detail": None,
                            "dialect": "ubi",
                            "understood_as": EVENT_EXAMPLE,
                        }
                    ],
                }
            ]
        }
    )

    accepted: int = Field(description="How many would be kept.")
    results: list[EventOpinion]
