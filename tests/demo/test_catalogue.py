import json
from datetime import datetime
from pathlib import Path

from PIL import Image

from backend.demo.attributes import Item
from backend.demo.catalogue import (
    FLAGSHIP,
    PICTURE_SIDE,
    Product,
    duplicate_share,
    generate,
    held_out_queries,
    near_twin_groups,
    picture_items,
    products,
    write,
)


def test_generate_is_repeatable_and_holds_the_small_orange_plush_toy() -> None:
    rows = list(generate(120))
    assert rows == list(generate(120))
    assert rows[0]["captions"] == [FLAGSHIP]
    assert rows[0]["title"] == "Toy, Polyester, 5-inch"
    assert rows[0]["availability"] == "in_stock"


def test_rows_have_the_import_shape() -> None:
    for row in generate(200):
        assert row["price"] > 0
        assert row["currency"] == "EUR"
        assert row["availability"] in {"in_stock", "out_of_stock"}
        assert len(row["category"]) == 2
        assert {"material", "colour", "size", "pattern"} <= set(row["attributes"])
        assert row["images"]
        assert len({variant["sku"] for variant in row["variants"]}) == len(row["variants"])
        if row["availability"] == "out_of_stock":
            assert all(variant["availability"] == "out_of_stock" for variant in row["variants"])
        assert datetime.fromisoformat(row["updated_at"]).tzinfo is not None
        json.dumps(row)


def test_catalogue_has_no_more_than_two_per_cent_of_duplicates() -> None:
    chosen = products(2400, seed=7)
    assert len(chosen) == len({product.item.combination for product in chosen}) == 2400
    assert duplicate_share([product.caption for product in chosen]) <= 0.02
    assert len({product.item.kind for product in chosen}) == 12
    assert 0.01 < sum(row["availability"] == "out_of_stock" for row in generate(2400)) / 2400 < 0.12


def test_near_twins_differ_in_one_attribute() -> None:
    def product(number: int, colour: str, size: str) -> Product:
        return Product(number, Item("hat", colour, "plain", None, size, "wool", ("a pompom",), "cream"), "")

    twins = near_twin_groups([product(1, "red", "small"), product(2, "blue", "small"), product(3, "blue", "large")])
    assert sorted(twins) == [["demo-00001", "demo-00002"], ["demo-00002", "demo-00003"]]


def test_duplicate_share_counts_repeats() -> None:
    assert duplicate_share(["a", "b", "a", "a"]) == 0.5


def test_held_out_queries_name_their_product() -> None:
    queries = list(held_out_queries(count=100, queries=100))
    assert all(f"demo-{number:05d}" in named for number, (_, named) in enumerate(queries, start=1))
    assert sum(len(named) == 1 for _, named in queries) > 60


def test_write_draws_what_is_missing_and_leaves_the_rest(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        seen.append((done, total))

    write(tmp_path, count=6, progress=note, workers=1)
    rows = [json.loads(line) for line in (tmp_path / "products.jsonl").read_text().splitlines()]
    names = [name for row in rows for name in row["images"]]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "images").iterdir())
    assert seen[-1] == (len(names), len(names))
    with Image.open(tmp_path / "images" / names[0]) as picture:
        assert picture.size == (PICTURE_SIDE, PICTURE_SIDE)
    (tmp_path / "images" / names[0]).write_bytes(b"kept")
    (tmp_path / "images" / names[1]).unlink()
    seen.clear()
    write(tmp_path, count=6, progress=note, workers=1)
    assert seen == [(1, 1)]
    assert (tmp_path / "images" / names[0]).read_bytes() == b"kept"


def test_second_pictures_show_the_same_thing_in_another_room() -> None:
    doubles = [picture_items(product) for product in products(200, seed=7)]
    doubles = [pictures for pictures in doubles if len(pictures) == 2]
    assert doubles
    for first, second in (pictures.values() for pictures in doubles):
        assert first.combination == second.combination
        assert first.background != second.background
