from itertools import islice
from random import Random

from backend.demo.attributes import (
    CLASHES,
    COLOURS,
    KINDS,
    PATTERNS,
    belongs_to_catalogue,
    random_item,
    training_items,
)
from backend.demo.catalogue import products


def test_training_items_share_no_combination_with_the_catalogue() -> None:
    catalogue = {product.item.combination for product in products(2400, seed=7)}
    training = {item.combination for item in islice(training_items(seed=1), 20_000)}
    assert not catalogue & training
    assert all(belongs_to_catalogue(product.item) for product in products(2400, seed=7))


def test_training_items_are_the_same_for_a_seed_and_others_for_another() -> None:
    first, again, other = (list(islice(training_items(seed), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_random_items_cover_every_value_and_never_clash() -> None:
    random = Random(0)
    items = [random_item(random) for _ in range(4000)]
    assert {item.kind for item in items} == set(KINDS)
    assert {item.colour for item in items} == set(COLOURS)
    assert {item.pattern for item in items} == set(PATTERNS)
    assert {detail for item in items for detail in item.details} == {
        name for kind in KINDS.values() for name in kind.details
    }
    assert not any(frozenset(item.details) in CLASHES for item in items)
    assert all((item.second is None) == (item.pattern == "plain") and item.second != item.colour for item in items)


def test_every_kind_has_three_details_or_more() -> None:
    assert len(KINDS) == 12
    assert all(len(kind.details) >= 3 for kind in KINDS.values())
