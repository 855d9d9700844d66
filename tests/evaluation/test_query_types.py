"""Types of queries: by rule, so each example says a rule."""

import pytest

from backend.evaluation.adapters.query_types import by_type, types_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red mug", {"colour", "kind"}),
        ("Mugs of stoneware", {"kind"}),
        ("cotton", {"material"}),
        ("Striped Dresses", {"pattern", "kind"}),
        ("polka-dot", {"other"}),
        ("tie-dye shirt", {"pattern", "kind"}),
        ("something for my aunt", {"other"}),
        ("a b c d e f g h i j", {"long"}),
        ("a b c d e f g h i", {"other"}),
        ("Nokia AB1234", {"noisy"}),
        ("1234 5678", {"other"}),
        ("niiice", {"noisy"}),
        ("LOOK AT THIS", {"noisy"}),
        ("SALE NOW", {"other"}),
        ("see https://shop.example", {"noisy"}),
        ("cups &amp; more of them", {"kind", "noisy"}),
        ("?!?", {"noisy"}),
        ("", {"noisy"}),
    ],
)
def test_words_decide(text: str, expected: set[str]) -> None:
    assert types_of(text) == expected


def test_kinds_of_the_data_count_in_singular_and_plural_and_as_whole_phrases() -> None:
    kinds = frozenset({"track pants", "kajal"})
    assert types_of("Ajanta Track Pant", kinds) == {"kind"}
    assert types_of("Kajals", kinds) == {"kind"}
    assert types_of("a track, panting", kinds) == {"other"}


def test_a_query_counts_in_every_type_of_its_own() -> None:
    rows = by_type(["red mug", "aunt", "blue"])
    assert {name: found.tolist() for name, found in rows.items()} == {"colour": [0, 2], "kind": [0], "other": [1]}
