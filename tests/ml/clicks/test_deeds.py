"""What single events come to: seen, opened, stayed, came back, went on; each rule by hand."""

import numpy as np
import pytest

from backend.ml.clicks.deeds import KINDS, NEVER, Deeds, Outcomes, outcomes

S = 1_000_000
Told = tuple[int, str, int, int, float]
"""Row (-1: a product of no row), kind, second, milliseconds (-1: not said), share (-1: not said)."""


def done(*told: Told, rows: int = 3, following: int | None = None, served: int = 0) -> Outcomes:
    """What came of one list of ``rows`` products."""
    columns = list(zip(*told, strict=True)) if told else [()] * 5
    row, kind, second, amount, share = columns
    deeds = Deeds(
        list=np.zeros(len(told), np.int64),
        row=np.array(row, dtype=np.int64),
        product=np.array([one if one >= 0 else 100 for one in row], dtype=np.int64),
        kind=np.array([KINDS.index(one) for one in kind], dtype=np.int64),
        at=np.array([S * one for one in second], dtype=np.int64),
        amount=np.array(amount, dtype=np.int64),
        share=np.array(share, dtype=np.float64),
    )
    after = NEVER if following is None else S * following
    return outcomes(deeds, rows, np.array([S * served]), np.array([after]))


@pytest.mark.parametrize(
    ("share", "shown_ms", "seen"),
    [(0.5, 500, True), (0.49, 5000, False), (1.0, 499, False), (1.0, -1, True), (-1.0, 5000, False)],
    ids=["half for half a second", "a strip", "a flash", "nobody said how long", "nobody said how much"],
)
def test_in_view_is_half_of_it_for_half_a_second(share: float, shown_ms: int, seen: bool) -> None:
    assert done((1, "exposure", 1, shown_ms, share)).viewed.tolist() == [False, seen, False]


def test_times_in_view_add_up() -> None:
    assert done((0, "exposure", 1, 300, 0.8), (0, "exposure", 9, 200, 0.5)).viewed[0]


@pytest.mark.parametrize("kind", ["click", "add_to_cart", "wishlist", "purchase"])
def test_what_was_acted_on_was_seen(kind: str) -> None:
    found = done((2, kind, 1, -1, -1.0))
    assert found.viewed.tolist() == [False, False, True]
    assert found.acted.all()
    assert not found.exposed.any()


def test_the_stay_is_the_sum_of_dwell_events_or_else_of_the_times_away() -> None:
    found = done(
        (0, "dwell", 2, 4_000, -1.0), (0, "dwell", 9, 3_000, -1.0), (0, "return", 12, 60_000, -1.0),
        (1, "return", 30, 8_000, -1.0), (2, "return", 40, -1, -1.0),
    )  # fmt: skip
    assert found.dwell_ms.tolist() == [7_000, 8_000, 0]
    assert found.timed.tolist() == [True, True, False]
    assert found.returned.all()
    assert done((0, "dwell", 1, 9_000_000, -1.0)).dwell_ms[0] == 1_800_000  # left open


BOUNCE: tuple[Told, Told] = ((0, "click", 10, -1, -1.0), (0, "return", 13, 3_000, -1.0))


@pytest.mark.parametrize(
    ("then", "went_on"),
    [
        ((1, "click", 20, -1, -1.0), True),
        ((-1, "click", 20, -1, -1.0), True),
        ((1, "click", 74, -1, -1.0), False),
        ((1, "click", 9, -1, -1.0), False),
        ((0, "click", 20, -1, -1.0), False),
        ((-1, "reformulation", 20, -1, -1.0), True),
        ((-1, "reformulation", 200, -1, -1.0), False),
        ((-1, "reformulation", 5, -1, -1.0), False),
        ((1, "exposure", 20, 900, 1.0), False),
    ],
    ids=[
        "another",
        "one of the next page",
        "a minute later",
        "before",
        "the same",
        "asked anew",
        "much later",
        "asked before",
        "seen",
    ],
)
def test_going_on_is_another_click_or_search_within_a_minute_of_coming_back(then: Told, went_on: bool) -> None:
    assert done(*BOUNCE, then).went_on[0] == went_on
    assert done(then, *reversed(BOUNCE)).went_on[0] == went_on  # whatever the order of events


def test_of_several_searches_the_first_after_coming_back_counts() -> None:
    times = [(-1, "reformulation", second, -1, -1.0) for second in (500, 20, 4)]
    assert done(*BOUNCE, *times).went_on.tolist() == [True, False, False]


@pytest.mark.parametrize(("following", "went_on"), [(12, False), (13, True), (73, True), (74, False), (None, False)])
def test_another_search_of_the_visit_is_going_on_too(following: int | None, went_on: bool) -> None:
    assert done(*BOUNCE, following=following).went_on[0] == went_on


def test_who_does_not_come_back_does_not_go_on() -> None:
    assert not done((0, "click", 10, -1, -1.0), (1, "click", 12, -1, -1.0)).went_on.any()


@pytest.mark.parametrize(
    ("told", "following", "anew"),
    [
        ((), None, False),
        ((), 40, True),
        ((), 61, False),
        (((0, "click", 30, -1, -1.0),), 80, True),
        (((-1, "reformulation", 500, -1, -1.0),), None, True),
    ],
    ids=["nothing", "searched on", "came back later", "after the last click", "said so"],
)
def test_a_list_is_asked_anew_by_word_or_within_a_minute(
    told: tuple[Told, ...], following: int | None, anew: bool
) -> None:
    assert done(*told, following=following).anew[0] == anew


def test_nothing_done_is_nothing() -> None:
    found = done()
    assert not any(getattr(found, name).any() for name in ("viewed", "clicked", "timed", "returned", "acted", "anew"))
