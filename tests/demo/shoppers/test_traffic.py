"""Simulated shoppers drive the real API: what they did is what the database holds, once, with odds that are true."""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.db import session_scope
from backend.demo.catalogue import products
from backend.demo.shoppers.asking import WishBook
from backend.demo.shoppers.door import Door
from backend.demo.shoppers.planted import PlantedTruth
from backend.demo.shoppers.session import ListDone, Shopping, visitor_of
from backend.demo.shoppers.traffic import DEMO_SEED, Crowd, simulate
from backend.errors import Conflict
from backend.events.behaviour import mark_programs
from backend.generations.models import EncoderRecord
from backend.learning.click_logs.collect import collect
from backend.ml.clicks.adversaries import Honest
from backend.ml.clicks.automated import Limits
from backend.ml.clicks.logged import logged_show_odds
from backend.ml.clicks.off_policy import item_position
from backend.ml.clicks.shoppers import click_probability
from backend.ml.clicks.worlds import WORLDS, World
from backend.ml.encoder import Encoder
from backend.settings import Settings
from tests.demo.shoppers.conftest import COUNT

Shop = tuple[sessionmaker[Session], Settings]


@dataclass(frozen=True)
class Traffic:
    """One simulation, as the shoppers know it and as the database has it."""

    report: dict[str, Any]
    lists: dict[str, ListDone]
    events: list[Any]
    served: list[Any]


def drive(client: TestClient, shop: Shop, world: World, seed: int = 11, **options: Any) -> Traffic:
    done: dict[str, ListDone] = {}
    crowd = Crowd(world, seed=seed, page=8, products=COUNT, **options)
    report = simulate(crowd, client, on_list=lambda one, _: done.update({one.query_id: one}))
    with session_scope(shop[0]) as session:
        named = {"ids": list(done)}
        events = session.execute(
            text("SELECT * FROM events WHERE query_id = ANY(CAST(:ids AS text[])) ORDER BY id"), named
        ).all()
        served = session.execute(
            text(
                "SELECT l.query_id, l.served_at, l.session_id, l.request, l.coins, l.device, l.cohort, l.layout,"
                " l.columns, l.is_bot,"
                " p.product_ids, p.p_show, p.candidates, p.candidate_scores"
                " FROM served_lists l JOIN served_pages p USING (query_id, served_on)"
                " WHERE query_id = ANY(CAST(:ids AS text[]))"
            ),
            named,
        ).all()
    return Traffic(report, done, list(events), list(served))


@pytest.fixture(scope="module")
def traffic(demo_client: TestClient, demo_sessions: Shop) -> Traffic:
    """A shop of several devices and tastes, asked for few things often."""
    return drive(demo_client, demo_sessions, WORLDS["cohorts"], shoppers=100, wishes=6, zipf=0.3)


def test_every_list_was_kept_as_it_was_shown_and_where(traffic: Traffic) -> None:
    assert len(traffic.served) == len(traffic.lists) == traffic.report["done"]["lists"]
    for row in traffic.served:
        done = traffic.lists[row.query_id]
        context = done.population.context
        assert tuple(row.product_ids) == done.product_ids
        assert (row.device, row.cohort, row.layout, row.columns) == (
            context.device,
            context.cohort,
            context.layout,
            context.columns,
        )
        assert not row.is_bot


def test_everything_done_is_kept_once(traffic: Traffic) -> None:
    """Of each list, what the database holds by type and product is what its shopper did, no more and no less."""
    kept: dict[str, Counter[tuple[str, str | None]]] = defaultdict(Counter)
    for row in traffic.events:
        kept[row.query_id][row.type, row.product_id] += 1
    told: dict[str, Counter[tuple[str, str | None]]] = defaultdict(Counter)
    for done in traffic.lists.values():
        for event in done.events:
            for item in event.get("items", [event]):
                told[event.get("query_id") or item["query_id"]][event["type"], item.get("product_id")] += 1
    assert kept == told
    assert set(traffic.report["events"]["verdicts"]) == {"accepted"}
    assert traffic.report["events"]["rows"] == dict(Counter(row.type for row in traffic.events))


def test_the_report_tells_what_the_database_holds(traffic: Traffic) -> None:
    rows = Counter(row.type for row in traffic.events)
    done, by_position = traffic.report["done"], traffic.report["by_position"]
    assert done["viewed"] == rows["exposure"]
    assert done["clicked"] == rows["click"]
    assert done["carted"] == rows["add_to_cart"]
    assert done["bought"] == rows["purchase"]
    assert done["reformulated"] >= rows["reformulation"] > 0  # nobody asks a fourth time
    place = {row.query_id: row.product_ids for row in traffic.served}
    clicked = Counter(place[row.query_id].index(row.product_id) for row in traffic.events if row.type == "click")
    assert by_position["clicked"] == [clicked[at] for at in range(8)]


def test_seen_times_are_those_of_the_shoppers(traffic: Traffic) -> None:
    for row in traffic.events:
        if row.type == "exposure":
            done = traffic.lists[row.query_id]
            assert row.visible_ms == done.acts.visible_ms[0, done.product_ids.index(row.product_id)]
            assert row.visible_share == 1.0
            assert row.columns == done.population.context.columns


@dataclass(frozen=True)
class Drawn:
    """A list that was served, by places.

    Args:
        kind: of its coins.
        row: (k,) of what is shown, the row in ``odds``; for exploration, where it stood before.
        odds: (m, k) of every product that could be shown, computed again from candidates and coins.
        p_show: (k,) as kept.
        done: what was done with it.
        gains: (m,) planted.
    """

    kind: str
    row: np.ndarray
    odds: np.ndarray
    p_show: np.ndarray
    done: ListDone
    gains: np.ndarray


@pytest.fixture(scope="module")
def drawn(traffic: Traffic, demo_sessions: Shop) -> list[Drawn]:
    with session_scope(demo_sessions[0]) as session:
        numbers = {row.id: row.number for row in session.execute(text("SELECT id, number FROM products"))}
    truth = PlantedTruth(products(COUNT, DEMO_SEED), WORLDS["cohorts"].taste)
    found = []
    for row in traffic.served:
        done, shown = traffic.lists[row.query_id], np.array([numbers[one] for one in row.product_ids])
        odds = logged_show_odds(np.array(row.candidates), np.array(row.candidate_scores), row.coins)
        rows = [odds.items.tolist().index(one) for one in shown]
        names = {number: product_id for product_id, number in numbers.items()}
        gains = truth.gains(done.wish.named, done.population.loves, [names[one] for one in odds.items.tolist()])
        p_show = np.array(row.p_show)
        found.append(Drawn(row.coins["kind"], np.array(rows), odds.by_rank[:, : len(shown)], p_show, done, gains))
    return found


def test_each_list_is_changed_by_one_randomiser_at_most(drawn: list[Drawn]) -> None:
    """Who is interleaved does not explore."""
    kinds = Counter((one.done.population.context.cohort, one.kind) for one in drawn)
    assert {kind for cohort, kind in kinds if cohort == "pastel"} == {"team_draft"}
    assert {kind for cohort, kind in kinds if cohort == "dark"} == {"pair", "slot"}


def test_p_show_is_the_odd_of_what_is_shown_where_it_is_shown(drawn: list[Drawn]) -> None:
    for one in drawn:
        np.testing.assert_allclose(one.p_show, one.odds[one.row, np.arange(len(one.row))], atol=1e-6)
        assert (one.p_show > 0).all()


@pytest.mark.parametrize("kinds", [("pair", "slot"), ("team_draft",)], ids=str)
def test_p_show_is_the_observed_frequency(drawn: list[Drawn], kinds: tuple[str, ...]) -> None:
    """How often each place showed what stood at each rank before is what the odds of all lists come to: within 4.5
    standard errors of as many independent draws, and 3 where it is rare. So is how often a page showed what stood
    behind it."""
    own = [one for one in drawn if one.kind in kinds]
    m, k = max(len(one.odds) for one in own), len(own[0].row)
    observed, expected, variance = (np.zeros((m, k)) for _ in range(3))
    for one in own:
        observed[one.row, np.arange(k)] += 1
        expected[: len(one.odds)] += one.odds
        variance[: len(one.odds)] += one.odds * (1 - one.odds)
    assert (np.abs(observed - expected) <= 4.5 * np.sqrt(variance) + 3).all()
    assert abs(observed[k:].sum() - expected[k:].sum()) <= 4.5 * np.sqrt(variance[k:].sum())
    assert observed[k:].sum() > 0
    assert (variance > 1).sum() > k  # there was something to be wrong about


@pytest.mark.parametrize("kinds", [("pair", "slot"), ("team_draft",)], ids=str)
def test_the_logging_policys_value_is_its_observed_rate(drawn: list[Drawn], kinds: tuple[str, ...]) -> None:
    """The odds of the policy that logged, computed again from candidates and coins, over those that were logged."""
    own = [one for one in drawn if one.kind in kinds]
    clicks = np.array([one.done.acts.clicked[0] for one in own], dtype=float)
    again = np.array([one.odds[one.row, np.arange(len(one.row))] for one in own])
    logged, whose = np.array([one.p_show for one in own]), np.array([one.done.shopper for one in own])
    value = item_position(clicks, logged, again, whose)
    assert value.value == pytest.approx(clicks.sum(axis=1).mean(), rel=1e-5)
    assert value.low < value.value < value.high
    assert value.coverage == pytest.approx(1, abs=1e-5)


def test_the_value_of_a_ranking_that_was_not_shown_is_what_is_planted(drawn: list[Drawn]) -> None:
    """What the ranking before the coins would earn, valued by the odds, is what the planted shoppers give it."""
    own = [one for one in drawn if one.kind in ("pair", "slot")]
    clicks = np.array([one.done.acts.clicked[0] for one in own], dtype=float)
    unmoved = np.array([one.row == np.arange(len(one.row)) for one in own], dtype=float)
    logged, whose = np.array([one.p_show for one in own]), np.array([one.done.shopper for one in own])
    value = item_position(clicks, logged, unmoved, whose)
    error = (value.high - value.low) / (2 * 1.96)
    assert abs(value.value - np.mean([_planted_clicks(one) for one in own])) < 4.5 * error
    assert value.coverage == pytest.approx(1, abs=0.1)


def _planted_clicks(one: Drawn) -> float:
    """Clicks that are to be expected of the ranking before the coins, in closed form."""
    shopper, columns = one.done.population.shopper, one.done.population.context.columns
    assert isinstance(shopper, Honest)
    gains = one.gains[None, : len(one.row)]
    chances = click_probability(shopper.behaviour, gains, columns)
    return float((chances * shopper.behaviour.in_view(gains.shape[1], columns)).sum())


def test_the_night_reads_what_the_shoppers_did(
    traffic: Traffic, demo_sessions: Shop, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    """Every product of every list: where it stood, with which odds, and the label that its shopper's doings come to."""
    sessions, now = demo_sessions[0], datetime.now(UTC)
    with session_scope(sessions) as session:
        record = session.get_one(EncoderRecord, tiny_encoder.id)
        names = {row.number: row.id for row in session.execute(text("SELECT id, number FROM products"))}
    window = now - timedelta(days=1), now
    log = collect(sessions, record, tiny_encoder.encode_texts, tmp_path / "log", window, lambda *_: None)
    sold = [names[number] for number in log.products.tolist()]
    order = sorted(traffic.served, key=lambda row: (row.served_at, row.query_id))
    assert (log.notes["lists"], log.notes["left_out"], log.notes["viewport_loss"]["all"]) == (len(order), {}, 0.0)
    assert [log.asked.keys[one] for one in log.lists.query] == [
        f"text:{traffic.lists[row.query_id].wish.text}" for row in order
    ]
    labels, viewed = zip(*(_graded(row, order, traffic.lists[row.query_id]) for row in order), strict=True)
    assert [sold[row] for row in log.rows.product] == [one for row in order for one in row.product_ids]
    np.testing.assert_array_equal(log.rows.viewed, np.concatenate(viewed))
    np.testing.assert_array_equal(log.rows.label, np.concatenate(labels))
    np.testing.assert_allclose(log.rows.p_show, np.concatenate([row.p_show for row in order]), rtol=1e-6)
    assert len(log.coins.list) == len(order)  # of every list
    coins = log.coins
    which = zip(coins.list[coins.of].tolist(), coins.product.tolist(), coins.rank.tolist(), strict=True)
    odds = dict(zip(which, coins.chance.tolist(), strict=True))
    rows = zip(log.list_of_rows(), log.rows.product, log.rows.position, log.rows.p_show, strict=True)
    assert all(odds[one, product, rank] == pytest.approx(p_show, rel=1e-5) for one, product, rank, p_show in rows)


def _graded(row: Any, order: list[Any], done: ListDone) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a list and what was in view, by hand: with 30 s that satisfy, as of a shop with few clicks."""
    visit = [one for one in order if one.session_id == row.session_id]
    behind = visit[visit.index(row) + 1 :][:1]
    anew = bool(behind) and tuple(behind[0].request["text"]) != tuple(row.request["text"])
    acts, labels = done.acts, np.zeros(len(done.product_ids), np.float32)
    for place in np.flatnonzero(acts.clicked[0]):
        stayed, timed = acts.dwell_ms[0, place], acts.timed[0, place]
        went_on = acts.returned[0, place] and (acts.clicked[0, place + 1 :].any() or anew)
        labels[place] = 0.0 if timed and stayed < 5_000 and went_on else 1.0 if timed and stayed >= 30_000 else 0.3
    labels[acts.carted[0] | acts.wished[0]] = 2.0
    labels[acts.bought[0]] = 3.0
    return labels, acts.viewed[0] | acts.clicked[0]


def test_another_shops_products_are_refused(demo_client: TestClient) -> None:
    """Who plants nothing on what is sold here would click at random."""
    sold_elsewhere, chosen = PlantedTruth((), 0.0), products(COUNT, DEMO_SEED)
    shopping = Shopping(Door(demo_client), WishBook(chosen, "plain", count=4), sold_elsewhere, lambda _: None)
    rng = np.random.default_rng(1)
    with pytest.raises(Conflict, match="not the demo's products"):
        shopping.visit(visitor_of(WORLDS["strong"].populations[0], 1, "strong-1", "run", rng), rng)


def test_bots_are_marked_by_their_name_or_by_what_they_do_and_shoppers_are_not(
    demo_client: TestClient,
    demo_sessions: Shop,
    traffic: Traffic,
) -> None:
    """A crawler says what it is; the flood does not, but nobody opens so much of what was never in view."""
    world = replace(WORLDS["bots"], populations=WORLDS["bots"].populations[-2:])
    flood = drive(demo_client, demo_sessions, world, seed=12, shoppers=6, wishes=4)
    assert {row.type for row in flood.events} == {"click"}
    crawled = {query_id for query_id, done in flood.lists.items() if done.population.name == "crawler"}
    assert crawled
    assert all(row.is_bot == (row.query_id in crawled) for row in (*flood.events, *flood.served))
    clicks = Counter(flood.lists[row.query_id].shopper for row in flood.events if row.query_id not in crawled)
    with session_scope(demo_sessions[0]) as session:
        mark_programs(session, datetime.now(UTC))
        marked = set(session.scalars(text("SELECT query_id FROM events WHERE is_bot")))
    busy = {query_id for query_id, done in flood.lists.items() if clicks[done.shopper] >= Limits().enough}
    assert busy <= marked
    assert marked & traffic.lists.keys() == set()
