"""What is learned from and what is not, list by list; and what counts beside clicks."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.events.models import BotUnit, Event, ServedList, ServedPage
from backend.events.query_ids import new_query_id
from backend.experiments.models import Experiment, Layer
from backend.generations.models import EncoderRecord
from backend.learning.click_logs.chosen import parameters
from backend.learning.click_logs.collect import collect
from backend.ml.clicks.click_log import ClickLog
from backend.ml.encoder import Encoder
from tests.learning.click_logs.test_collect import stock, untold
from tests.learning.shop import PlantedShop

NOW = datetime.now(UTC)
ASKED = {"text": "the one they call 3", "image_hash": None, "product_id": None, "filters": {}, "sort": "relevance"}
Row = dict[str, Any]


class Day:
    """Lists and events of one day, each a minute after the one before."""

    def __init__(self, sessions: sessionmaker[Session], numbers: Any) -> None:
        self.sessions, self.numbers, self.minutes = sessions, numbers, 0

    def later(self) -> datetime:
        self.minutes += 2
        return NOW - timedelta(hours=20) + timedelta(minutes=self.minutes)

    def serve(self, shown: list[int], *, page: Row | None = None, request: Row | None = None, **said: Any) -> str:
        """A list of the products p0, p1, … whose places in the shop are ``shown``."""
        query_id, at = new_query_id(NOW), self.later()
        values = {"query_id": query_id, "generation_id": 1, "request": ASKED | (request or {}), "total": len(shown)}
        values |= {"total_is": "exact", "shopper_id": "1:a", "device": "mobile", "layout": "list", "served_at": at}
        names = [f"p{one}" for one in shown]
        rows = {"query_id": query_id, "first_position": 1, "product_ids": names, "scores": [0.5] * len(shown)}
        rows |= {"p_show": [1.0] * len(shown), "candidates": [int(self.numbers[one]) for one in shown]}
        with session_scope(self.sessions) as session:
            session.execute(insert(ServedList).values(values | said))
            session.execute(insert(ServedPage).values(rows | {"candidate_scores": [0.5] * len(shown)} | (page or {})))
        return query_id

    def tell(self, kind: str, query_id: str | None, product: int | None = None, **said: Any) -> None:
        at = self.later()
        values = {"message_id": f"m{self.minutes}", "type": kind, "query_id": query_id, "source": "client"}
        values |= {"product_id": None if product is None else f"p{product}", "shopper_id": "1:a"}
        values |= {"occurred_at": at, "received_at": at, "received_on": at.date()}
        with session_scope(self.sessions) as session:
            session.execute(insert(Event).values(values | said))

    def see(self, query_id: str, product: int, **said: Any) -> None:
        self.tell("exposure", query_id, product, visible_share=1.0, visible_ms=900, **said)


Read = Callable[[], ClickLog]


@pytest.fixture
def day(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> tuple[Day, PlantedShop]:
    shop, numbers = stock(sessions, tiny_encoder)
    return Day(sessions, numbers), shop


@pytest.fixture
def read(day: tuple[Day, PlantedShop], encoder: EncoderRecord, tmp_path: Path) -> Read:
    window = NOW - timedelta(days=1), NOW + timedelta(hours=1)
    return lambda: collect(day[0].sessions, encoder, day[1].encode, tmp_path / "log", window, untold)


def test_each_list_that_is_left_out_is_counted_with_why(day: tuple[Day, PlantedShop], read: Read) -> None:
    on = day[0]
    with session_scope(on.sessions) as session:
        session.execute(insert(BotUnit).values(unit="1:flood", reason="rate"))
    kept = [on.serve([1, 2]), on.serve([3], request={"filters": {"in_stock": True}}), on.serve([2, 1])]
    on.serve([1], is_bot=True)
    on.serve([1], session_id="1:flood")
    on.serve([1], turn=2, parent_id=kept[0], root_id=kept[0])
    on.serve([1], request={"text": None})
    on.serve([1], request={"sort": "newest"})
    on.serve([1], request={"filters": {"brand": ["B"]}})
    on.serve([])
    on.serve([1], page={"p_show": None})
    on.serve([1], request={"text": None, "image_hash": "never seen"})
    on.serve([1], served_at=NOW - timedelta(days=2))
    unseen = on.serve([1, 2], device="tablet")
    on.tell("click", unseen, 1)
    on.see(kept[0], 1)
    on.tell("click", kept[0], 2)
    on.tell("click", kept[2], 2, attribution="none")
    on.tell("click", kept[2], 2, is_bot=True)
    log = read()
    assert log.notes["left_out"] == {
        "bots": 2, "refined": 1, "browsed": 1, "sorted": 1, "filtered": 1, "nothing_found": 1, "odds_unknown": 1,
        "unseen": 1, "query_unknown": 1,
    }  # fmt: skip
    assert [log.notes[name] for name in ("lists", "rows", "viewed", "clicked", "units")] == [3, 5, 2, 1, 1]
    assert log.notes["events"] == {"read": 3, "unattributed": 1, "bots": 1}
    assert log.notes["viewport_loss"] == {"all": 0.5, "by_device": {"mobile": 0.0, "tablet": 1.0}}
    assert log.rows.clicked.tolist() == [False, True, False, False, False]
    assert [len(log.lists.query), len(log.asked.keys)] == [3, 1]
    np.testing.assert_allclose(log.asked.vectors[0], day[1].said[3], atol=1e-6)


def test_a_search_of_nobody_counts_once_something_was_done_with_it(day: tuple[Day, PlantedShop], read: Read) -> None:
    on = day[0]
    for _ in range(3):
        on.serve([1, 2], shopper_id=None)
    on.see(on.serve([1, 2], shopper_id=None), 1, shopper_id=None)
    on.serve([1, 2], shopper_id=None, session_id="1:s")
    log = read()
    assert (log.notes["left_out"]["nobody"], log.notes["lists"]) == (3, 2)


def test_the_columns_are_those_that_it_was_drawn_in_where_nobody_said_when_asking(
    day: tuple[Day, PlantedShop], read: Read
) -> None:
    on = day[0]
    for columns, drawn in ((3, 5), (None, 5), (None, None)):
        on.see(on.serve([1, 2], layout="grid", columns=columns), 1, columns=drawn)
    log = read()
    assert [log.contexts[one].columns for one in log.lists.context] == [3, 5, 0]
    assert {one.name for one in log.contexts} >= {"mobile grid of 5, text"}


def test_pictures_and_products_are_asked_by_what_is_kept_of_them(day: tuple[Day, PlantedShop], read: Read) -> None:
    on, shop = day
    on.serve([1], request={"text": None, "image_hash": "image7"})
    on.serve([1], request={"text": None, "product_id": "p9"})
    on.serve([1], request={"image_hash": "image7"})
    log = read()
    assert dict(zip(log.asked.keys, log.asked.kinds, strict=True)) == {
        "both:the one they call 3\x1fimage7\x1f": "both", "image:image7": "image", "product:p9": "product",
    }  # fmt: skip
    together = shop.said[3] + shop.pictures[7]
    for kind, vector in (("image", shop.pictures[7]), ("product", shop.pictures[9]), ("both", together)):
        found = log.asked.vectors[log.asked.kinds.index(kind)]
        np.testing.assert_allclose(found, vector / np.linalg.norm(vector), atol=1e-6)


def judged(log: ClickLog, shop_numbers: Any) -> list[tuple[int, float, int]]:
    """Place in the shop, label and source of each judgement."""
    places = {number: place for place, number in enumerate(shop_numbers.tolist())}
    rows = zip(log.judgements.product, log.judgements.label, log.judgements.source, strict=True)
    return [(places[int(log.products[product])], float(label), int(source)) for product, label, source in rows]


def test_what_is_said_outright_counts_for_the_query_that_the_session_began_with(
    day: tuple[Day, PlantedShop], read: Read
) -> None:
    """The last word counts; who takes it back has said nothing; a refined list is its session's first query."""
    on = day[0]
    root = on.serve([1, 2, 3, 4, 5, 6])
    refined = on.serve([7, 8], turn=2, parent_id=root, root_id=root)
    on.tell("like", root, 1, value=1.0)
    on.tell("dislike", refined, 7, value=-1.0)
    on.tell("rating", root, 2, value=0.5)
    on.tell("like", root, 3, value=1.0)
    on.tell("dislike", root, 3, value=-1.0, source="refine")
    on.tell("like", root, 4, value=1.0)
    on.tell("rating", root, 4, value=0.0)
    on.tell("like", root, 5, value=1.0, is_bot=True)
    on.tell("box", refined, 8, value=1.0)
    on.tell("box", refined, 6, value=-1.0)
    log = read()
    assert judged(log, on.numbers) == [(1, 2.0, 0), (2, 1.0, 0), (3, 0.0, 0), (7, 0.0, 0), (8, 1.0, 1)]
    assert log.notes["judgements"] == {"thumbs": 4, "boxes": 1, "purchases": 0, "winners": 0}
    assert set(log.judgements.unit.tolist()) == {int(log.lists.unit[0])}


def test_purchases_that_no_list_explains_count_less_than_those_of_a_refined_one(
    day: tuple[Day, PlantedShop], read: Read
) -> None:
    on = day[0]
    root = on.serve([1, 2])
    refined = on.serve([7, 8], turn=2, parent_id=root, root_id=root)
    on.tell("purchase", refined, 7)
    on.tell("purchase", None, 9, attribution="none")
    on.tell("purchase", None, 9, attribution="none", shopper_id="1:somebody else")
    on.see(root, 1)
    on.tell("purchase", root, 1)  # a label of the list itself
    log = read()
    assert judged(log, on.numbers) == [(7, 3.0, 2), (9, 1.0, 2)]
    assert log.rows.label.tolist() == [3.0, 0.0]


def test_a_winners_products_that_the_loser_did_not_show_are_weak_labels_of_nobody(
    day: tuple[Day, PlantedShop], read: Read
) -> None:
    on = day[0]
    made = {"layer": "ranker", "metric": "clicks", "entry_salt": "a", "arm_salt": "b", "coverage": 1.0}
    arms = [{"name": "g1", "weight": 1.0}, {"name": "g2", "weight": 2.0}]
    with session_scope(on.sessions) as session:
        session.execute(insert(Layer).values(name="ranker", salt="s"))
        row = {"name": "heads", "method": "ab", "status": "concluded", "ended_at": NOW - timedelta(hours=1)}
        statement = insert(Experiment).values(**made, **row, arms=arms, decision={"winner": "g2"})
        number = session.scalar(statement.returning(Experiment.id))
    name = f"e{number}"
    on.serve(list(range(20, 32)), experiments={name: "g2"})
    on.serve(list(range(22, 34)), experiments={name: "g1"}, shopper_id="1:b")
    on.serve([40], experiments={name: "g2"}, shopper_id="1:c", request={"text": "the one they call 4"})  # no loser's
    log = read()
    assert judged(log, on.numbers) == [(20, pytest.approx(0.3), 3), (21, pytest.approx(0.3), 3)]
    assert log.judgements.unit.tolist() == [-1, -1]
    assert log.notes["arms"] == [
        {"experiment": name, "units": {"g1": 1, "g2": 2}, "weights": {"g1": 1.0, "g2": 2.0}},
    ]  # fmt: skip


def test_an_empty_window_is_an_empty_log(day: tuple[Day, PlantedShop], read: Read) -> None:
    log = read()
    assert (len(log.lists.query), len(log.rows.product), len(log.judgements.query), log.asked.keys) == (0, 0, 0, ())
    assert log.asked.vectors.shape == (0, 32)
    assert len(log.products) == day[1].count


@pytest.mark.parametrize("hours", [-8, 0, 9])
def test_the_days_of_a_window_are_those_of_utc_in_whatever_zone_its_ends_are_told(hours: int) -> None:
    zone = timezone(timedelta(hours=hours))
    begin, end = datetime(2026, 10, 25, 20, tzinfo=UTC), datetime(2026, 11, 22, 2, tzinfo=UTC)
    found = parameters((begin.astimezone(zone), end.astimezone(zone)))
    assert (found["first"], found["last"]) == (begin.date(), end.date())
