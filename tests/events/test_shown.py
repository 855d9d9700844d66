"""The view of what was shown: a row for each product of each page, with its place on the screen and its odds."""

from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from backend.events.models import ServedList, ServedPage
from backend.events.query_ids import day_of, new_query_id


def serve(session: Session, pages: list[list[str]], **said: Any) -> str:
    """A list with these pages, its id."""
    query_id = new_query_id()
    values = {"query_id": query_id, "generation_id": 7, "request": {}, "total": 9, "total_is": "exact", **said}
    session.execute(insert(ServedList).values(values))
    first = 1
    for products in pages:
        page = {"query_id": query_id, "first_position": first, "product_ids": products, "scores": [0.5] * len(products)}
        session.execute(insert(ServedPage).values(page | {"p_show": [0.25] * len(products) if first == 1 else None}))
        first += len(products)
    return query_id


def shown(session: Session, query_id: str, columns: str) -> list[tuple[Any, ...]]:
    found = text(f'SELECT {columns} FROM shown WHERE query_id = :id AND served_on = :day ORDER BY "position"')
    return [tuple(row) for row in session.execute(found, {"id": query_id, "day": day_of(query_id)})]


def test_places_go_on_from_page_to_page_and_wrap_at_the_columns(session: Session) -> None:
    query_id = serve(session, [["a", "b", "c", "d"], ["e", "f"]], layout="grid", columns=3)
    places = shown(session, query_id, 'product_id, "position", grid_row, grid_column, p_show')
    assert places == [
        ("a", 1, 0, 0, 0.25),
        ("b", 2, 0, 1, 0.25),
        ("c", 3, 0, 2, 0.25),
        ("d", 4, 1, 0, 0.25),
        ("e", 5, 1, 1, None),
        ("f", 6, 1, 2, None),
    ]


@pytest.mark.parametrize(
    ("said", "places"),
    [({"layout": "list"}, [(0, 0), (1, 0)]), ({"layout": "grid"}, [(None, None)] * 2), ({}, [(None, None)] * 2)],
    ids=["list", "grid of unknown width", "unknown"],
)
def test_a_list_has_one_column_and_what_nobody_said_is_not_guessed(
    session: Session, said: dict[str, Any], places: list[Any]
) -> None:
    assert shown(session, serve(session, [["a", "b"]], **said), "grid_row, grid_column") == places


def test_each_product_of_an_interleaved_page_has_its_team(session: Session) -> None:
    query_id = serve(session, [["a", "b", "c"], ["d"]], coins={"kind": "team_draft", "teams": ["N", "B", "A"]})
    teams = shown(session, query_id, "product_id, team, generation_id")
    assert teams == [("a", "N", 7), ("b", "B", 7), ("c", "A", 7), ("d", None, 7)]
