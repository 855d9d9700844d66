"""The shape of a refinement: what may be said of a list and what is answered."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from backend.catalog.schemas import Line, ProductId
from backend.search.filters import SearchFilters
from backend.search.refinement.session import MOST_JUDGED
from backend.search.schemas import FACET, MAX_TEXT, RESPONSE_EXAMPLE, Id, Sort, Word, query_text

Side = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class FeedbackItem(BaseModel):
    """What the shopper says of one product, or with ``box`` of a part of one of its pictures."""

    model_config = ConfigDict(extra="forbid")

    product_id: ProductId
    value: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] | None = Field(
        None, description="1 is liked, -1 disliked; 0 takes back what was said before."
    )
    stars: Annotated[int, Field(strict=True, ge=1, le=5)] | None = Field(None, description="3 is neither nor.")
    dwell_ms: Annotated[int, Field(strict=True, ge=0, le=86_400_000)] | None = Field(
        None, description="How long the product was looked at."
    )
    image: Annotated[int, Field(strict=True, ge=0, le=99)] | None = Field(
        None, description="Place of the picture that the box is drawn on; 0, the first, where none is given."
    )
    box: tuple[Side, Side, Side, Side] | None = Field(
        None, description="x1, y1, x2, y2, each 0 to 1 on the original picture."
    )
    label: Annotated[Line, Field(min_length=1, max_length=200)] | None = Field(None, description="Name of that part.")

    @model_validator(mode="after")
    def _one_judgement(self) -> Self:
        given = [name for name in ("value", "stars", "dwell_ms") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"one of value, stars and dwell_ms; found {' and '.join(given) or 'none of them'}")
        if self.box is None and (self.image is not None or self.label is not None):
            raise ValueError("image and label together with a box only")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"a box x1, y1, x2, y2 with x1 < x2 and y1 < y2; found {list(self.box)}")
        return self


REFINE_EXAMPLE: dict[str, Any] = {
    "feedback": [
        {"product_id": "p1", "value": 1},
        {"product_id": "p9", "value": -0.5},
        {"product_id": "p3", "value": 1, "image": 0, "box": [0.1, 0.2, 0.5, 0.6]},
    ],
    "text": "bigger eyes",
    "filters": {},
}


class RefineRequest(BaseModel):
    """A little more like this: what is close and what is not. By nothing of it, the list's first products count."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [REFINE_EXAMPLE]})

    feedback: list[FeedbackItem] = Field(default_factory=list, max_length=MOST_JUDGED)
    text: Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(query_text)] | None = Field(
        None, description="What to look for beside it: `bigger eyes`."
    )
    filters: SearchFilters | None = Field(None, description="In place of the list's own; null keeps those.")
    exclude_liked: bool | None = Field(
        None, description="Whether liked products are left out from now on; they stay unless the policy says otherwise."
    )
    facets: list[Annotated[Line, Field(pattern=FACET)]] = Field(default_factory=list, max_length=10)
    sort: Sort | None = Field(None, description="In place of the list's own; null keeps that.")
    limit: Annotated[int, Field(strict=True, ge=1, le=100)] = 24
    lexical: bool | None = Field(None, description="In place of the list's own; null keeps that.")
    shopper_id: Id | None = Field(None, description="Kept only as a keyed hash; null keeps the list's.")
    session_id: Id | None = Field(None, description="Kept only as a keyed hash; null keeps the list's.")
    surface: Word | None = None
    device: Word | None = None
    policy: Annotated[Line, Field(min_length=1, max_length=64)] | None = Field(
        None, description="Name of a refine policy. Needs a server or admin key."
    )
    strategy: Annotated[Line, Field(min_length=1, max_length=32)] | None = Field(
        None, description="In place of the policy's. Needs a server or admin key."
    )
    weights: dict[Annotated[Line, Field(min_length=1, max_length=64)], Any] | None = Field(
        None, max_length=64, description="Parameters in place of the policy's. Needs a server or admin key."
    )

    @field_validator("text")
    @classmethod
    def _nothing_is_none(cls, value: str | None) -> str | None:
        return value or None

    @property
    def only_narrows(self) -> bool:
        """Whether it asks for other filters or another sort, and says nothing of the products."""
        says = self.feedback or self.text or self.exclude_liked is not None or self.overrides
        return not says and any(one is not None for one in (self.filters, self.sort, self.lexical))

    @property
    def overrides(self) -> list[str]:
        """Names of what only a server may ask for."""
        return [name for name in ("policy", "strategy", "weights") if getattr(self, name) is not None]


REFINED_EXAMPLE: dict[str, Any] = RESPONSE_EXAMPLE | {
    "query_id": "q_Yf0aJ8rYw4A7kX2mfbTQ3",
    "parent_id": "q_7kX2mfbTQ3qVn0aJ8rYw4",
    "turn": 2,
    "refine": {
        "strategy": "afs",
        "decision": "moved",
        "similarity_to_start": 0.91,
        "similarity_to_last": 0.91,
        "policy": "auto",
    },
    "hits": [hit | {"previous_position": 14, "because": ["p1"]} for hit in RESPONSE_EXAMPLE["hits"]],
}
