"""Pages repeat nothing and lose nothing, whatever happens between them; and what was served is on record."""

import base64
import re
from typing import Any

import pytest
import redis
from sqlalchemy import select
from starlette.testclient import TestClient

from backend.db import session_scope
from backend.events.models import ServedList, ServedPage
from backend.events.query_ids import day_of
from tests.search.conftest import Search, Shop, ids

COUNT = 60


@pytest.fixture(scope="module")
def shelf(shop: Shop) -> Shop:
    """Sixty products, each with a caption of its own."""
    shop.add(
        *({"id": f"m{n:02}", "title": f"Mug {n}", "captions": [f"mug number {n}"], "price": n} for n in range(COUNT))
    )
    return shop


def walk(search: Search, first: dict[str, Any], **again: Any) -> list[str]:
    """Product ids of ``first`` and all pages behind it."""
    found, cursor = ids(first), first["cursor"]
    while cursor is not None:
        page = search(cursor=cursor, limit=7, **again)
        assert page["query_id"] == first["query_id"]
        found, cursor = found + ids(page), page["cursor"]
    return found


@pytest.mark.usefixtures("shelf")
class TestPages:
    @pytest.mark.parametrize(
        "question", [{"text": "mug number 5"}, {}, {"text": "mug", "sort": "price_desc"}, {"product_id": "m07"}]
    )
    def test_cover_the_list_once(self, search: Search, question: dict[str, Any]) -> None:
        first = search(**question, limit=7)
        found = walk(search, first, **question)
        assert len(found) == len(set(found)) == first["total"] == COUNT - ("product_id" in question)

    @pytest.mark.parametrize("question", [{"text": "mug number 5"}, {}, {"sort": "price_asc", "text": "mug"}])
    def test_cover_it_once_when_redis_was_emptied(
        self, search: Search, redis_server: str, question: dict[str, Any]
    ) -> None:
        whole = ids(search(**question, limit=100))
        first = search(**question, limit=7)
        second = search(cursor=first["cursor"], limit=7)
        redis.Redis.from_url(redis_server).flushall()
        third = search(cursor=second["cursor"], limit=7)
        found = [*ids(first), *ids(second), *walk(search, third)]
        assert found == whole

    @pytest.mark.parametrize("emptied", [False, True])
    def test_leave_out_what_vanishes_in_between(
        self, search: Search, shelf: Shop, redis_server: str, emptied: bool
    ) -> None:
        whole = ids(search(text="mug number 9", limit=100))
        first = search(text="mug number 9", limit=7)
        gone, sold = whole[3], whole[12]  # one from the page already seen, one from a page to come
        with shelf.changed(gone, deleted_at="2026-01-01T00:00:00Z"), shelf.changed(sold, availability="out_of_stock"):
            if emptied:
                redis.Redis.from_url(redis_server).flushall()
            found = walk(search, first)
        assert sold not in found
        assert found == [product_id for product_id in whole if product_id != sold]

    def test_positions_go_on(self, search: Search) -> None:
        first = search(text="mug", limit=7)
        second = search(cursor=first["cursor"], limit=3)
        assert [hit["position"] for hit in second["hits"]] == [8, 9, 10]

    def test_the_same_cursor_gives_the_same_page(self, search: Search, shelf: Shop) -> None:
        first = search(text="mug number 3", limit=7)
        second = search(cursor=first["cursor"], limit=7)
        again = search(cursor=first["cursor"], limit=7)
        assert (again["hits"], again["cursor"]) == (second["hits"], second["cursor"])
        with shelf.changed(ids(second)[0], availability="out_of_stock"):
            later = search(cursor=first["cursor"], limit=7)
        assert later["hits"] == second["hits"][1:]
        assert later["cursor"] == second["cursor"]

    def test_a_cursor_that_was_altered_is_refused(self, client: TestClient, search: Search) -> None:
        cursor = search(text="mug", limit=7)["cursor"]
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        moved = base64.urlsafe_b64encode(raw[:12] + raw[12:].replace(b".7.8", b".0.1")).decode().rstrip("=")
        for broken in (moved, cursor[:-2], cursor + "x", "nonsense", "ÄÖ", "=", "a" * 200):
            answer = client.post("/v1/search", json={"cursor": broken})
            assert answer.status_code == 400, answer.text
            assert answer.json()["found"].startswith(broken[:100])
            assert answer.json()["expected"] == "the cursor of the page before"

    def test_a_cursor_continues_no_other_search(self, client: TestClient, search: Search) -> None:
        cursor = search(text="mug", limit=7)["cursor"]
        answer = client.post("/v1/search", json={"cursor": cursor, "text": "lamp"})
        assert answer.status_code == 422
        assert (answer.json()["found"], answer.json()["expected"]) == ("lamp", "mug")


@pytest.mark.usefixtures("shelf")
class TestRecord:
    def test_each_page_with_its_positions_and_scores(self, search: Search, shop: Shop) -> None:
        first = search(text="mug number 8", limit=5, surface="web", device="mobile", query_type="text")
        second = search(cursor=first["cursor"], limit=5)
        with session_scope(shop.sessions) as session:
            served = session.get_one(ServedList, (first["query_id"], day_of(first["query_id"])))
            pages = session.scalars(
                select(ServedPage).filter_by(query_id=first["query_id"]).order_by(ServedPage.first_position)
            ).all()
        assert (served.turn, served.parent_id, served.total, served.total_is) == (1, None, first["total"], "estimate")
        assert (served.surface, served.device, served.query_type) == ("web", "mobile", "text")
        assert served.request["text"] == "mug number 8"
        assert [(page.first_position, page.product_ids) for page in pages] == [(1, ids(first)), (6, ids(second))]
        assert pages[0].scores == pytest.approx([hit["score"] for hit in first["hits"]], abs=1e-6)

    def test_of_a_shopper_only_a_hash(self, search: Search, shop: Shop) -> None:
        lists = [search(text="mug", shopper_id=name, session_id="s1")["query_id"] for name in ("anna", "anna", "bert")]
        with session_scope(shop.sessions) as session:
            served = [session.get_one(ServedList, (query_id, day_of(query_id))) for query_id in lists]
        assert all(re.fullmatch(r"1:[0-9a-f]{32}", str(one.shopper_id)) for one in served)
        assert served[0].shopper_id == served[1].shopper_id != served[2].shopper_id
        assert served[0].session_id == served[2].session_id != served[0].shopper_id

    def test_nothing_of_someone_still_typing(self, search: Search, shop: Shop) -> None:
        with session_scope(shop.sessions) as session:
            before = set(session.scalars(select(ServedList.query_id)))
        answer = search(text="mug num", partial=True, limit=5)
        assert (answer["query_id"], answer["cursor"], len(answer["hits"])) == (None, None, 5)
        with session_scope(shop.sessions) as session:
            assert set(session.scalars(select(ServedList.query_id))) == before

    def test_is_shown_again_with_gaps_for_what_vanished(self, client: TestClient, search: Search, shelf: Shop) -> None:
        first = search(text="mug number 4", limit=5)
        second = search(cursor=first["cursor"], limit=5)
        again = client.get(f"/v1/search/{first['query_id']}").json()
        assert again["hits"] == first["hits"] + second["hits"]
        assert (again["total"], again["cursor"]) == (first["total"], second["cursor"])
        with shelf.changed(ids(first)[1], deleted_at="2026-01-01T00:00:00Z"):
            gap = client.get(f"/v1/search/{first['query_id']}").json()
        assert [hit["position"] for hit in gap["hits"]] == [1, 3, 4, 5, 6, 7, 8, 9, 10]

    def test_of_a_list_nobody_knows_is_not_found(self, client: TestClient) -> None:
        assert client.get("/v1/search/q_none").status_code == 404
