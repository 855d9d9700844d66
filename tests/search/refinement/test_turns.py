"""A session over HTTP: what is said of a list makes the next one, and nothing of it stays in the process."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import delete, insert, select, update
from starlette.testclient import TestClient

from backend.db import session_scope
from backend.events.models import Event, ServedList
from backend.generations.models import Generation
from backend.main import create_app
from backend.settings import Settings
from tests.fixtures.api import Keys
from tests.search.conftest import COLOURS, Search, Shop, ids, png

Refine = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def toys(shop: Shop) -> Shop:
    """Ten pictures of each of four colours; captions name the colour."""
    sent, pictures = [], {}
    for colour, value in COLOURS.items():
        for n in range(10):
            product = f"{colour}{n}"
            sent.append({"id": product, "title": "Toy", "captions": [f"a {colour} toy number {n}"], "price": n + 1})
            pictures[product] = [png(value, mark=n)]
    shop.add(*sent, pictures=pictures)
    return shop


def refiner(client: TestClient) -> Refine:
    """Refines and expects an answer."""

    def ask(query_id: str, **request: Any) -> dict[str, Any]:
        answer = client.post(f"/v1/search/{query_id}/refine", json=request)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    return ask


@pytest.fixture
def refine(client: TestClient) -> Refine:
    return refiner(client)


def said(*product_ids: str, value: float = 1) -> list[dict[str, Any]]:
    return [{"product_id": product_id, "value": value} for product_id in product_ids]


def shown(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(hit["product_id"], hit["score"]) for hit in answer["hits"]]


class TestAList:
    def test_names_the_one_before_and_what_came_of_the_turn(self, search: Search, refine: Refine) -> None:
        first = search(text="a toy", limit=40)
        second = refine(first["query_id"], feedback=said("red4"))
        third = refine(second["query_id"], text="green")
        assert [one["parent_id"] for one in (first, second, third)] == [None, first["query_id"], second["query_id"]]
        assert [one["turn"] for one in (first, second, third)] == [1, 2, 3]
        assert second["refine"]["strategy"] == "likes"
        assert third["refine"]["strategy"] == "text+likes"
        assert second["refine"]["decision"] == "moved"
        assert second["refine"]["similarity_to_start"] == second["refine"]["similarity_to_last"] < 1
        assert first.get("refine") is None

    def test_has_more_of_what_is_liked_and_less_of_what_is_not(self, search: Search, refine: Refine) -> None:
        first = search(text="a toy", limit=40)
        second = refine(first["query_id"], feedback=said("red1", "red2") + said("blue1", value=-1), limit=40)
        liked = [place for place, one in enumerate(ids(second)) if one.startswith("red")]
        before = [place for place, one in enumerate(ids(first)) if one.startswith("red")]
        assert sum(liked) / len(liked) < sum(before) / len(before)
        assert "blue1" not in ids(second), "what is disliked goes"
        assert {"red1", "red2"} <= set(ids(second)), "what is liked stays"

    def test_says_where_each_hit_was_and_why_it_is_here(self, search: Search, refine: Refine) -> None:
        whole = search(text="a toy", limit=40)
        first = search(text="a toy", limit=5)
        second = refine(first["query_id"], feedback=said("green3"), limit=40)
        place = {one: number for number, one in enumerate(ids(whole), start=1)}
        assert {hit["product_id"]: hit["previous_position"] for hit in second["hits"]} == {
            one: place[one] for one in ids(second)
        }
        reasons = {hit["product_id"]: hit["because"] for hit in second["hits"]}
        assert reasons["green3"] == [], "no product is here because it is like itself"
        assert reasons["green4"] == ["green3"]
        assert {tuple(found) for found in reasons.values()} <= {(), ("green3",)}

    def test_is_told_as_events_of_the_list_before(self, search: Search, refine: Refine, shop: Shop) -> None:
        first = search(text="a toy", session_id="s7")
        refine(first["query_id"], feedback=[{"product_id": "red1", "stars": 1}, {"product_id": "red2", "value": 1}])
        with session_scope(shop.sessions) as session:
            events = session.scalars(select(Event).filter_by(query_id=first["query_id"]).order_by(Event.id)).all()
            kept = [(event.type, event.product_id, event.value, event.source) for event in events]
        assert kept == [("rating", "red1", -1.0, "refine"), ("like", "red2", 1.0, "refine")]

    def test_is_the_account_s_unless_another_browser_goes_on(self, search: Search, refine: Refine, shop: Shop) -> None:
        first = search(text="a toy", shopper_id="a7", user_id="u1")["query_id"]
        with session_scope(shop.sessions) as session:
            session.execute(update(ServedList).filter_by(query_id=first).values(is_bot=True))
        refine(first, feedback=said("red1"), shopper_id="a7")
        refine(first, feedback=said("red1"), shopper_id="b8")
        with session_scope(shop.sessions) as session:
            owner = session.scalar(select(ServedList.user_id).filter_by(query_id=first))
            lists = session.scalars(select(ServedList.user_id).filter_by(parent_id=first).order_by("served_at")).all()
            events = session.scalars(select(Event).filter_by(query_id=first).order_by(Event.id)).all()
            assert [(event.user_id, event.is_bot) for event in events] == [(owner, True), (None, True)]
        assert owner is not None
        assert lists == [owner, None], "else an export of the account would hold all of the other browser's rows"


class TestWhatWasSaid:
    def test_counts_in_later_turns_as_if_it_was_said_at_once(self, search: Search, refine: Refine) -> None:
        first = search(text="a toy", limit=40)["query_id"]
        at_once = refine(first, feedback=said("red1") + said("blue2", value=0.5), limit=40)
        one = refine(first, feedback=said("red1"), limit=40)
        other = refine(one["query_id"], feedback=said("blue2", value=0.5), limit=40)
        assert ids(other) == ids(at_once)
        assert other["refine"]["similarity_to_start"] == at_once["refine"]["similarity_to_start"]

    def test_is_replaced_by_what_is_said_later_and_taken_back_with_0(self, search: Search, refine: Refine) -> None:
        first = search(text="a toy", limit=40)
        disliked = refine(first["query_id"], feedback=said("red1", value=-1), limit=40)
        assert "red1" not in ids(disliked)
        liked = refine(disliked["query_id"], feedback=said("red1"), limit=40)
        assert ids(liked) == ids(refine(first["query_id"], feedback=said("red1"), limit=40))
        back = refine(disliked["query_id"], feedback=said("red1", value=0), strategy=None, text="toy", limit=40)
        assert "red1" in ids(back)
        assert back["refine"]["strategy"] == "text"

    def test_leaves_out_what_is_liked_where_that_is_wanted(self, search: Search, refine: Refine) -> None:
        first = search(text="a toy", limit=40)
        second = refine(first["query_id"], feedback=said("red1"), exclude_liked=True, limit=40)
        third = refine(second["query_id"], text="toy", limit=40)
        again = refine(third["query_id"], exclude_liked=False, limit=40)
        assert ["red1" in ids(one) for one in (first, second, third, again)] == [True, False, False, True]

    def test_keeps_filters_and_sort_until_others_are_given(self, search: Search, refine: Refine) -> None:
        first = search(text="a toy", filters={"price": {"lte": 5}}, sort="price_asc", limit=40)
        second = refine(first["query_id"], feedback=said("red1"), limit=40)
        prices = [hit["product"]["price"] for hit in second["hits"]]
        assert prices == sorted(prices)
        assert max(prices) == 5
        third = refine(second["query_id"], filters={"price": {"gt": 5}}, sort="relevance", limit=40)
        assert min(hit["product"]["price"] for hit in third["hits"]) == 6


class TestASession:
    @pytest.mark.parametrize(
        "begun",
        [
            {"text": "a toy"},
            {"product_id": "grey3"},
            {"image": {"base64": base64.b64encode(png(COLOURS["red"], mark=77)).decode()}},
            {"text": "blue", "product_id": "grey3"},
            {},
        ],
        ids=["text", "product", "picture", "both", "browsing"],
    )
    @pytest.mark.parametrize(
        "turn",
        [{"feedback": said("green1")}, {"feedback": said("green1", value=-1)}, {"text": "a green toy"}, {}],
        ids=["likes", "dislikes", "words", "nothing"],
    )
    def test_goes_on_whatever_began_it(
        self, search: Search, refine: Refine, begun: dict[str, Any], turn: dict[str, Any]
    ) -> None:
        first = search(**begun, limit=40)
        second = refine(first["query_id"], **turn, limit=40)
        assert len(second["hits"]) >= 38
        assert "grey3" not in ids(second) or "product_id" not in begun
        assert -1 <= second["refine"]["similarity_to_start"] <= 1.000001

    def test_that_began_by_browsing_goes_to_what_is_liked(self, search: Search, refine: Refine) -> None:
        second = refine(search()["query_id"], feedback=said("green1"), exclude_liked=True)
        assert {one.rstrip("0123456789") for one in ids(second)[:5]} == {"green"}

    def test_pages_on_and_is_shown_again_when_redis_was_emptied(
        self, client: TestClient, search: Search, refine: Refine, redis_server: str
    ) -> None:
        first = search(text="a toy", limit=40)
        turn = {"feedback": said("red1", "green1") + said("blue1", value=-1), "text": "a green toy"}
        whole = refine(first["query_id"], **turn, limit=40)
        page = refine(first["query_id"], **turn, limit=10)
        redis.Redis.from_url(redis_server).flushall()
        found, cursor, hits = shown(page), page["cursor"], page["hits"]
        while cursor is not None:
            following = search(cursor=cursor, limit=10)
            assert following["refine"] == page["refine"]
            found, cursor, hits = found + shown(following), following["cursor"], hits + following["hits"]
        assert found == shown(whole)
        again = client.get(f"/v1/search/{page['query_id']}").json()
        assert [(one["product_id"], one["because"]) for one in again["hits"]] == [
            (one["product_id"], one["because"]) for one in whole["hits"]
        ]
        assert (again["refine"], again["parent_id"], again["turn"]) == (page["refine"], first["query_id"], 2)

    def test_is_undone_by_going_on_from_an_earlier_list(self, search: Search, refine: Refine) -> None:
        first = search(text="a toy", limit=40)
        second = refine(first["query_id"], feedback=said("red1"), limit=40)
        refine(second["query_id"], feedback=said("blue1"), limit=40)
        assert shown(refine(first["query_id"], feedback=said("red1"), limit=40)) == shown(second)

    def test_is_not_mixed_with_others_that_go_on_at_the_same_time(self, search: Search, refine: Refine) -> None:
        def session(number: int) -> list[Any]:
            colour = list(COLOURS)[number % 4]
            lists = [search(text=f"a {colour} toy", limit=40)]
            for turn in range(3):
                feedback = said(f"{colour}{turn}") + said(f"{colour}{9 - turn}", value=-1)
                lists.append(refine(lists[-1]["query_id"], feedback=feedback, limit=40))
            return [(ids(one), one.get("refine")) for one in lists]

        alone = [session(number) for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(session, range(8))) == alone * 2

    def test_expires(self, client: TestClient, search: Search, shop: Shop) -> None:
        first = search(text="a toy")
        with session_scope(shop.sessions) as session:
            old = datetime.now(UTC) - timedelta(hours=73)
            session.execute(update(ServedList).filter_by(query_id=first["query_id"]).values(served_at=old))
        answer = client.post(f"/v1/search/{first['query_id']}/refine", json={"text": "red"})
        assert answer.status_code == 409
        assert (answer.json()["found"], answer.json()["expected"]) == ("73.0 hours", "at most 72 hours")

    @pytest.fixture
    def flipped(self, shop: Shop) -> Iterator[tuple[int, int]]:
        """Numbers of the generation that was live and of another one over the same build, which is live now."""
        with session_scope(shop.sessions) as session:
            old = session.scalars(select(Generation).filter_by(state="live")).one()
            values = {name: getattr(old, name) for name in ("index_build_id", "calibration", "code_version")}
            old.state = "retired"
            session.flush()
            new = session.scalars(insert(Generation).values(**values, state="live").returning(Generation.id)).one()
            pair = old.id, new
        yield pair
        with session_scope(shop.sessions) as session:
            session.execute(delete(Generation).where(Generation.id == new))
            if session.get(Generation, pair[0]) is None:
                session.execute(insert(Generation).values(**values, id=pair[0], state="live"))
            session.execute(update(Generation).where(Generation.id == pair[0]).values(state="live"))

    def test_survives_a_restart_and_a_flip_and_the_end_of_its_generation(
        self, search: Search, refine: Refine, shop: Shop, shop_settings: Settings, shop_keys: Keys,
        redis_server: str, request: pytest.FixtureRequest,
    ) -> None:  # fmt: skip
        first = search(text="a toy", limit=40)
        second = refine(first["query_id"], feedback=said("red1"), limit=40)
        third = refine(second["query_id"], text="a green toy", limit=40)
        old, new = request.getfixturevalue("flipped")
        redis.Redis.from_url(redis_server).flushall()
        with TestClient(create_app(shop_settings), client=("203.0.113.9", 50000)) as restarted:
            restarted.headers.update(shop_keys.storefront)
            fresh = restarted.post("/v1/search", json={"text": "a toy"}).json()
            again = refiner(restarted)(second["query_id"], text="a green toy", limit=40)
            assert (fresh["generation"], again["generation"]) == (f"g{new}", f"g{old}"), (
                "a session keeps its generation"
            )
            assert shown(again) == shown(third)
            with session_scope(shop.sessions) as session:
                session.execute(delete(Generation).where(Generation.id == old))
            over = refiner(restarted)(second["query_id"], text="a green toy", limit=40)
            assert over["generation"] == f"g{new}"
            assert shown(over) == shown(third)


class TestRefused:
    @pytest.mark.parametrize("named", [{"policy": "prf"}, {"strategy": "grf"}, {"weights": {"k": 3}}])
    def test_without_a_servers_key(
        self, client: TestClient, search: Search, shop_keys: Keys, named: dict[str, Any]
    ) -> None:
        path = f"/v1/search/{search(text='a toy')['query_id']}/refine"
        answer = client.post(path, json=named)
        assert answer.status_code == 403
        assert answer.json()["expected"] == "scope server or above"
        allowed = client.post(path, json=named, headers=shop_keys.server)
        assert allowed.status_code == 200, allowed.text
        if "weights" not in named:
            assert allowed.json()["refine"]["strategy"] == next(iter(named.values()))

    @pytest.mark.parametrize(
        ("wrong", "status", "named"),
        [
            ({"feedback": said(*(f"p{n}" for n in range(101)))}, 422, "100"),
            ({"feedback": [{"product_id": "red1"}]}, 422, "one of value, stars and dwell_ms"),
            ({"feedback": [{"product_id": "red1", "value": 1, "stars": 5}]}, 422, "value and stars"),
            ({"feedback": [{"product_id": "red1", "value": 1.5}]}, 422, "1.5"),
            ({"feedback": [{"product_id": "red1", "value": 1, "label": "eye"}]}, 422, "with a box only"),
            ({"feedback": [{"product_id": "red1", "value": 1, "box": [0.5, 0, 0.5, 1]}]}, 422, "x1 < x2"),
            ({"feedback": said("never-there")}, 404, "never-there"),
        ],
    )
    def test_with_what_was_found(
        self, client: TestClient, search: Search, wrong: dict[str, Any], status: int, named: str
    ) -> None:
        answer = client.post(f"/v1/search/{search(text='a toy')['query_id']}/refine", json=wrong)
        assert answer.status_code == status, answer.text
        assert named in answer.text
        assert len(answer.text) < 3000

    def test_of_a_list_that_is_not_there(self, client: TestClient) -> None:
        assert client.post("/v1/search/q_nothing/refine", json={}).status_code == 404
