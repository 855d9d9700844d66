"""What is planted: grades by attributes, searches that name them, and events that pages would send."""

from datetime import UTC, datetime
from random import Random
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from backend.demo.attributes import Item, training_items
from backend.demo.captions import training_caption
from backend.demo.catalogue import Product, products
from backend.demo.shoppers.asking import OWN_WORDS, WishBook
from backend.demo.shoppers.doings import Clock, Teller
from backend.demo.shoppers.planted import PlantedTruth
from backend.events.schemas import EventIn
from backend.ml.clicks.shoppers import Acts, Behaviour, act, gain
from backend.ml.clicks.worlds import PASTEL, Context

EVENTS = TypeAdapter(list[EventIn])
SHOP = products(400, 7)


def hat(number: int, colour: str, size: str, detail: str = "a ribbon") -> Product:
    return Product(number, Item("hat", colour, "plain", None, size, "wool", (detail,), "cream"), "")


HATS = [
    hat(1, "red", "small"),
    hat(2, "red", "large"),
    hat(3, "pink", "small"),
    hat(4, "pink", "large", "a pompom"),
    Product(5, Item("mug", "red", "plain", None, "small", "glass", ("a lid",), "cream"), ""),
]


def test_grades_by_hand() -> None:
    """Named: a small hat with a ribbon. Shares of the named features m are 1, 1/2, 1, 0; a mug is no hat. Without
    taste the grade is 4 m²; with taste at half weight and pink loved it is 4 (m² / 2 + m l / 2)."""
    named = frozenset({"kind:hat", "size:small", "detail:a ribbon"})
    assert PlantedTruth(HATS, 0.5).grades(named).tolist() == [4, 1, 4, 0, 0]
    assert PlantedTruth(HATS, 0.5).grades(named, PASTEL).tolist() == [2, 0, 4, 0, 0]
    assert PlantedTruth(HATS, 0.5).grades(frozenset({"kind:hat"}), PASTEL).tolist() == [2, 2, 4, 4, 0]


def test_the_quality_of_a_list_is_its_ndcg_over_the_whole_shop() -> None:
    """Gains 1 and 1/15 are all there is besides a second 1; the reversed order has DCG 1/15 + 1/log2(3) + 1/2."""
    truth, named = PlantedTruth(HATS, 0.0), frozenset({"kind:hat", "size:small", "detail:a ribbon"})
    ids = [one.id for one in HATS]
    assert truth.quality(named, (), [ids[0], ids[2], ids[1]]) == pytest.approx(1)
    best = 1 + 1 / np.log2(3) + 1 / 15 / 2
    assert truth.quality(named, (), [ids[1], ids[0], ids[2]]) == pytest.approx((1 / 15 + 1 / np.log2(3) + 0.5) / best)
    assert truth.gains(named, (), [ids[0], "another shop's"]).tolist() == [1, 0]


@pytest.mark.parametrize("words", ["plain", "own"])
def test_searches_name_features_of_their_product_and_only_those(words: Any) -> None:
    book = WishBook(SHOP, words, count=150, seed=3)
    assert len({wish.text for wish in book.wishes}) == 150
    truth, rng = PlantedTruth(SHOP, 0.0), np.random.default_rng(0)
    for wish in book.wishes:
        assert wish.named <= wish.item.features
        assert truth.grades(wish.named).max() == 4
        for colour in ("red", "blue", "orange"):
            if words == "plain" and f"colour:{colour}" in wish.named:
                assert colour in wish.text
        more = book.refined(wish, rng)
        assert wish.named <= more.named <= wish.item.features
    text = " ".join(wish.text for wish in book.wishes)
    assert ("stuffie" in text or "cuddler" in text) == (words == "own")
    assert ("plush toy" in text) == (words == "plain")


def test_only_what_may_be_named_is_named() -> None:
    book = WishBook(SHOP, "plain", named=("size", "material", "detail"), most=2, count=100)
    rng = np.random.default_rng(1)
    for wish in [*book.wishes, *(book.refined(wish, rng) for wish in book.wishes)]:
        assert {name.split(":")[0] for name in wish.named} <= {"kind", "size", "material", "detail"}
        assert len(wish.named) <= 4  # a second search names one more


def test_own_words_are_in_no_training_caption() -> None:
    random, items = Random(1), training_items(1)
    known = {word for _ in range(3000) for word in training_caption(next(items), random).lower().split()}
    own = {one.split()[0] for words in OWN_WORDS.values() for one in words}
    assert own & known == set()


def hits(count: int) -> list[dict[str, Any]]:
    return [{"product_id": f"p{n}", "product": {"price": 2.5 * n, "currency": "EUR"}} for n in range(1, count + 1)]


def teller() -> Teller:
    clock = Clock(datetime(2026, 1, 5, 12, tzinfo=UTC))
    return Teller({"shopper_id": "a", "session_id": "s"}, Context(device="mobile", columns=2), clock, "run-1")


def test_every_deed_is_one_event_and_events_are_as_the_api_takes_them() -> None:
    rng = np.random.default_rng(5)
    shoppers = Behaviour(scroll=0.9, cart=0.7, wish=0.7, buy=0.9)
    for _ in range(30):
        acts = act(shoppers, gain(rng.integers(0, 5, (1, 12))), 2, rng)
        told = list(teller().doings("q_list", hits(12), acts))
        EVENTS.validate_python(told)
        count = {kind: sum(event["type"] == kind for event in told) for kind in {event["type"] for event in told}}
        assert count.get("click", 0) == acts.clicked.sum()
        assert count.get("dwell", 0) == acts.timed.sum()
        assert count.get("return", 0) == acts.returned.sum()
        assert count.get("add_to_cart", 0) == acts.carted.sum()
        assert count.get("wishlist", 0) == acts.wished.sum()
        assert sum(len(e["items"]) for e in told if e["type"] == "purchase") == acts.bought.sum()
        seen = [item["product_id"] for e in told if e["type"] == "exposure" for item in e["items"]]
        assert seen == [hit["product_id"] for hit, was in zip(hits(12), acts.viewed[0], strict=True) if was]
        assert [e["timestamp"] for e in told] == sorted(e["timestamp"] for e in told)
        assert len({e["message_id"] for e in told}) == len(told)


def test_a_visit_by_hand() -> None:
    """The second of two products is opened for 4 s and left again; nothing more happens."""
    no, times = np.zeros((1, 2), dtype=bool), np.zeros((1, 2), dtype=np.int64)
    second = np.array([[False, True]])
    acts = Acts(~no, times + 900, second, second, no, np.array([[0, 4000]]), second, second, no, no, no, no[:, 0])
    told = list(teller().doings("q_list", hits(2), acts))
    assert [(event["type"], event.get("product_id"), event.get("dwell_ms")) for event in told] == [
        ("exposure", None, None),
        ("click", "p2", None),
        ("dwell", "p2", 4000),
        ("return", "p2", 4000),
    ]
    assert told[0]["items"] == [{"product_id": f"p{n}", "visible_share": 1.0, "visible_ms": 900} for n in (1, 2)]
    assert told[0]["columns"] == 2
    moments = [datetime.fromisoformat(event["timestamp"]) for event in told]
    assert [(later - moments[0]).total_seconds() for later in moments] == [0, 0, 4, 4]
