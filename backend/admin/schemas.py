"""How far a shop is, as the setup page and scripts read it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.admin.event_schemas import (
    EVENTS_EXAMPLE,
    EXPERIMENT_EXAMPLE,
    EXPLORATION_EXAMPLE,
    EventsState,
    ExperimentState,
    ExplorationState,
)
from backend.admin.learning_schemas import LEARNING_EXAMPLE, LearningState

State = Literal["done", "todo", "problem", "optional"]

_CHECK: dict[str, Any] = {
    "id": "encoder",
    "title": "A model that knows photographs",
    "state": "todo",
    "fact": "The demo encoder is live. It knows only drawings, so photographs would not be found.",
    "steps": [
        {"say": "Fetch a model", "command": "morelike encoder fetch ViT-B-32:laion2b_s34b_b79k"},
        {"say": "Switch to it while the shop goes on", "command": "morelike encoder switch local-dir:PATH"},
    ],
    "docs": "docs/encoders.md",
}
_KEY: dict[str, Any] = {
    "id": 4,
    "name": "my shop",
    "scope": "storefront",
    "begins_with": "mk_pub_aB3x",
    "origins": ["https://shop.example"],
    "rate_limit_per_minute": 1200,
    "created_at": "2026-11-20T09:00:00Z",
}
_WEBHOOK: dict[str, Any] = {
    "source": "shopify",
    "url": "https://search.shop.example/v1/webhooks/shopify",
    "has_secret": True,
    "last_at": "2026-11-21T08:59:12Z",
    "last_day": {"applied": 40, "duplicate": 2, "rejected": 0},
}
_SHOP: dict[str, Any] = {
    "url": "https://shop.example",
    "compared_at": "03:30",
    "last_at": "2026-11-21T03:30:02Z",
    "last_finished": True,
    "last_problem": None,
    "last_counts": {"created": 2, "deleted": 1},
}
SETUP_EXAMPLE: dict[str, Any] = {
    "checklist": [_CHECK],
    "counts": {"done": 6, "todo": 1, "problem": 0, "optional": 2},
    "serving": {
        "generation": "g3",
        "encoder": "demo@1f0c9be77a12",
        "drawings_only": True,
        "build": 1,
        "live_at": "2026-11-20T09:00:00Z",
    },
    "index": {"engine": "Milvus Lite", "vectors": 5200, "serves_well": 20000},
    "catalogue": {
        "products": 2400,
        "of_the_demo": 2400,
        "images": {"pending": 0, "ready": 2800, "parked": 3},
        "waiting": 0,
    },
    "webhooks": [_WEBHOOK],
    "shop": _SHOP,
    "keys": [_KEY],
    "events": EVENTS_EXAMPLE,
    "exploration": EXPLORATION_EXAMPLE,
    "experiments": [EXPERIMENT_EXAMPLE],
    "learning": LEARNING_EXAMPLE,
}


class Step(BaseModel):
    """What to do next: a command to paste, or a sentence alone."""

    say: str
    command: str | None = None


class Check(BaseModel):
    """One thing a shop needs, or may want."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CHECK]})

    id: str = Field(description="Name of the check; it never changes its meaning.")
    title: str
    state: State = Field(description="`problem` is wrong now, `todo` is missing, `optional` may be left out.")
    fact: str = Field(description="What was found.")
    steps: list[Step] = Field(description="What to do, in order; none where it is done.")
    docs: str = Field(description="Page that explains it.")


class Serving(BaseModel):
    """What answers searches now."""

    generation: str
    encoder: str
    drawings_only: bool = Field(description="Whether its encoder is one that knows no photographs.")
    build: int
    live_at: datetime | None


class IndexState(BaseModel):
    """Where the vectors are."""

    engine: Literal["Milvus", "Milvus Lite"]
    vectors: int = Field(description="Vectors that the catalogue needs: of pictures and of captions.")
    serves_well: int | None = Field(description="How many this engine serves well; null where it is not known.")


class ImageCounts(BaseModel):
    """Images of products for sale, by how far they got."""

    pending: int = 0
    ready: int = 0
    parked: int = 0


class CatalogueState(BaseModel):
    """What is for sale."""

    products: int
    of_the_demo: int = Field(description="How many of them are the demo's drawings.")
    images: ImageCounts
    waiting: int = Field(description="Products that the live index does not hold as they are now.")


class WebhookState(BaseModel):
    """One platform that may send."""

    source: str
    url: str | None = Field(description="Address to register at the shop; null without MORELIKE_PUBLIC_URL.")
    has_secret: bool
    last_at: datetime | None = Field(description="When the last delivery arrived.")
    last_day: dict[str, int] = Field(description="Deliveries of the last 24 hours by verdict.")


class ShopState(BaseModel):
    """The shop whose list is compared with the catalogue at night, and how that went last."""

    url: str
    compared_at: str = Field(description="Time in UTC, or `off`.")
    last_at: datetime | None = Field(description="When the last comparison began; null where there was none.")
    last_finished: bool
    last_problem: str | None = Field(description="Why it did not get to its end.")
    last_counts: dict[str, int] = Field(description="Products that it repaired, by what was done.")


class KeyState(BaseModel):
    """A key that works, without its secret."""

    id: int
    name: str
    scope: str
    begins_with: str
    origins: list[str]
    rate_limit_per_minute: int | None = Field(description="Null where the server's default holds; 0 is no limit.")
    created_at: datetime


class Setup(BaseModel):
    """How far the shop is."""

    model_config = ConfigDict(json_schema_extra={"examples": [SETUP_EXAMPLE]})

    checklist: list[Check]
    counts: dict[State, int]
    serving: Serving | None = Field(description="Null while no generation is live.")
    index: IndexState
    catalogue: CatalogueState
    webhooks: list[WebhookState]
    shop: ShopState | None = Field(description="Null without MORELIKE_SHOP_URL.")
    keys: list[KeyState]
    events: EventsState
    exploration: ExplorationState
    experiments: list[ExperimentState] = Field(description="Those that are running.")
    learning: LearningState
