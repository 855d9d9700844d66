"""How a generation is to go live, and what came of it."""

from pydantic import BaseModel, ConfigDict, Field

from backend.generations.schemas import LiveChange


class PromoteIn(BaseModel):
    """What goes with going live."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"guard": True}]})

    guard: bool = Field(
        default=False,
        description="Whether a few shoppers keep what is replaced, so that harm is seen and undone. "
        "Where no guard can begin, nothing goes live.",
    )


class Promotion(LiveChange):
    """Which generation is live now, and what guards it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"live": "g7", "guard": "e12"}]})

    guard: str | None = Field(description="The experiment that guards it; null where none was asked for.")
