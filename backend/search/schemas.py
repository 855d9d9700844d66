"""The shape of a search: what may be asked and what is answered."""

import unicodedata
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from backend.catalog.schemas import Availability, Line, ProductId
from backend.ml.feedback.inputs import Decision
from backend.search.filters import SearchFilters

MAX_TEXT = 1000
FACET = r"^(brand|category|price|availability|attributes\.\S.{0,98})$"

Sort = Literal["relevance", "price_asc", "price_desc", "newest"]


def query_text(value: str) -> str:
    """NFC, one space between words; what cannot be kept is refused."""
    if "\x00" in value:
        raise ValueError("text without the NUL character, which PostgreSQL cannot keep")
    return " ".join(unicodedata.normalize("NFC", value).split())


Id = Annotated[Line, Field(min_length=1, max_length=256)]
Word = Annotated[Line, Field(min_length=1, max_length=16)]
Cohort = Annotated[Line, Field(min_length=1, max_length=32)]


class QueryImage(BaseModel):
    """A picture to search by: its address, or its bytes in base64. Uploads use multipart instead."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    base64: Annotated[str, Field(min_length=4)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.url is None) == (self.base64 is None):
            raise ValueError("either url or base64")
        return self


class ScoreWeights(BaseModel):
    """Weights of the one score for this request, in place of the generation's."""

    model_config = ConfigDict(extra="forbid")

    caption: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


SEARCH_EXAMPLE: dict[str, Any] = {
    "text": "orange plush",
    "filters": {"category": "toys", "price": {"lte": 30}, "in_stock": True, "attributes.material": ["cotton", "wool"]},
    "facets": ["brand", "price"],
    "sort": "relevance",
    "limit": 24,
    "shopper_id": "a7",
    "session_id": "s1",
    "surface": "web",
    "device": "mobile",
    "query_type": "text",
}


class SearchRequest(BaseModel):
    """A search by words, picture or product, or by several of them; by none of them it browses, newest first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [SEARCH_EXAMPLE]})

    text: Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(query_text)] | None = None
    image: QueryImage | None = None
    product_id: ProductId | None = Field(None, description="More like this product, which is left out itself.")
    filters: SearchFilters = Field(default_factory=SearchFilters)
    facets: list[Annotated[Line, Field(pattern=FACET)]] = Field(
        default_factory=list, max_length=10, description="brand, category, price, availability, attributes.NAME"
    )
    sort: Sort = "relevance"
    limit: Annotated[int, Field(strict=True, ge=1, le=100)] = 24
    cursor: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="From the page before. The page continues that search, whose words need not be sent again."
    )
    shopper_id: Id | None = Field(None, description="Kept only as a keyed hash.")
    session_id: Id | None = Field(None, description="Kept only as a keyed hash.")
    user_id: Id | None = Field(
        None, description="Of a signed-in shopper, beside the anonymous `shopper_id`. Kept only as a keyed hash."
    )
    surface: Word | None = None
    device: Word | None = None
    locale: Word | None = Field(None, description="As `de-AT`.")
    cohort: Cohort | None = Field(None, description="A group of shoppers that the shop tells apart.")
    query_type: Word | None = Field(None, description="How it was asked; `voice` where text is a transcript.")
    layout: Literal["grid", "list"] | None = Field(None, description="How the hits will be drawn.")
    columns: Annotated[int, Field(strict=True, ge=1, le=20)] | None = Field(None, description="Hits in a row of them.")
    partial: bool = Field(False, description="Someone is still typing: answered, neither logged nor learned from.")
    lexical: bool = Field(True, description="Whether exact SKUs and the words of the catalogue count too.")
    weights: ScoreWeights | None = Field(None, description="Needs a server or admin key.")

    @field_validator("text")
    @classmethod
    def _nothing_is_none(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("filters", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any) -> Any:
        return {} if value is None else value


class HitProduct(BaseModel):
    """What a result page shows of a product."""

    title: str
    image: str | None = Field(description="Path of a thumbnail on this server, or null.")
    price: float | None
    currency: str | None
    brand: str | None
    category: list[str]
    availability: Availability
    url: str | None
    captions: list[str]
    attributes: dict[str, Any]


class Hit(BaseModel):
    """One product of a page; ``position`` is 1-based over all pages of the list."""

    position: int
    product_id: str
    score: float = Field(description="Larger is better; comparable within one list only.")
    product: HitProduct
    previous_position: int | None = Field(
        None, description="Of a refined list: place in the list before; null where it was not on it."
    )
    because: list[str] = Field(
        default_factory=list,
        description="Of a refined list: the liked products that it is more like than what was shown before.",
    )


class PriceFacet(BaseModel):
    """Prices of the candidates: the least, the greatest, and counts in steps of 1, 2, 5 times a power of ten."""

    min: float | None
    max: float | None
    ranges: list[dict[str, float | int | None]]


class RefineOutcome(BaseModel):
    """What came of a turn."""

    strategy: str = Field(description="What was applied, such as `afs` or `text+likes`.")
    decision: Decision = Field(
        description="`moved`; `blended`: led too far from the first query and was taken back in part; `held`: stayed."
    )
    similarity_to_start: float = Field(description="Cosine of the query to the session's first one.")
    similarity_to_last: float = Field(description="Cosine of the query to the one of the turn before.")
    policy: str


class SearchResponse(BaseModel):
    """One page of one immutable served list."""

    query_id: str | None = Field(description="Name of the served list; null for a partial query, which is not logged.")
    parent_id: str | None
    turn: int
    generation: str
    experiments: dict[str, str]
    total: int
    total_is: Literal["estimate", "exact"] = Field(
        description="A vector search counts the candidates above the relevance cut; browsing counts exactly."
    )
    cursor: str | None = Field(description="Continues this list; null on its last page.")
    took_ms: float
    facets: dict[str, dict[str, int] | PriceFacet] | None
    hits: list[Hit]
    refine: RefineOutcome | None = Field(None, description="Of a refined list: what came of its last turn.")
    transcript: str | None = Field(None, description="What was heard, in the answer to a recording.")


RESPONSE_EXAMPLE: dict[str, Any] = {
    "query_id": "q_7kX2mfbTQ3qVn0aJ8rYw4A",
    "parent_id": None,
    "turn": 1,
    "generation": "g7",
    "experiments": {},
    "total": 318,
    "total_is": "estimate",
    "cursor": "cV83a1gybWZiVFEz.MTguMjQ.c2lnbmF0dXJl",
    "took_ms": 14.2,
    "facets": {
        "brand": {"Fable": 41},
        "price": {"min": 4.5, "max": 60.0, "ranges": [{"gte": 0, "lt": 10, "count": 9}]},
    },
    "hits": [
        {
            "position": 1,
            "product_id": "p1",
            "score": 0.41,
            "product": {
                "title": "Toy, Polyester, 5-inch",
                "image": "/images/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
                "price": 12.5,
                "currency": "EUR",
                "brand": "Fable",
                "category": ["Toys", "Plush"],
                "availability": "in_stock",
                "url": "https://shop.example/p1",
                "captions": ["a small orange plush toy with big eyes"],
                "attributes": {"material": ["cotton"]},
            },
        }
    ],
}
