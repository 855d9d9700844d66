"""Typed filters, as a filter of the index and as conditions of PostgreSQL.

Text a shopper sends becomes either a tag (a number, see ``catalog/tags.py``) or a bound parameter; it never becomes
part of an expression or of SQL. The index applies what it can express; PostgreSQL checks every hit against all
conditions, because the index may lag behind by a moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from backend.catalog.schemas import Availability, Line, Scalar
from backend.catalog.tags import tag
from backend.prepared import Prepared, prepared
from backend.vectors import VectorFilter

MAX_VALUES = 100
"""Values one filter may list."""

MAX_NUMBERS = 10_000
"""Products the index is told by number; above, the index does not restrict and PostgreSQL's check does."""


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Name = Annotated[Line, Field(min_length=1, max_length=256)]
Path = Annotated[Line, Field(min_length=1, max_length=2600)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e15, le=1e15)]
Names = Annotated[list[Name], BeforeValidator(_as_list), Field(min_length=1, max_length=MAX_VALUES)]
Paths = Annotated[list[Path], BeforeValidator(_as_list), Field(min_length=1, max_length=MAX_VALUES)]
Availabilities = Annotated[list[Availability], BeforeValidator(_as_list), Field(min_length=1, max_length=4)]
Scalars = Annotated[list[Scalar], BeforeValidator(_as_list), Field(min_length=1, max_length=MAX_VALUES)]
AttributeName = Annotated[Line, Field(min_length=1, max_length=100)]


class NumberRange(BaseModel):
    """Bounds on a number; at least one."""

    model_config = ConfigDict(extra="forbid")

    gte: Number | None = None
    gt: Number | None = None
    lte: Number | None = None
    lt: Number | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.bounds():
            raise ValueError("at least one of gte, gt, lte, lt")
        return self

    def bounds(self) -> dict[str, float]:
        """The bounds that are given."""
        return {name: bound for name, bound in vars(self).items() if bound is not None}


class SearchFilters(BaseModel):
    """What a hit must satisfy: all of these; of a list, any of its values.

    ``attributes.NAME`` may be written as a key of its own, as in the examples, or inside ``attributes``.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "category": "Toys",
                    "price": {"lte": 30},
                    "in_stock": True,
                    "attributes.material": ["cotton", "wool"],
                }
            ],
            "additionalProperties": True,
        },
    )

    category: Paths | None = Field(None, description="A category's name, or a path from the top: `Toys > Plush`.")
    brand: Names | None = None
    price: NumberRange | None = None
    in_stock: bool | Literal["any"] = Field(True, description="Sold-out products are left out unless this says so.")
    availability: Availabilities | None = None
    sku: Names | None = None
    product_ids: Names | None = None
    attributes: dict[AttributeName, NumberRange | Scalars] = Field(default_factory=dict, max_length=20)

    @model_validator(mode="before")
    @classmethod
    def _gather_attributes(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        named = {key: one for key, one in value.items() if isinstance(key, str) and key.startswith("attributes.")}
        if not named:
            return value
        given = value.get("attributes", {})
        if not isinstance(given, dict):
            return value
        rest = {key: one for key, one in value.items() if key not in named}
        return rest | {"attributes": given | {key.removeprefix("attributes."): one for key, one in named.items()}}

    @property
    def restricts(self) -> bool:
        """Whether anything beyond stock is asked for."""
        return bool(self.model_fields_set - {"in_stock"})


@dataclass(frozen=True)
class Conditions:
    """``clauses`` on a row ``p`` of products, joined by AND; ``:names`` in them are bound to ``parameters``.

    Clauses are constants of this file with numbered parameter names, so equal filters give equal SQL.
    """

    clauses: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def statement(self, template: str) -> TextClause:
        """``template`` with its word ``CONDITIONS`` replaced by the conjunction."""
        return _statement(template, self.clauses)

    def prepared(self, template: str) -> Prepared:
        """The same as a statement that connections keep."""
        return _prepared(template, self.clauses)


@dataclass(frozen=True)
class FilterPlan:
    """One request's filters in both languages.

    Args:
        vector: what the index applies, a superset of what is asked for.
        conditions: all that is asked for, for PostgreSQL.
        by_number: the part the index cannot express; resolved to product numbers by ``resolve``.
    """

    vector: VectorFilter
    conditions: Conditions
    by_number: Conditions | None


def plan_filters(filters: SearchFilters, *, without_products: tuple[int, ...] = ()) -> FilterPlan:
    """``filters`` as a filter of the index and as conditions, ``without_products`` left out."""
    clauses = ["p.deleted_at IS NULL"]
    parameters: dict[str, Any] = {}
    if without_products:
        clauses.append("p.number <> ALL(CAST(:without_products AS bigint[]))")
        parameters["without_products"] = list(without_products)
    tags = _tag_groups(filters)
    for place, group in enumerate(tags):
        clauses.append(f"p.tags && CAST(:tags_{place} AS bigint[])")
        parameters[f"tags_{place}"] = list(group)
    if filters.in_stock != "any":
        clauses.append("p.availability <> 'out_of_stock'" if filters.in_stock else "p.availability = 'out_of_stock'")
    bounds = filters.price.bounds() if filters.price else {}
    for name, bound in bounds.items():
        clauses.append(f"p.price {_OPERATORS[name]} :price_{name}")
        parameters[f"price_{name}"] = bound
    by_number = _by_number(filters)
    vector = VectorFilter(
        in_stock=None if filters.in_stock == "any" else filters.in_stock,
        any_tags=tags,
        without_products=without_products,
        price_gte=bounds.get("gte"),
        price_gt=bounds.get("gt"),
        price_lte=bounds.get("lte"),
        price_lt=bounds.get("lt"),
    )
    if by_number is not None:
        clauses += by_number.clauses
        parameters |= by_number.parameters
    return FilterPlan(vector, Conditions(tuple(clauses), parameters), by_number)


def resolve(session: Session, plan: FilterPlan) -> VectorFilter:
    """The index's filter, with the part it cannot express turned into product numbers where they are few."""
    if plan.by_number is None:
        return plan.vector
    statement = plan.conditions.statement("SELECT p.number FROM products p WHERE CONDITIONS LIMIT :most")
    numbers = session.scalars(statement, {**plan.conditions.parameters, "most": MAX_NUMBERS + 1}).all()
    if len(numbers) > MAX_NUMBERS:
        return plan.vector
    return VectorFilter(products=tuple(sorted(numbers)))


@lru_cache(maxsize=1024)
def _statement(template: str, clauses: tuple[str, ...]) -> TextClause:
    return text(_filled(template, clauses))


@lru_cache(maxsize=1024)
def _prepared(template: str, clauses: tuple[str, ...]) -> Prepared:
    return prepared(_filled(template, clauses))


def _filled(template: str, clauses: tuple[str, ...]) -> str:
    return template.replace("CONDITIONS", " AND ".join(clauses))


_OPERATORS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}

_RANGE = (
    "(jsonb_path_exists(p.attributes -> CAST(:range_{0} AS text), '$[*] ? ({1})', {2})"
    " OR EXISTS (SELECT FROM variants v WHERE v.product = p.number"
    " AND jsonb_path_exists(v.attributes -> CAST(:range_{0} AS text), '$[*] ? ({1})', {2})))"
)
"""A number, or one of a list of numbers, within bounds, in the product's attributes or in a variant's."""


def _tag_groups(filters: SearchFilters) -> tuple[tuple[int, ...], ...]:
    """One group of tags for each filter on words; any tag of each group must be there."""
    groups: list[set[int]] = []
    if filters.category is not None:
        groups.append({tag("category", _path(value)) for value in filters.category})
    if filters.brand is not None:
        groups.append({tag("brand", value) for value in filters.brand})
    for name, wanted in filters.attributes.items():
        if not isinstance(wanted, NumberRange):
            groups.append({tag(f"attributes.{name}", value) for value in wanted})
    return tuple(tuple(sorted(group)) for group in groups)


def _path(value: str) -> str:
    return " > ".join(part.strip() for part in value.split(">") if part.strip())


def _by_number(filters: SearchFilters) -> Conditions | None:
    clauses: list[str] = []
    parameters: dict[str, Any] = {}
    if filters.availability is not None:
        clauses.append("p.availability = ANY(:availability)")
        parameters["availability"] = list(filters.availability)
    if filters.product_ids is not None:
        clauses.append("p.id = ANY(:product_ids)")
        parameters["product_ids"] = filters.product_ids
    if filters.sku is not None:
        clauses.append(
            "EXISTS (SELECT FROM variants v WHERE v.product = p.number"
            " AND lower(v.sku) = ANY(SELECT lower(sku) FROM unnest(CAST(:skus AS text[])) AS sku))"
        )
        parameters["skus"] = filters.sku
    ranges = {name: wanted for name, wanted in filters.attributes.items() if isinstance(wanted, NumberRange)}
    for place, (name, wanted) in enumerate(sorted(ranges.items())):
        clauses.append(_range_clause(place, wanted))
        parameters[f"range_{place}"] = name
        parameters |= {f"range_{place}_{bound}": value for bound, value in wanted.bounds().items()}
    return Conditions(tuple(clauses), parameters) if clauses else None


def _range_clause(place: int, wanted: NumberRange) -> str:
    names = list(wanted.bounds())
    within = " && ".join(['@.type() == "number"', *(f"@ {_OPERATORS[name]} ${name}" for name in names)])
    bounds = ", ".join(f"'{name}', CAST(:range_{place}_{name} AS float8)" for name in names)
    return _RANGE.format(place, within, f"jsonb_build_object({bounds})")
