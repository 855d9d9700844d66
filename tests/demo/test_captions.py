import csv
import re
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from backend.demo import attributes, captions
from backend.demo.attributes import KINDS, Item, training_items
from backend.demo.captions import held_out_query, merchant_title, training_caption, visual_caption
from backend.demo.catalogue import generate

LISTS = [folder / "shared" / "data" / "shop-vocabulary.csv" for folder in Path(__file__).resolve().parents]
SHOP_VOCABULARY = next((path for path in LISTS if path.exists()), None)
ORANGE = Item("plush toy", "orange", "plain", None, "small", "wool", ("big eyes",), "cream")
DOTTED = Item("mug", "blue", "dotted", "white", "tall", "glass", ("a lid", "a saucer"), "mint")


def test_visual_caption_names_what_is_seen() -> None:
    assert visual_caption(ORANGE, full=False) == "a small orange plush toy with big eyes"
    assert visual_caption(ORANGE) == "a small orange wool plush toy with big eyes"
    assert visual_caption(DOTTED) == "a tall blue glass mug with white dots, a lid and a saucer"


def test_training_captions_are_fresh_and_repeatable() -> None:
    texts = [training_caption(DOTTED, Random(seed)) for seed in range(200)]
    assert texts == [training_caption(DOTTED, Random(seed)) for seed in range(200)]
    assert len(set(texts)) > 150


def test_query_names_only_what_the_item_has_and_leaves_out_two_things_at_most() -> None:
    random = Random(5)
    for item in islice(training_items(3), 500):
        query = held_out_query(item, random)
        assert query.named <= item.features
        visible = item.features - ({"pattern:plain"} if item.second is None else set())
        assert len(visible - query.named) <= 2
        for feature in query.named - {f"pattern:{item.pattern}"}:
            assert feature.partition(":")[2].removeprefix("a ") in query.text


def test_queries_are_phrased_like_no_training_or_stored_caption() -> None:
    random = Random(6)
    items = list(islice(training_items(3), 3000))
    known = {training_caption(item, random) for item in items} | {
        visual_caption(item, full) for item in items for full in (True, False)
    }
    assert not known & {
        held_out_query(item, random).text for item in items if len(item.details) + bool(item.second) > 1
    }


def test_merchant_titles_name_no_colour_pattern_or_detail() -> None:
    random = Random(7)
    visual = {*attributes.COLOURS, *attributes.PATTERNS, *captions.PATTERN_NOUNS.values()}
    visual |= {captions.bare(detail) for kind in KINDS.values() for detail in kind.details}
    for item in islice(training_items(3), 1000):
        title = merchant_title(item, random).lower()
        assert not any(word in re.split(r"[ ,-]+", title) or (" " in word and word in title) for word in visual)


@pytest.mark.skipif(SHOP_VOCABULARY is None, reason="the list of words kept from the demo encoder is not here")
def test_no_text_holds_a_word_kept_from_the_encoder() -> None:
    assert SHOP_VOCABULARY is not None
    with SHOP_VOCABULARY.open() as file:
        kept = [row["shop_word"] for row in csv.DictReader(file)]
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, kept)) + r")s?\b", re.IGNORECASE)
    random = Random(8)
    texts = [*captions.TRAINING_OPENINGS, *captions.TRAINING_FILLERS, *captions.QUERY_OPENINGS]
    for item in islice(training_items(9), 8000):
        texts += [training_caption(item, random), visual_caption(item), held_out_query(item, random).text]
    for row in generate(600):
        texts += [row["title"], row["description"], row["brand"], *row["captions"], *row["category"]]
    assert {found for text in texts for found in pattern.findall(text)} == set()
