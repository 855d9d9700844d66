"""Generations as administrators read them."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from backend.generations.models import Generation, IndexBuild

GENERATION_EXAMPLE: dict[str, Any] = {
    "id": "g7",
    "state": "live",
    "encoder": "demo@1f0c9be77a12",
    "build": 2,
    "image_collection": "images_b2",
    "caption_collection": "captions_b2",
    "calibration": {"caption_weight": 0.5, "products": 2400},
    "data_range": {},
    "gate_report": {},
    "code_version": "0.1.0",
    "created_at": "2026-11-21T02:00:00Z",
    "live_at": "2026-11-21T02:04:00Z",
}


class GenerationRead(BaseModel):
    """One generation: what it searches with, and its state."""

    model_config = ConfigDict(json_schema_extra={"examples": [GENERATION_EXAMPLE]})

    id: str = Field(description="Name of the generation, as in the `generation` of a search's answer.")
    state: str = Field(description="trained, ready, live, retired, rejected or failed.")
    encoder: str = Field(description="Name and weights of the frozen encoder.")
    build: int = Field(description="Number of the index build; generations that differ in query heads only share one.")
    image_collection: str
    caption_collection: str
    calibration: dict[str, Any] = Field(description="Weight of captions, and scales of both sides' cosines.")
    data_range: dict[str, Any] = Field(description="What it was trained on; empty for one that was not trained.")
    gate_report: dict[str, Any] = Field(description="What each gate measured.")
    code_version: str
    created_at: datetime
    live_at: datetime | None = Field(description="When it last went live.")

    @classmethod
    def of(cls, generation: Generation, build: IndexBuild) -> Self:
        """The generation as shown."""
        return cls(
            id=f"g{generation.id}",
            state=generation.state,
            encoder=build.encoder_id,
            build=build.id,
            image_collection=build.image_collection,
            caption_collection=build.caption_collection,
            calibration=generation.calibration,
            data_range=generation.data_range,
            gate_report=generation.gate_report,
            code_version=generation.code_version,
            created_at=generation.created_at,
            live_at=generation.live_at,
        )


class GenerationList(BaseModel):
    """Generations, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"generations": [GENERATION_EXAMPLE]}]})

    generations: list[GenerationRead]
