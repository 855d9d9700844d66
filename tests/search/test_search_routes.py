"""Searches over HTTP against real components: what is found, in which order, and what is refused."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from backend.blobs import content_hash
from backend.catalog.models import Feature
from backend.db import session_scope
from backend.search.schemas import SearchResponse
from tests.fixtures.api import Keys
from tests.search.conftest import COLOURS, Search, Shop, ids, png


@pytest.fixture(scope="module")
def toys(shop: Shop) -> Shop:
    """Four toys with a picture each, and a lamp without one."""
    pictures = {name: [png(colour)] for name, colour in COLOURS.items()}
    shop.add(
        *(
            {
                "id": name,
                "title": f"Toy {place}",
                "brand": ("Fable", "Grimm")[place % 2],
                "category": "Toys > Plush",
                "price": 10 * (place + 1),
                "captions": [f"a {name} plush toy"],
                "attributes": {"material": ["cotton", "wool"] if place % 2 else "cotton", "height": 5 * place},
                "variants": [{"sku": f"SKU-{name}", "attributes": {"size": "S"}}],
            }
            for place, name in enumerate(COLOURS)
        ),
        {"id": "lamp", "title": "Lamp", "category": ["Lighting"], "captions": ["a tall brass lamp"]},
        pictures=pictures,
    )
    return shop


@pytest.mark.usefixtures("toys")
class TestQuestions:
    def test_words_that_are_a_caption_find_its_product_first(self, search: Search) -> None:
        answer = search(text="a tall brass lamp", lexical=False)
        assert ids(answer)[0] == "lamp"
        assert sorted(ids(answer)) == ["blue", "green", "grey", "lamp", "red"]
        SearchResponse.model_validate(answer)

    def test_positions_count_from_one_and_scores_fall(self, search: Search) -> None:
        hits = search(text="a red plush toy")["hits"]
        assert [hit["position"] for hit in hits] == [1, 2, 3, 4, 5]
        scores = [hit["score"] for hit in hits]
        assert scores == sorted(scores, reverse=True)

    @pytest.mark.parametrize("colour", COLOURS)
    def test_a_picture_finds_itself(self, search: Search, colour: str) -> None:
        encoded = base64.b64encode(png(COLOURS[colour])).decode()
        assert ids(search(image={"base64": encoded}))[0] == colour
        assert ids(search(image={"base64": f"data:image/png;base64,{encoded}"}))[0] == colour

    def test_an_upload_is_a_picture_too(self, client: TestClient) -> None:
        answer = client.post(
            "/v1/search",
            files={"image": ("x.png", png(COLOURS["blue"]), "image/png")},
            data={"request": json.dumps({"limit": 1, "filters": {"category": "toys"}})},
        )
        assert answer.status_code == 200, answer.text
        assert ids(answer.json()) == ["blue"]

    def test_a_picture_searched_by_is_kept_as_a_query_and_not_as_one_of_the_catalogue(
        self, search: Search, shop: Shop
    ) -> None:
        stranger, own = png((200, 200, 0)), png(COLOURS["blue"])
        for picture in (stranger, stranger, own):
            search(image={"base64": base64.b64encode(picture).decode()})
        with session_scope(shop.sessions) as session:
            kinds = {
                name: session.scalars(select(Feature.kind).where(Feature.subject == content_hash(picture))).all()
                for name, picture in (("stranger", stranger), ("own", own))
            }
        assert kinds == {"stranger": ["query"], "own": ["image"]}

    def test_more_like_a_product_leaves_it_out(self, search: Search) -> None:
        answer = search(product_id="red")
        assert sorted(ids(answer)) == ["blue", "green", "grey", "lamp"]

    def test_words_and_a_picture_together(self, search: Search) -> None:
        encoded = base64.b64encode(png(COLOURS["green"])).decode()
        assert ids(search(text="a green plush toy", image={"base64": encoded}))[0] == "green"

    def test_a_sku_comes_first_whatever_its_case(self, search: Search) -> None:
        for words in ("SKU-grey", "sku-GREY", "grey"):
            assert ids(search(text=words))[0] == "grey", words

    def test_a_word_that_one_product_alone_has_brings_it_to_the_front(self, search: Search, shop: Shop) -> None:
        shop.add({"id": "rare", "title": "Zyzzyva"})
        try:
            assert ids(search(text="zyzzyva"))[0] == "rare"
        finally:
            shop.change("rare", deleted_at=datetime.now(UTC))

    def test_lexical_off_leaves_skus_to_the_encoder(self, search: Search) -> None:
        # 10 for the SKU; words that no other product has add 4 deviations, each 1 where nothing was measured
        on, off = search(text="SKU-grey"), search(text="SKU-grey", lexical=False)
        assert on["hits"][0]["score"] == pytest.approx(
            next(hit["score"] for hit in off["hits"] if hit["product_id"] == "grey") + 14, abs=1e-4
        )

    def test_nothing_to_search_for_browses_newest_first_and_counts(self, search: Search) -> None:
        answer = search(filters={"category": "Toys"}, limit=3)
        assert ids(answer) == ["red", "grey", "green"]
        assert (answer["total"], answer["total_is"]) == (4, "exact")

    def test_hits_show_the_product(self, search: Search) -> None:
        shown = next(hit for hit in search(text="toy")["hits"] if hit["product_id"] == "green")["product"]
        assert shown["title"] == "Toy 1"
        assert (shown["price"], shown["brand"], shown["category"]) == (20.0, "Grimm", ["Toys", "Plush"])
        assert shown["captions"] == ["a green plush toy"]
        assert shown["image"].startswith("/images/")
        assert shown["attributes"] == {"material": ["cotton", "wool"], "height": 5}


@pytest.mark.usefixtures("toys")
class TestFilters:
    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"category": "toys"}, ["blue", "green", "grey", "red"]),
            ({"category": "Toys>Plush"}, ["blue", "green", "grey", "red"]),
            ({"category": ["lighting", "nothing"]}, ["lamp"]),
            ({"brand": "FABLE"}, ["blue", "red"]),
            ({"brand": ["Fable", "Grimm"]}, ["blue", "green", "grey", "red"]),
            ({"price": {"lte": 20}}, ["green", "red"]),
            ({"price": {"gt": 10, "lt": 40}}, ["blue", "green"]),
            ({"price": {"gte": 40}}, ["grey"]),
            ({"attributes.material": "wool"}, ["green", "grey"]),
            ({"attributes.material": ["cotton"], "brand": "fable"}, ["blue", "red"]),
            ({"attributes": {"size": "s"}, "price": {"lt": 15}}, ["red"]),
            ({"attributes.height": {"gte": 5, "lt": 15}}, ["blue", "green"]),
            ({"attributes.height": 15}, ["grey"]),
            ({"sku": "sku-red"}, ["red"]),
            ({"sku": ["SKU-red", "SKU-blue", "none"]}, ["blue", "red"]),
            ({"product_ids": ["lamp", "red"]}, ["lamp", "red"]),
            ({"availability": ["in_stock", "preorder"], "category": "lighting"}, ["lamp"]),
            ({"availability": "backorder"}, []),
            ({"in_stock": False}, []),
        ],
    )
    def test_of_words_and_of_browsing_agree(self, search: Search, filters: dict[str, Any], expected: list[str]) -> None:
        assert sorted(ids(search(text="a plush toy", filters=filters))) == expected
        browsed = search(filters=filters)
        assert sorted(ids(browsed)) == expected
        assert browsed["total"] == len(expected)

    @pytest.mark.parametrize(
        "value", ["'; DROP TABLE products; --", 'x" or "1"="1', "] or true", "%_\\", "a b", "\u202e☃", "  "]
    )
    def test_text_is_only_ever_compared(self, search: Search, value: str) -> None:
        if value.strip():
            assert ids(search(text="toy", filters={"brand": value})) == []
        assert ids(search(text="toy", filters={"attributes.material": value})) == []
        assert ids(search(filters={f"attributes.{value.strip() or 'x'}": {"gte": 1}})) == []


@pytest.mark.usefixtures("toys")
class TestSortAndFacets:
    def test_by_price_and_age(self, search: Search) -> None:
        assert ids(search(text="toy", sort="price_asc")) == ["red", "green", "blue", "grey", "lamp"]
        assert ids(search(text="toy", sort="price_desc", filters={"category": "toys"})) == [
            "grey",
            "blue",
            "green",
            "red",
        ]
        assert ids(search(text="toy", sort="newest"))[0] == "red"
        assert ids(search(sort="price_desc"))[0] == "grey"

    def test_facets_count_the_candidates(self, search: Search) -> None:
        wanted = ["brand", "category", "price", "availability", "attributes.material", "attributes.size"]
        for question in ({"text": "toy"}, {}):
            facets = search(**question, facets=wanted)["facets"]
            assert facets["brand"] == {"Fable": 2, "Grimm": 2}
            assert facets["category"] == {"Toys": 4, "Toys > Plush": 4, "Lighting": 1}
            assert facets["availability"] == {"in_stock": 5}
            assert facets["attributes.material"] == {"cotton": 4, "wool": 2}
            assert facets["attributes.size"] == {"S": 4}
            assert (facets["price"]["min"], facets["price"]["max"]) == (10.0, 40.0)
            assert sum(part["count"] for part in facets["price"]["ranges"]) == 4

    def test_facets_follow_the_filters(self, search: Search) -> None:
        assert search(text="toy", filters={"brand": "Fable"}, facets=["brand"])["facets"] == {"brand": {"Fable": 2}}

    def test_no_facets_asked_none_counted(self, search: Search) -> None:
        assert search(text="toy")["facets"] is None


@pytest.mark.usefixtures("toys")
class TestWhatHasChanged:
    """PostgreSQL decides at once; the index is not touched by these tests."""

    def test_a_deleted_product_is_gone(self, search: Search, toys: Shop) -> None:
        with toys.changed("red", deleted_at="2026-01-01T00:00:00Z"):
            answer = search(text="a red plush toy")
        assert "red" not in ids(answer)
        assert answer["total"] == 4

    def test_a_sold_out_product_is_gone_unless_asked_for(self, search: Search, toys: Shop) -> None:
        with toys.changed("red", availability="out_of_stock"):
            assert "red" not in ids(search(text="a red plush toy"))
            assert "red" in ids(search(text="a red plush toy", filters={"in_stock": "any"}))
            assert ids(search(filters={"in_stock": False})) == ["red"]

    def test_a_new_price_counts(self, search: Search, toys: Shop) -> None:
        with toys.changed("red", price=99):
            assert ids(search(text="toy", filters={"price": {"lt": 30}})) == ["green"]


@pytest.mark.usefixtures("toys")
class TestRefused:
    @pytest.mark.parametrize(
        ("request_", "pointer"),
        [
            ({"text": "x" * 1001}, "/text"),
            ({"text": "a\u0000b"}, "/text"),
            ({"limit": 0}, "/limit"),
            ({"limit": 101}, "/limit"),
            ({"limit": "24"}, "/limit"),
            ({"colour": "red"}, "/colour"),
            ({"facets": ["weight"]}, "/facets/0"),
            ({"facets": ["brand"] * 11}, "/facets"),
            ({"filters": {"colour": "red"}}, "/filters/colour"),
            ({"filters": {"brand": ["x"] * 101}}, "/filters/brand"),
            ({"filters": {"brand": "a\u0000"}}, "/filters/brand"),
            ({"filters": {"price": {}}}, "/filters/price"),
            ({"filters": {"price": {"lte": 1e300}}}, "/filters/price/lte"),
            ({"filters": {"in_stock": "maybe"}}, "/filters/in_stock"),
            ({"sort": "cheapest"}, "/sort"),
            ({"image": {"url": "http://x", "base64": "aaaa"}}, "/image"),
            ({"shopper_id": "s" * 257}, "/shopper_id"),
            ({"surface": "s" * 17}, "/surface"),
        ],
    )
    def test_with_the_place_and_what_was_expected(
        self, client: TestClient, request_: dict[str, Any], pointer: str
    ) -> None:
        answer = client.post("/v1/search", json=request_)
        assert answer.status_code == 422, answer.text
        assert pointer in [finding["pointer"] for finding in answer.json()["errors"]]
        assert all("expected" in finding for finding in answer.json()["errors"])

    def test_nan_in_a_body(self, client: TestClient) -> None:
        body = '{"filters": {"price": {"lte": NaN}}}'
        answer = client.post("/v1/search", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422)

    def test_a_product_nobody_knows(self, client: TestClient) -> None:
        answer = client.post("/v1/search", json={"product_id": "nobody"})
        assert answer.status_code == 404
        assert answer.json()["found"] == "nobody"

    @pytest.mark.parametrize("encoded", ["!!!!", base64.b64encode(b"no picture").decode()])
    def test_a_picture_that_is_none(self, client: TestClient, encoded: str) -> None:
        answer = client.post("/v1/search", json={"image": {"base64": encoded}})
        assert answer.status_code == 422, answer.text

    def test_an_address_inside_the_network(self, client: TestClient) -> None:
        answer = client.post("/v1/search", json={"image": {"url": "http://169.254.169.254/latest/meta-data"}})
        assert 400 <= answer.status_code < 500, answer.text

    def test_weights_need_a_server_key(self, client: TestClient, shop_keys: Keys) -> None:
        asked = {"text": "toy", "weights": {"caption": 2.0}}
        assert client.post("/v1/search", json=asked).status_code == 403
        assert client.post("/v1/search", json=asked, headers=shop_keys.server).status_code == 200

    def test_without_a_key(self, client: TestClient) -> None:
        assert client.post("/v1/search", json={}, headers={"Authorization": ""}).status_code == 401
