"""The shape of an explanation."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.ml.feedback.inputs import Decision
from backend.ml.regions import Box


class DrawnOn(BaseModel):
    """A box of the turn."""

    box: Box
    grade: float = Field(description="-1 to 1, what was said of it.")
    label: str | None


class PatchSaliency(BaseModel):
    """Where on a picture the summarizer looked."""

    rows: int
    columns: int
    values: list[list[float]] = Field(
        description="Row by row, 0 to 1: the least and the most of all pictures of this explanation."
    )
    area: Box = Field(
        description="What the rows and columns cover, on the upright picture; beyond 0 and 1 where the encoder pads."
    )


class ExplainedImage(BaseModel):
    """The picture that stood for a product."""

    content_hash: str
    src: str = Field(description="Path of the picture on this server.")
    boxes: list[DrawnOn]
    saliency: PatchSaliency | None = Field(description="Null where no summarizer was asked.")
    overlay: str | None = Field(description="Path of the picture with the saliency over it.")


class WordSaliency(BaseModel):
    """One word of a caption and what the summarizer gave it, 0 to 1 over all captions of this explanation."""

    text: str
    start: int = Field(description="Of its first character in the caption, from 0.")
    end: int = Field(description="Behind its last character.")
    saliency: float


class ExplainedCaption(BaseModel):
    """The caption that stood for a product."""

    text: str
    words: list[WordSaliency] | None = Field(description="Null where no summarizer was asked.")


class ExplainedItem(BaseModel):
    """One product that was weighed."""

    product_id: str
    position: int | None = Field(description="On the list that was refined; null where it was not on it.")
    grade: float | None = Field(description="-1 to 1, what the shopper said of it or did with it; null: nothing.")
    relevance: float | None = Field(description="Share in what the query was moved towards; null where not weighed.")
    irrelevance: float | None = Field(description="Share in what it was moved away from.")
    pull: float | None = Field(
        description="Weight of its judgement against the others', above 0 towards it; null where it was not judged. "
        "Without their signs they sum to 1."
    )
    image: ExplainedImage | None
    caption: ExplainedCaption | None


class ExplainResponse(BaseModel):
    """What a list was computed from, or what products would weigh."""

    query_id: str
    parent_id: str | None
    turn: int
    generation: str
    about: Literal["turn", "products"] = Field(
        description="The turn that led to this list; or what products of it would weigh if nothing else were said."
    )
    strategy: str
    decision: Decision | None = Field(description="Of that turn; null where there was none.")
    text: str | None = Field(description="Words that were added in that turn.")
    items: list[ExplainedItem]

    model_config = ConfigDict(json_schema_extra={"examples": []})


EXPLAIN_EXAMPLE: dict[str, Any] = {
    "query_id": "q_Yf0aJ8rYw4A7kX2mfbTQ3",
    "parent_id": "q_7kX2mfbTQ3qVn0aJ8rYw4",
    "turn": 2,
    "generation": "g7",
    "about": "turn",
    "strategy": "afs",
    "decision": "moved",
    "text": None,
    "items": [
        {
            "product_id": "p1",
            "position": 1,
            "grade": None,
            "relevance": 0.31,
            "irrelevance": 0.2,
            "pull": None,
            "image": {
                "content_hash": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
                "src": "/images/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
                "boxes": [],
                "saliency": {"rows": 2, "columns": 2, "values": [[0.1, 0.9], [0.0, 1.0]], "area": [0, 0, 1, 1]},
                "overlay": "/v1/search/q_Yf0aJ8rYw4A7kX2mfbTQ3/explain/overlay?of=p1",
            },
            "caption": {
                "text": "a small orange plush toy",
                "words": [{"text": "orange", "start": 8, "end": 14, "saliency": 0.94}],
            },
        }
    ],
}
