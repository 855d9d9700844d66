"""A session over HTTP: what is said of a list makes the next one, and nothing of it stays in the process."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.search.conftest import COLOURS, Search, Shop, ids, png

Refine = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def toys(shop: Shop) -> Shop:
    """Ten pictures of each of four colours; captions name shape and colour."""
    sent, pictures = [], {}
    for colour, value in COLOURS.items():
        for n in range(10):
            product = f"{colour}{n}"
            sent.append({"id": product, "title": "Toy", "captions": [f"a {colour} toy number {n}"], "price": n + 1})
            pictures[product] = [png(value, mark=n)]
    shop.add(*sent, pictures=pictures)
    return shop


@pytest.fixture
def refine(client: TestClient, toys: Shop) -> Refine:  # noqa: ARG001 the shop is filled first
    """Refines and expects an answer."""

    def ask(query_id: str, **request: Any) -> dict[str, Any]:
        answer = client.post(f"/v1/search/{query_id}/refine", json=request)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    return ask


def like(*product_ids: str, value: float = 1) -> list[dict[str, Any]]:
    return [{"product_id": product_id, "value": value} for product_id in product_ids]


@pytest.mark.usefixtures("toys")
class TestATurn:
    def test_makes_a_list_that_names_the_one_before(self, search: Search, refine: Refine) -> None:
        first = search(text="a toy", limit=40)
        liked = ids(first)[3]
        second = refine(first["query_id"], feedback=like(liked))
        assert second["parent_id"] == first["query_id"]
        assert (first["turn"], second["turn"]) == (1, 2)
        assert second["refine"]["strategy"] == "likes"
        assert second["refine"]["decision"] == "moved"
        assert second["refine"]["similarity_to_start"] < 1
        third = refine(second["query_id"], text="green")
        assert (third["parent_id"], third["turn"]) == (second["query_id"], 3)
