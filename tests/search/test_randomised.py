"""Lists changed by coins: what the record says of their odds is how often it happens, and nothing else is changed."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis
from prometheus_client import REGISTRY
from sqlalchemy import insert, select, text
from starlette.testclient import TestClient

from backend.access.provided import lookup
from backend.db import session_scope
from backend.events.models import ServedList, ServedPage
from backend.experiments.models import Experiment, Exploration
from backend.experiments.registry import Registry
from backend.generations.models import Generation, GenerationPin
from backend.generations.serving import Serving, ServingHolder
from backend.main import create_app
from backend.ml.clicks.exploration import ExplorationPolicy
from backend.ml.clicks.logged import logged_order, logged_show_odds
from backend.search.first_page import Offered
from backend.search.lists import Listed, Ranking
from backend.search.query_vectors import PictureForgotten
from backend.search.randomiser import Randomiser
from backend.settings import Settings
from tests.fixtures.api import Keys
from tests.fixtures.heads import query_heads
from tests.search.conftest import Search, Shop, ids

COUNT, LIMIT = 30, 8
LISTS = [80, pytest.param(2000, marks=pytest.mark.slow)]
"""The odds themselves are proven in tests/ml/clicks; here, that lists are served by them."""
POLICY = ExplorationPolicy(depth=14, temperature=0.3, slot_chance=0.8)


@pytest.fixture(scope="module")
def shelf(shop: Shop) -> Shop:
    """Thirty products with a caption each; every third of them is old."""
    shop.add(
        *({"id": f"m{n:02}", "title": f"Mug {n}", "captions": [f"mug number {n}"], "price": n} for n in range(COUNT))
    )
    with session_scope(shop.sessions) as session:
        session.execute(text("UPDATE products SET created_at = now() - interval '30 days' WHERE number % 3 = 0"))
    return shop


@pytest.fixture(scope="module")
def client(shelf: Shop, shop_settings: Settings, shop_keys: Keys) -> Iterator[TestClient]:
    """A client of an API whose sessions all explore, and whose shoppers named "both…" are shown two generations."""
    with session_scope(shelf.sessions) as session:
        live = session.scalars(select(Generation).filter_by(state="live")).one()
        heads = query_heads(shelf.encoder.id, shelf.encoder.dim, 7)
        other = Generation(
            index_build_id=live.index_build_id,
            calibration=live.calibration,
            code_version="test",
            state="ready",
            query_heads=heads,
        )
        session.add(other)
        session.flush()
        session.execute(insert(GenerationPin).values(generation_id=other.id, reason="e1"))
        session.execute(insert(Exploration).values(share=1.0, policy=POLICY.to_json()))
    unhurried = shop_settings.model_copy(update={"rate_limit_per_minute": 0})
    with TestClient(create_app(unhurried), client=("203.0.113.9", 50000)) as client:
        client.headers.update(shop_keys.storefront)
        with session_scope(shelf.sessions) as session:
            arms = [{"name": f"g{one}", "weight": 1, "generation_id": one} for one in (live.id, other.id)]
            made = {"name": "heads", "layer": "ranker", "method": "interleave", "metric": "clicks", "status": "running"}
            limits = {"slices": [[0, 10_000]], "coverage": 1.0, "targeting": {"cohort": ["both"]}}
            session.execute(insert(Experiment).values(**made, **limits, arms=arms, entry_salt="in", arm_salt="arm"))
        lookup(client.app, Registry).refresh()
        lookup(client.app, ServingHolder).refresh()
        yield client


def records(shop: Shop, query_ids: list[str]) -> list[tuple[ServedList, list[ServedPage]]]:
    with session_scope(shop.sessions) as session:
        lists = session.scalars(select(ServedList).where(ServedList.query_id.in_(query_ids))).all()
        pages = session.scalars(select(ServedPage).where(ServedPage.query_id.in_(query_ids))).all()
        session.expunge_all()
    by_list: dict[str, list[ServedPage]] = {}
    for page in sorted(pages, key=lambda page: page.first_position):
        by_list.setdefault(page.query_id, []).append(page)
    return [(one, by_list[one.query_id]) for one in lists]


def several(search: Search, count: int, unit: str, **asked: Any) -> list[str]:
    """Lists of as many units; a second page of every tenth."""
    first = [search(text="mug number 5", limit=LIMIT, **{unit: f"a{n}"}, **asked) for n in range(count)]
    for one in first[::10]:
        search(cursor=one["cursor"], limit=LIMIT)
    return [str(one["query_id"]) for one in first]


def counted() -> Counter[str]:
    """Lists that coins were tossed for so far, by kind, as Prometheus sees them."""
    return Counter(
        {
            sample.labels["kind"]: int(sample.value)
            for family in REGISTRY.collect()
            for sample in family.samples
            if sample.name == "morelike_lists_by_coins_total"
        }
    )


def check_frequencies(kept: list[tuple[ServedList, list[ServedPage]]]) -> None:
    """Each product stood at each place as often as the record says; a product's odds there are the same every time."""
    stood: Counter[tuple[str, int]] = Counter()
    odds: dict[tuple[str, int], float] = {}
    for _, pages in kept:
        for position, (product_id, p_show) in enumerate(zip(pages[0].product_ids, pages[0].p_show or (), strict=True)):
            stood[product_id, position] += 1
            assert odds.setdefault((product_id, position), p_show) == p_show
    frequency, said = (np.array([one[cell] for cell in odds]) for one in (stood, odds))
    spread = np.sqrt(said * (1 - said) / len(kept))
    # the 4.5 deviations of a binomial; beside it a count, for what is so rare that its spread says nothing
    off = np.abs(frequency / len(kept) - said)
    assert (off <= 4.5 * spread + 3 / len(kept)).all(), [cell for cell, bad in zip(odds, off, strict=True) if bad > 0.2]
    by_place = Counter[int]()
    for (_, place), p_show in odds.items():
        by_place[place] += p_show  # type: ignore[assignment]
    assert all(0.8 < total < 1 + 1e-5 for total in by_place.values())  # most of what can stand there was seen to


@pytest.mark.parametrize("lists", LISTS)
def test_exploring_lists_show_what_their_odds_say(search: Search, shelf: Shop, lists: int) -> None:
    before = counted()
    kept = records(shelf, several(search, lists, "session_id"))
    check_frequencies(kept)
    kinds = Counter(served.coins["kind"] for served, _ in kept if served.coins)
    assert kinds.keys() == {"pair", "slot"}
    assert counted() - before == kinds
    assert abs(kinds["pair"] / lists - POLICY.pair_share) < 4.5 * 0.5 / lists**0.5
    assert len({tuple(pages[0].candidates or ()) for _, pages in kept}) == 1  # before the coins they are one list
    assert {(served.coins or {}).get("from") for served, _ in kept} - {None} <= set(
        range(LIMIT + 1, POLICY.window(LIMIT) + 1)
    )
    numbers = numbers_of(shelf)
    for served, pages in kept:
        check_record(served, pages, numbers)


@pytest.mark.parametrize("lists", LISTS)
def test_interleaved_lists_show_what_their_odds_say(search: Search, shelf: Shop, lists: int) -> None:
    asked = several(search, lists, "shopper_id", cohort="both")
    kept = records(shelf, asked)
    check_frequencies(kept)
    assert all(served.experiments == {"e1": "interleaved"} for served, _ in kept)
    numbers = numbers_of(shelf)
    for served, pages in kept:
        assert served.coins is not None
        assert served.coins["kind"] == "team_draft"
        assert len(served.coins["teams"]) == LIMIT
        check_record(served, pages, numbers)
    with session_scope(shelf.sessions) as session:
        teams = session.execute(
            text('SELECT team, count(*) FROM shown WHERE query_id = ANY(:ids) AND "position" <= :limit GROUP BY team'),
            {"ids": asked, "limit": LIMIT},
        ).all()
    shown: dict[str, int] = {team: count for team, count in teams}  # noqa: C416  rows are no tuples to mypy
    assert shown["A"] == pytest.approx(shown["B"], rel=0.01)  # eight places: each team has as many of a list


def numbers_of(shop: Shop) -> dict[str, int]:
    with session_scope(shop.sessions) as session:
        return {row.id: row.number for row in session.execute(text("SELECT id, number FROM products"))}


def check_record(served: ServedList, pages: list[ServedPage], number: dict[str, int]) -> None:
    """The order and the odds follow from what is on record."""
    candidates, scores = np.array(pages[0].candidates), np.array(pages[0].candidate_scores)
    shown = np.array([number[one] for page in pages for one in page.product_ids])
    odds = logged_show_odds(candidates, scores, served.coins)
    assert logged_order(candidates, served.coins)[: len(shown)].tolist() == shown.tolist()
    said = [one for page in pages for one in page.p_show or ()]
    assert said == pytest.approx(odds.of_order(shown).tolist(), abs=1e-6)


@pytest.mark.parametrize("asked", [{"session_id": "s1"}, {"shopper_id": "a1", "cohort": "both"}])
class TestARandomisedList:
    @pytest.mark.parametrize("emptied", [False, True])
    def test_is_paged_through_once(
        self, search: Search, redis_server: str, asked: dict[str, Any], emptied: bool
    ) -> None:
        for _ in range(3):
            first = search(text="mug number 9", limit=LIMIT, **asked)
            if emptied:
                redis.Redis.from_url(redis_server).flushall()
            found, cursor = ids(first), first["cursor"]
            while cursor is not None:
                page = search(cursor=cursor, limit=7)
                found, cursor = found + ids(page), page["cursor"]
            assert len(found) == len(set(found)) == first["total"] == COUNT

    def test_is_shown_again_as_it_was(self, client: TestClient, search: Search, asked: dict[str, Any]) -> None:
        first = search(text="mug number 9", limit=LIMIT, **asked)
        second = search(cursor=first["cursor"], limit=LIMIT)
        again = client.get(f"/v1/search/{first['query_id']}").json()
        assert again["hits"] == first["hits"] + second["hits"]
        assert again["cursor"] == second["cursor"]

    def test_says_nothing_of_its_odds(self, search: Search, asked: dict[str, Any]) -> None:
        said = json.dumps(search(text="mug number 9", limit=LIMIT, **asked))
        assert not re.search("p_show|coin|team|explor", said)

    def test_leads_to_refined_ones_that_are_not(
        self, client: TestClient, search: Search, shelf: Shop, asked: dict[str, Any]
    ) -> None:
        first = search(text="mug number 9", limit=LIMIT, **asked)
        liked = {"feedback": [{"product_id": ids(first)[0], "value": 1}], "limit": LIMIT}
        refined = client.post(f"/v1/search/{first['query_id']}/refine", json=liked).json()
        [(served, pages)] = records(shelf, [refined["query_id"]])
        assert (served.turn, served.coins, pages[0].p_show) == (2, None, [1.0] * LIMIT)
        assert served.assignment == records(shelf, [first["query_id"]])[0][0].assignment


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"text": "mug", "sort": "price_desc"},
        {"text": "mug", "query_type": "voice", "limit": 1},
        {"text": "mug", "surface": "voice", "limit": 1},
    ],
)
def test_what_is_no_ranking_of_several_is_left_alone(search: Search, shelf: Shop, asked: dict[str, Any]) -> None:
    found = search(**asked, session_id="s1", shopper_id="a1", cohort="both")
    [(served, pages)] = records(shelf, [found["query_id"]])
    assert (served.coins, pages[0].p_show) == (None, [1.0] * len(found["hits"]))


def test_someone_still_typing_sees_the_ranking(search: Search) -> None:
    lists = [ids(search(text="mug number 5", limit=LIMIT, session_id=f"s{n}", partial=True)) for n in range(20)]
    assert all(one == lists[0] for one in lists)


def test_the_record_names_what_was_asked_how(search: Search, shelf: Shop) -> None:
    found = search(text="mug", limit=LIMIT, layout="grid", columns=3, locale="de-AT", user_id="u1", session_id="s1")
    [(served, pages)] = records(shelf, [found["query_id"]])
    assert (served.layout, served.columns, served.locale) == ("grid", 3, "de-AT")
    assert served.user_id != "u1"
    assert served.latency_ms is not None
    assert 0 < served.latency_ms < 60_000
    assert len(pages[0].candidates or ()) == len(pages[0].candidate_scores or ()) == COUNT
    with session_scope(shelf.sessions) as session:
        places = session.execute(
            text('SELECT "position", grid_row, grid_column FROM shown WHERE query_id = :id ORDER BY "position"'),
            {"id": found["query_id"]},
        ).all()
    assert [tuple(one) for one in places][2:5] == [(3, 0, 2), (4, 1, 0), (5, 1, 1)]


def test_deeper_pages_say_what_they_were_filled_from(search: Search, shelf: Shop) -> None:
    first = search(text="mug", limit=LIMIT, session_id="s1")
    search(cursor=first["cursor"], limit=LIMIT)
    [(_, pages)] = records(shelf, [first["query_id"]])
    assert len(pages[1].candidates or ()) == COUNT - LIMIT


@pytest.mark.parametrize("columns", [0, 21, "3", 2.5])
def test_columns_that_no_page_has_are_refused(client: TestClient, columns: Any) -> None:
    assert client.post("/v1/search", json={"text": "mug", "columns": columns}).status_code == 422


class TestWhatVanishes:
    def test_before_the_coins_is_in_no_draw(self, search: Search, shelf: Shop) -> None:
        gone = ids(search(text="mug number 5", limit=LIMIT, session_id="s1", partial=True))[2]
        with shelf.changed(gone, availability="out_of_stock"):
            found = search(text="mug number 5", limit=LIMIT, session_id="s1")
        [(served, pages)] = records(shelf, [found["query_id"]])
        check_record(served, pages, numbers_of(shelf))
        assert gone not in ids(found)
        assert len(pages[0].candidates or ()) == COUNT - 1

    @pytest.fixture
    def sold(self, shelf: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
        """Places of an exploring list whose products are sold between its coins and its answer."""
        explored, places = Randomiser.explored, list[int]()

        def and_sells(randomiser: Randomiser, listed: Listed, limit: int, policy: ExplorationPolicy) -> Offered:
            offered = explored(randomiser, listed, limit, policy)
            with session_scope(shelf.sessions) as session:
                session.execute(
                    text("UPDATE products SET availability = 'out_of_stock' WHERE number = ANY(:numbers)"),
                    {"numbers": offered.order.numbers[places].tolist()},
                )
            return offered

        monkeypatch.setattr(Randomiser, "explored", and_sells)
        yield places
        with session_scope(shelf.sessions) as session:
            session.execute(text("UPDATE products SET availability = 'in_stock'"))

    def test_behind_the_coins_makes_the_odds_unknown(self, search: Search, shelf: Shop, sold: list[int]) -> None:
        sold.append(0)
        first = search(text="mug number 5", limit=LIMIT, session_id="s1")
        second = search(cursor=first["cursor"], limit=LIMIT)
        [(served, pages)] = records(shelf, [first["query_id"]])
        assert served.coins is not None
        assert [page.p_show for page in pages] == [None, None]
        assert not set(ids(first)) & set(ids(second))

    def test_from_the_end_of_a_page_that_is_not_full_makes_them_unknown_too(
        self, search: Search, shelf: Shop, sold: list[int]
    ) -> None:
        sold.append(-1)  # other coins would have put it among those that are shown
        found = search(text="mug number 5", limit=COUNT + 10, session_id="s1")
        [(served, pages)] = records(shelf, [found["query_id"]])
        assert served.coins is not None
        assert (len(found["hits"]), pages[0].p_show) == (COUNT - 1, None)

    def test_between_pages_makes_the_odds_of_the_next_unknown(self, search: Search, shelf: Shop) -> None:
        first = search(text="mug number 5", limit=LIMIT, session_id="s1")
        [(served, pages)] = records(shelf, [first["query_id"]])
        behind = logged_order(np.array(pages[0].candidates), served.coins)[LIMIT + 1]
        with session_scope(shelf.sessions) as session:
            gone = session.scalar(text("SELECT id FROM products WHERE number = :number"), {"number": int(behind)})
        with shelf.changed(str(gone), availability="out_of_stock"):
            search(cursor=first["cursor"], limit=LIMIT)
        [(_, pages)] = records(shelf, [first["query_id"]])
        assert pages[0].p_show is not None
        assert pages[1].p_show is None


def test_an_interleaved_list_can_be_explained(client: TestClient, search: Search) -> None:
    found = search(text="mug number 5", limit=LIMIT, shopper_id="a1", cohort="both")
    explained = client.get(f"/v1/search/{found['query_id']}/explain", params={"product_id": ids(found)})
    assert explained.status_code == 200, explained.text


def test_a_search_that_the_other_generation_cannot_answer_is_served_unchanged(
    search: Search, shelf: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Ranking.listed

    def only_the_live_one(ranking: Ranking, serving: Serving, *asked: Any, **how: Any) -> Listed:
        if serving.query_heads.text is not None:
            raise PictureForgotten("the picture of this search is no longer known")
        return listed(ranking, serving, *asked, **how)

    monkeypatch.setattr(Ranking, "listed", only_the_live_one)
    found = search(text="mug number 5", limit=LIMIT, shopper_id="a1", cohort="both")
    [(served, pages)] = records(shelf, [found["query_id"]])
    assert (served.coins, pages[0].p_show) == (None, [1.0] * LIMIT)


@pytest.mark.parametrize(("agent", "expected"), [("Mozilla/5.0 (X11) Firefox/140.0", False), ("Googlebot/2.1", True)])
def test_lists_of_programs_are_marked(client: TestClient, shelf: Shop, agent: str, expected: bool) -> None:
    found = client.post("/v1/search", json={"text": "mug"}, headers={"User-Agent": agent}).json()
    assert records(shelf, [found["query_id"]])[0][0].is_bot is expected


def test_an_arm_that_is_not_held_here_serves_nobody(search: Search, shelf: Shop, client: TestClient) -> None:
    holder = lookup(client.app, ServingHolder)
    with session_scope(shelf.sessions) as session:
        session.execute(text("DELETE FROM generation_pins"))
    holder.refresh()
    try:
        found = search(text="mug", limit=LIMIT, shopper_id="a1", cohort="both")
    finally:
        with session_scope(shelf.sessions) as session:
            other = session.scalars(select(Generation.id).filter_by(state="ready")).one()
            session.execute(insert(GenerationPin).values(generation_id=other, reason="e1"))
        holder.refresh()
    [(served, _)] = records(shelf, [found["query_id"]])
    assert found["experiments"] == served.experiments == {}
    assert served.assignment["layers"].keys() == {"explore"}  # another layer: that goes on
    assert served.coins is not None
    assert served.coins["kind"] in ("pair", "slot")
