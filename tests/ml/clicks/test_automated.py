"""Programs are told from people by what no person does; each limit alone is enough, and just below it is not."""

from dataclasses import replace

import pytest

from backend.ml.clicks.automated import Behaviour, Limits, automated

EAGER = Behaviour(
    acts=180,
    acts_at_once=60,
    lists_at_once=90,
    clicks=150,
    unseen=0.2,
    one_product=0.3,
    lists_clicked=80,
    variation=1.1,
)
"""A person with a day to spend on shopping."""


def test_an_eager_person_is_a_person() -> None:
    assert automated(EAGER) is None
    assert automated(Behaviour()) is None


@pytest.mark.parametrize(
    ("change", "below", "said"),
    [
        ({"acts_at_once": 120}, {"acts_at_once": 119}, "rate: 120 acts within ten minutes"),
        ({"lists_at_once": 200}, {"lists_at_once": 199}, "rate: 200 searches within ten minutes"),
        ({"acts": 1000}, {"acts": 999}, "volume: 1000 acts within a day"),
        ({"unseen": 0.95}, {"unseen": 0.94}, "unseen: 95% of 150 clicks on products that were not in view"),
        ({"unseen": 1.0, "clicks": 30}, {"unseen": 1.0, "clicks": 29}, "unseen: 100% of 30 clicks"),
        ({"one_product": 0.96}, {"one_product": 0.94}, "one product: 96% of 150 clicks, over 80 lists"),
        ({"one_product": 1, "lists_clicked": 30}, {"one_product": 1, "lists_clicked": 29}, "one product: 100%"),
        ({"variation": 0.02}, {"variation": 0.11}, "even intervals: 180 acts whose intervals vary by 2.0%"),
    ],
)
def test_each_limit_alone_is_enough_and_just_below_it_is_not(
    change: dict[str, float], below: dict[str, float], said: str
) -> None:
    assert (automated(replace(EAGER, **change)) or "").startswith(said)
    assert automated(replace(EAGER, **below)) is None


def test_what_nobody_reports_is_held_against_nobody() -> None:
    assert automated(replace(EAGER, unseen=None)) is None


def test_limits_can_be_another_shops() -> None:
    assert automated(EAGER, Limits(acts=180)) == "volume: 180 acts within a day"
