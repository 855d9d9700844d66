"""Generations and index builds as administrators read them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from backend.generations.builds import Progress, Use
from backend.generations.listing import ListedGeneration
from backend.generations.models import IndexBuild
from backend.generations.promote import why_not

_GATES = ("adapter", "night")
"""Gates of trained heads, by their names in a generation's report."""

GENERATION_EXAMPLE: dict[str, Any] = {
    "id": "g7",
    "state": "live",
    "encoder": "demo@1f0c9be77a12",
    "build": 2,
    "image_collection": "images_b2",
    "caption_collection": "captions_b2",
    "heads": {"query_text": {"alpha": 0.2, "gamma": 1.0}},
    "calibration": {"caption_weight": 0.5, "products": 2400},
    "data_range": {"pairs": 5200, "products": 2400},
    "gate_report": {"adapter": {"passed": True, "reasons": []}},
    "gate_passed": True,
    "reasons": [],
    "code_version": "0.1.0",
    "created_at": "2026-11-21T02:00:00Z",
    "live_at": "2026-11-21T02:04:00Z",
    "retired_at": None,
    "replaced": "g3",
}

BUILD_EXAMPLE: dict[str, Any] = {
    "id": 2,
    "state": "building",
    "step": "backfill",
    "live": False,
    "source": "local-dir:/srv/encoders/ViT-B-32-laion2b_s34b_b79k",
    "encoder": "ViT-B-32:laion2b_s34b_b79k@5e2ad1c0a9f4",
    "adapted": False,
    "image_collection": "images_b2",
    "caption_collection": "captions_b2",
    "promote": True,
    "progress": {"products": 1200, "total": 6500},
    "used_by": [],
    "error": None,
    "report": {},
    "created_at": "2026-11-21T01:30:00Z",
    "ready_at": None,
    "emptied_at": None,
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
    heads: dict[str, dict[str, float]] = Field(
        description="Heads that are not the identity, by side (query_text, query_image, item_image, item_caption): "
        "`alpha`, the share of what was learned, and `gamma`, what the gate scaled that by."
    )
    data_range: dict[str, Any] = Field(description="What it was trained on; empty for one that was not trained.")
    gate_report: dict[str, Any] = Field(description="What each gate measured.")
    gate_passed: bool | None = Field(
        description="What the gate of its adapter, or of its night, said; null where none was trained."
    )
    reasons: list[str] = Field(description="What keeps it from going live; none where nothing does.")
    code_version: str
    created_at: datetime
    live_at: datetime | None = Field(description="When it last went live.")
    retired_at: datetime | None = Field(description="When it last stepped down.")
    replaced: str | None = Field(description="The generation that a rollback of this one leads to.")

    @classmethod
    def of(cls, listed: ListedGeneration) -> Self:
        """The generation as shown."""
        generation, build = listed.generation, listed.build
        return cls(
            id=f"g{generation.id}",
            state=generation.state,
            encoder=build.encoder_id or "",
            build=build.id,
            image_collection=build.image_collection,
            caption_collection=build.caption_collection,
            calibration=generation.calibration,
            heads=listed.heads,
            data_range=generation.data_range,
            gate_report=generation.gate_report,
            gate_passed=next(
                (passed for one in _GATES if (passed := generation.gate_report.get(one, {}).get("passed")) is not None),
                None,
            ),
            reasons=why_not(generation, build),
            code_version=generation.code_version,
            created_at=generation.created_at,
            live_at=generation.live_at,
            retired_at=generation.retired_at,
            replaced=f"g{generation.replaced}" if generation.replaced else None,
        )


class GenerationList(BaseModel):
    """Generations, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"generations": [GENERATION_EXAMPLE]}]})

    generations: list[GenerationRead]


class LiveChange(BaseModel):
    """Which generation is live now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"live": "g7"}]})

    live: str = Field(description="Name of the generation; every process follows within half a second.")


class BuildProgress(BaseModel):
    """Products that the build holds as they are now, of all there are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"products": 1200, "total": 6500}]})

    products: int
    total: int


class BuildUse(BaseModel):
    """A generation that keeps a build."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"generation": "g3", "state": "live", "until": None, "pinned": []}]}
    )

    generation: str
    state: str = Field(description="trained, ready, live or retired.")
    until: datetime | None = Field(description="A retired one can be rolled back to until then.")
    pinned: list[str] = Field(description="What it serves beside the live one: `holdout`, or experiments such as e3.")


class BuildRead(BaseModel):
    """One index build: an encoder, and two collections filled with what it makes of the catalogue."""

    model_config = ConfigDict(json_schema_extra={"examples": [BUILD_EXAMPLE]})

    id: int
    state: str = Field(description="building, ready, dropped or failed.")
    step: str = Field(
        description="What is done next while it is being made: open (the encoder), create (the collections), backfill, "
        "verify, calibrate, promote; then done."
    )
    live: bool = Field(description="Whether it is searched now.")
    source: str | None = Field(description="What its encoder was asked for by; null where it is made for an adapter.")
    encoder: str | None = Field(description="Name and weights of its encoder, once that was opened.")
    adapted: bool = Field(description="Whether its items go through the heads of an adapter.")
    image_collection: str
    caption_collection: str
    promote: bool = Field(description="Whether it goes live as soon as it is ready.")
    progress: BuildProgress | None = Field(description="How far its filling is; null where it is no longer written.")
    used_by: list[BuildUse] = Field(description="Generations that keep it: it cannot be dropped while there are some.")
    error: str | None = Field(description="Why it failed, was given up, or is being tried again.")
    report: dict[str, Any] = Field(description="What its verification measured.")
    created_at: datetime
    ready_at: datetime | None
    emptied_at: datetime | None = Field(description="When nothing was left of a dropped one.")

    @classmethod
    def of(cls, build: IndexBuild, used: Sequence[Use], progress: Progress | None) -> Self:
        """The build as shown."""
        return cls(
            id=build.id,
            state=build.state,
            step=build.step,
            live=any(use.state == "live" for use in used),
            source=build.source,
            encoder=build.encoder_id,
            adapted=build.adapted,
            image_collection=build.image_collection,
            caption_collection=build.caption_collection,
            promote=build.promote,
            progress=BuildProgress(products=progress.products, total=progress.total) if progress else None,
            used_by=[
                BuildUse(generation=f"g{use.generation}", state=use.state, until=use.until, pinned=list(use.pinned))
                for use in used
            ],
            error=build.error,
            report=build.report,
            created_at=build.created_at,
            ready_at=build.ready_at,
            emptied_at=build.emptied_at,
        )


class BuildList(BaseModel):
    """Index builds, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"builds": [BUILD_EXAMPLE]}]})

    builds: list[BuildRead]


class BuildRequest(BaseModel):
    """A build to make beside the live one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"encoder": "ViT-B-32:laion2b_s34b_b79k", "promote": True}]},
    )

    encoder: str = Field(
        min_length=1,
        max_length=1000,
        description="demo, NAME:PRETRAINED of open_clip, hf-hub:ID, or local-dir: and an absolute path of the workers.",
    )
    promote: bool = Field(default=True, description="Whether it goes live as soon as it is ready.")
