"""Filters from strangers: whatever is typed, the expression and the SQL are made of constants and numbers."""

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.tags import tag
from backend.db import session_scope
from backend.search.filters import FilterPlan, NumberRange, SearchFilters, plan_filters, resolve
from backend.search.hydration import browse_numbers, count_products

ODD = [
    "'",
    '"',
    "' OR 1=1 --",
    "; DROP TABLE products",
    "] or true",
    ":name",
    "%(x)s",
    "$1",
    "\\",
    "☃",
    "\u202e",
    "a\nb",
    "{0}",
]

names = st.one_of(st.sampled_from(ODD), st.text(min_size=1, max_size=30))
scalars = st.one_of(names, st.booleans(), st.integers(), st.floats())
ranges = st.dictionaries(st.sampled_from(["gte", "gt", "lte", "lt"]), st.floats(), max_size=4)
filters = st.fixed_dictionaries(
    {},
    optional={
        "category": st.one_of(names, st.lists(names, max_size=3)),
        "brand": st.one_of(names, st.lists(names, max_size=3)),
        "price": ranges,
        "in_stock": st.one_of(st.booleans(), st.just("any"), names),
        "sku": names,
        "product_ids": st.lists(names, max_size=3),
        "attributes": st.dictionaries(names, st.one_of(scalars, st.lists(scalars, max_size=3), ranges), max_size=3),
    },
)


def planned(given: dict[str, Any]) -> FilterPlan | None:
    try:
        return plan_filters(SearchFilters.model_validate(given))
    except ValidationError:
        return None


@given(filters)
@example({"attributes": {"'": {"gte": 0.0}}})
@settings(max_examples=300, deadline=None)
def test_expression_and_sql_hold_nothing_that_was_typed(given: dict[str, Any]) -> None:
    """The index's expression is of a fixed vocabulary and numbers; SQL clauses are those of an innocent filter."""
    plan = planned(given)
    if plan is None:
        return
    vocabulary = r'in_stock|price|tags|like|and|or|true|false|array_contains_any|"%\||\|%"'
    for lite in (True, False):
        left = re.sub(vocabulary, "", plan.vector.expression(lite=lite))
        assert re.fullmatch(r"[-+0-9a-f.e\s()\[\],<>=]*", left), left
    for clause in plan.conditions.clauses:
        assert re.fullmatch(r"""[a-zA-Z0-9_.,:'"<>=&$@?\[\]()* ]*""", clause.replace("->", "")), clause


@pytest.fixture(scope="module")
def searched(shop_database: str) -> sessionmaker[Session]:
    from backend.db import connect, session_factory

    return session_factory(connect(shop_database))


@given(filters)
@settings(max_examples=100, deadline=None)
def test_whatever_is_typed_postgresql_answers(searched: sessionmaker[Session], given: dict[str, Any]) -> None:
    """Accepted filters run, and find nothing in an empty catalogue; the others were refused before."""
    plan = planned(given)
    if plan is None:
        return
    with session_scope(searched) as session:
        assert browse_numbers(session, "newest", plan.conditions, 5) == []
        assert count_products(session, plan.conditions) == 0
        resolve(session, plan)


@pytest.mark.parametrize(
    "given",
    [
        {"brand": "a\x00b"},
        {"attributes": {"a\x00": 1}},
        {"attributes": {"a": "b\x00"}},
        {"price": {"lte": float("nan")}},
        {"price": {"gte": float("inf")}},
        {"price": {"gte": 1e200}},
        {"attributes": {"a": {"gte": float("nan")}}},
        {"attributes": {"a": float("inf")}},
        {"brand": []},
        {"attributes": {"x" * 101: 1}},
        {"attributes": {str(n): 1 for n in range(21)}},
        {"in_stock": None, "colour": 1},
    ],
)
def test_what_cannot_be_compared_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SearchFilters.model_validate(given)


def test_lists_are_or_and_filters_are_and() -> None:
    plan = planned({"brand": ["A", "B"], "attributes.size": "S", "price": {"gt": 1, "lte": 2}, "in_stock": "any"})
    assert plan is not None
    assert plan.vector.any_tags == (
        tuple(sorted((tag("brand", "a"), tag("brand", "b")))),
        (tag("attributes.size", "S"),),
    )
    assert (plan.vector.price_gt, plan.vector.price_lte, plan.vector.in_stock) == (1, 2, None)


def test_sold_out_is_left_out_unless_asked_for() -> None:
    assert plan_filters(SearchFilters()).vector.in_stock is True
    assert plan_filters(SearchFilters(in_stock=False)).vector.in_stock is False


def test_dotted_and_nested_attributes_are_the_same() -> None:
    dotted = SearchFilters.model_validate({"attributes.size": {"gte": 3}})
    assert dotted == SearchFilters(attributes={"size": NumberRange(gte=3)})
    assert SearchFilters.model_validate(dotted.model_dump(mode="json", exclude_unset=True)) == dotted
