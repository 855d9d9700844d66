"""A log read out of PostgreSQL is the log of what the shoppers did, whatever the size of its blocks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_factory, session_scope
from backend.generations.models import EncoderRecord
from backend.learning.click_logs.collect import CollectOptions, collect
from backend.learning.click_logs.columns import load
from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.planted_log import click_log_of
from backend.ml.clicks.simulated_log import Planted, SimulatedLog, planted_shop, simulate_log
from backend.ml.clicks.worlds import Context, Population, World
from backend.ml.encoder import Encoder
from benchmarks.click_traffic import Traffic, write_traffic
from tests.learning.shop import PlantedShop

PRODUCTS, QUERIES, LISTS = 120, 20, 90
NOW = datetime.now(UTC)
WINDOW = (NOW - timedelta(days=2), NOW + timedelta(minutes=1))
WORLD = World(
    "two devices",
    "a grid and a list",
    (
        Population("desks", context=Context()),
        Population("phones", context=Context("mobile", "app", "list", 1, cohort="new")),
    ),
)


def untold(_what: str, _done: int, _total: int) -> None:
    """Nobody looks."""


def traffic_of(world: World, planted: Planted, log: SimulatedLog, coins: list[dict[str, Any] | None]) -> Traffic:
    """Each list a visit of its own, an hour and more after the one before."""
    lists = len(log.query)
    best = np.argsort(-planted.production, axis=1, kind="stable")[log.query][:, :50]
    every = planted.production[log.query]
    return Traffic(
        words=[f"the one they call {query}" for query in log.query],
        unit=[f"shopper{unit}" for unit in log.unit],
        visit=[f"visit{at}" for at in range(lists)],
        context=[world.populations[one].context for one in log.population],
        generation=1 + log.ranker,
        served=NOW.timestamp() - 100_000 + 1000.0 * np.arange(lists),
        shown=log.shown,
        scores=np.take_along_axis(every, log.shown, axis=1),
        p_show=log.p_show,
        acts=log.acts,
        coins=coins,
        candidates=best,
        candidate_scores=np.take_along_axis(every, best, axis=1),
    )


def stock(sessions: sessionmaker[Session], encoder: Encoder, products: int = PRODUCTS) -> tuple[PlantedShop, Any]:
    shop = PlantedShop(products)
    shop.stock(sessions, encoder)
    with session_scope(sessions) as session:
        numbers = session.execute(text("SELECT id, number FROM products")).all()
    by_id = {row.id: row.number for row in numbers}
    return shop, np.array([by_id[f"p{row}"] for row in range(products)])


def test_a_collected_log_is_what_the_shoppers_did(
    sessions: sessionmaker[Session], encoder: EncoderRecord, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    planted = planted_shop(queries=QUERIES, products=PRODUCTS, seed=3)
    log = simulate_log(WORLD, planted, lists=LISTS, units=25, seed=4)
    shop, numbers = stock(sessions, tiny_encoder)
    with session_scope(sessions) as session:
        write_traffic(
            session, traffic_of(WORLD, planted, log, [None] * LISTS), [f"p{n}" for n in range(PRODUCTS)], numbers
        )
    truth = click_log_of(WORLD, planted, log)
    for block in (1000, 7):
        found = collect(
            sessions, encoder, shop.encode, tmp_path / str(block), WINDOW, untold, CollectOptions(block=block)
        )
        same(found, truth, numbers)
        same(load(tmp_path / str(block)), truth, numbers)


def test_days_that_are_not_in_the_window_are_not_even_locked(
    sessions: sessionmaker[Session], encoder: EncoderRecord, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    planted = planted_shop(queries=QUERIES, products=PRODUCTS, seed=3)
    log = simulate_log(WORLD, planted, lists=LISTS, units=25, seed=4)
    shop, numbers = stock(sessions, tiny_encoder)
    names, day = [f"p{n}" for n in range(PRODUCTS)], NOW.date() - timedelta(days=60)
    rows = f"FROM ('{day}') TO ('{day + timedelta(days=1)}')"
    with session_scope(sessions) as session:
        write_traffic(session, traffic_of(WORLD, planted, log, [None] * LISTS), names, numbers)
        for table in ("served_lists", "served_pages", "events"):
            session.execute(text(f"CREATE TABLE old_{table} PARTITION OF {table} FOR VALUES {rows}"))
    impatient = create_engine(sessions.kw["bind"].url, connect_args={"options": "-c lock_timeout=2s"})
    with session_scope(sessions) as dropping:
        dropping.execute(text("LOCK TABLE old_served_lists, old_served_pages, old_events IN ACCESS EXCLUSIVE MODE"))
        found = collect(session_factory(impatient), encoder, shop.encode, tmp_path / "log", WINDOW, untold)
    impatient.dispose()
    assert found.notes["lists"] == LISTS


def same(found: ClickLog, truth: ClickLog, numbers: Any) -> None:
    """Names of queries, products, shoppers and contexts may differ, nothing else."""
    assert found.notes["lists"] == len(truth.lists.query)
    assert found.products[found.rows.product].tolist() == numbers[truth.rows.product].tolist()
    for column in ("position", "viewed", "clicked", "satisfied", "label"):
        np.testing.assert_array_equal(getattr(found.rows, column), getattr(truth.rows, column), column)
    for column in ("p_show", "score"):
        np.testing.assert_allclose(getattr(found.rows, column), getattr(truth.rows, column), rtol=1e-6)
    np.testing.assert_array_equal(found.lists.start, truth.lists.start)
    assert [found.contexts[n] for n in found.lists.context] == [truth.contexts[n] for n in truth.lists.context]
    assert [found.cohorts[n] for n in found.lists.cohort] == [truth.cohorts[n] for n in truth.lists.cohort]
    asked = [found.asked.keys[n].split()[-1] for n in found.lists.query]
    assert asked == [truth.asked.keys[n].removeprefix("text:") for n in truth.lists.query]
    pairs = set(zip(found.lists.unit.tolist(), truth.lists.unit.tolist(), strict=True))
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
