"""How a generation is to go live."""

from pydantic import BaseModel, ConfigDict, Field


class PromoteIn(BaseModel):
    """What goes with going live."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"guard": True}]})

    guard: bool = Field(
        default=False,
        description="Whether a few shoppers keep what is replaced, so that harm is seen and undone. "
        "Where no guard can begin, nothing goes live.",
    )
