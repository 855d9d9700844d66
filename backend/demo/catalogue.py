"""The demo shop's catalogue: product rows in the generic import shape, their pictures, and queries that name them."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from backend.demo.attributes import BACKGROUNDS, COLOURS, KINDS, Item, belongs_to_catalogue, random_item
from backend.demo.captions import held_out_query, merchant_title, visual_caption
from backend.demo.drawing import draw
from backend.demo.training_set import Progress

PICTURE_SIDE = 448
QUALITY = 86
FLAGSHIP = "a small orange plush toy with big eyes"
FLAGSHIP_TITLE = "Toy, Polyester, 5-inch"
COMPANIONS = 10
"""How many other orange plush toys with big eyes there are at least: the opening page has something to compare."""
EPOCH = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CHUNK = 40

BRANDS: tuple[str, ...] = (
    "Fable & Fern", "Nordlund", "Pippin", "Halvorsen", "Morrow", "Tidewell", "Oriel", "Kestrel Row", "Bramwick",
    "Saltbox", "Wren & Co", "Marlowe", "Juniper Lane", "Ostara", "Foxglove", "Ember House", "Calder", "Dovetale",
    "Quillon", "Larkspur", "Meridian Nine", "Lumen Yard",
)  # fmt: skip
CATEGORIES: dict[str, tuple[str, str]] = {
    "plush toy": ("Toys", "Plush toys"),
    "mug": ("Home", "Mugs"),
    "lamp": ("Home", "Lamps"),
    "chair": ("Furniture", "Chairs"),
    "backpack": ("Bags", "Backpacks"),
    "sneaker": ("Shoes", "Sneakers"),
    "scarf": ("Accessories", "Scarves"),
    "vase": ("Home", "Vases"),
    "clock": ("Home", "Clocks"),
    "hat": ("Accessories", "Hats"),
    "bottle": ("Kitchen", "Bottles"),
    "cushion": ("Home", "Cushions"),
}
PRICES: dict[str, tuple[int, int]] = {
    "plush toy": (12, 45),
    "mug": (8, 28),
    "lamp": (35, 160),
    "chair": (90, 480),
    "backpack": (35, 140),
    "sneaker": (45, 150),
    "scarf": (18, 90),
    "vase": (15, 95),
    "clock": (20, 130),
    "hat": (15, 70),
    "bottle": (12, 45),
    "cushion": (14, 60),
}
"""Lowest and highest price of a kind, in euros."""
_BIG_EYED: tuple[tuple[str, ...], ...] = (
    ("big eyes",),
    ("a bow tie", "big eyes"),
    ("big eyes", "long ears"),
    ("big eyes", "rosy cheeks"),
)
CARE: dict[str, str] = {
    "cotton": "Machine wash at 30 degrees.",
    "wool": "Hand wash cold, dry on a towel.",
    "velvet": "Spot clean with a damp cloth.",
    "silk": "Hand wash cold, iron low.",
    "leather": "Wipe clean, keep away from moisture.",
    "ceramic": "Dishwasher safe.",
    "glass": "Rinse by hand.",
    "metal": "Wipe with a dry cloth.",
    "wood": "Dust regularly, oil once a year.",
    "wicker": "Vacuum with a soft brush.",
}


@dataclass(frozen=True)
class Product:
    """A product of the demo shop: its number, what it shows and the caption stored with it."""

    number: int
    item: Item
    caption: str

    @property
    def id(self) -> str:
        """The merchant's product id."""
        return f"demo-{self.number:05d}"


def products(count: int, seed: int) -> list[Product]:
    """`count` products of held-out combinations, all different; the first is small, orange and has big eyes.

    Half of the designs come as a family of two to four products that differ in colour only, as a real shop's do.
    """
    random = Random(f"catalogue {seed}")
    seen: set[tuple[str, ...]] = set()
    captions: set[str] = set()
    chosen: list[Product] = []
    for item in _designs(random):
        if item.combination in seen:
            continue
        short = visual_caption(item, full=False)
        caption = short if (random.random() < 0.3 or not chosen) and short not in captions else visual_caption(item)
        if caption in captions:
            continue
        seen.add(item.combination)
        captions.add(caption)
        chosen.append(Product(len(chosen) + 1, item, caption))
        if len(chosen) == count:
            break
    return chosen


def _designs(random: Random) -> Iterator[Item]:
    """Endless held-out items, the flagship first, half of them followed by others that differ in colour only."""
    yield _flagship()
    yield from _companions(random)
    while True:
        design = random_item(random)
        if not belongs_to_catalogue(design):
            continue
        yield design
        if random.random() < 0.5:
            colours = random.sample(list(COLOURS), random.randint(6, 12))
            others = [
                replace(design, colour=colour) for colour in colours if colour not in (design.colour, design.second)
            ]
            yield from [
                replace(item, background=random.choice(BACKGROUNDS)) for item in others if belongs_to_catalogue(item)
            ][:3]


def _companions(random: Random) -> Iterator[Item]:
    """Held-out orange plush toys with big eyes, in any pattern, size and material."""
    found = 0
    while found < COMPANIONS:
        item = replace(
            random_item(random), kind="plush toy", colour="orange", size=random.choice(KINDS["plush toy"].sizes)
        )
        item = replace(item, material=random.choice(KINDS["plush toy"].materials), details=random.choice(_BIG_EYED))
        if item.second != "orange" and belongs_to_catalogue(item):
            found += 1
            yield item


def _flagship() -> Item:
    """The product that the storefront opens on, in the first material the catalogue may hold."""
    options = [
        Item("plush toy", "orange", "plain", None, "small", material, ("big eyes",), "cream")
        for material in KINDS["plush toy"].materials
    ]
    return next(item for item in options if belongs_to_catalogue(item))


def picture_items(product: Product) -> dict[str, Item]:
    """File name to what its picture shows; about one product in four has a second picture in another room."""
    pictures = {f"{product.id}.webp": product.item}
    random = Random(f"pictures {product.id} {product.item.combination}")
    if random.random() < 0.25:
        room = random.choice([name for name in BACKGROUNDS if name != product.item.background])
        pictures[f"{product.id}-2.webp"] = replace(product.item, background=room)
    return pictures


def row(product: Product) -> dict[str, Any]:
    """The product in the generic import shape; title and description are as dull as suppliers write them."""
    item, random = product.item, Random(f"row {product.id} {product.item.combination}")
    price = _price(item, random)
    title = FLAGSHIP_TITLE if product.number == 1 else merchant_title(item, random)
    in_stock = random.random() > 0.06 or product.number == 1
    attributes = {"colour": item.colour, "material": item.material, "size": item.size, "pattern": item.pattern}
    return {
        "id": product.id,
        "title": title,
        "description": f"{title}. {CARE[item.material]} Packed singly. Imported.",
        "brand": random.choice(BRANDS),
        "category": list(CATEGORIES[item.kind]),
        "price": price,
        "currency": "EUR",
        "availability": "in_stock" if in_stock else "out_of_stock",
        "url": None,
        "attributes": attributes | ({"second_colour": item.second} if item.second else {}),
        "variants": _variants(product, title, price, in_stock, random),
        "images": list(picture_items(product)),
        "captions": [product.caption],
        "updated_at": (EPOCH + timedelta(minutes=random.randrange(200_000))).isoformat(),
    }


def _price(item: Item, random: Random) -> float:
    """A price that grows with size and ends as prices do."""
    low, high = PRICES[item.kind]
    share = random.betavariate(1.6, 3.2) * (0.7 if item.size in ("small", "short") else 1.0)
    return round(low + (high - low) * share) + random.choice((0.0, 0.5, 0.9, 0.95, 0.99))


def _variants(product: Product, title: str, price: float, in_stock: bool, random: Random) -> list[dict[str, Any]]:
    """Shoe sizes, a set of two, or the product alone; a product that is sold out has no variant in stock."""
    names = {"sneaker": [f"EU {size}" for size in range(37, 45)], "mug": ["Single", "Set of 2"]}.get(
        product.item.kind, ["Single"]
    )
    return [
        {
            "sku": f"{product.id.upper()}-{number:02d}",
            "title": f"{title} / {name}",
            "price": round(price * (1.8 if name == "Set of 2" else 1.0), 2),
            "availability": "in_stock" if in_stock and (number == 1 or random.random() > 0.2) else "out_of_stock",
        }
        for number, name in enumerate(names, start=1)
    ]


def generate(count: int = 2400, seed: int = 7) -> Iterator[dict[str, Any]]:
    """Product rows of the demo shop in the generic import shape."""
    return (row(product) for product in products(count, seed))


def write(
    directory: Path, count: int = 2400, seed: int = 7, progress: Progress | None = None, workers: int = 2
) -> None:
    """Write `products.jsonl` and the pictures in `images/`; pictures that are there already are not drawn again."""
    chosen = products(count, seed)
    images = directory / "images"
    images.mkdir(parents=True, exist_ok=True)
    due = [
        (images / name, item)
        for product in chosen
        for name, item in picture_items(product).items()
        if not (images / name).exists()
    ]
    chunks = [due[start : start + CHUNK] for start in range(0, len(due), CHUNK)]
    done = 0
    with ProcessPoolExecutor(workers) as pool:
        for drawn in pool.map(_draw_pictures, chunks):
            done += drawn
            if progress is not None:
                progress(done, len(due))
    lines = "".join(json.dumps(row(product), ensure_ascii=False) + "\n" for product in chosen)
    (directory / "products.jsonl").write_text(lines, encoding="utf-8")


def _draw_pictures(due: Sequence[tuple[Path, Item]]) -> int:
    """Draw and save each picture in one move; returns how many."""
    for path, item in due:
        partial = path.with_suffix(".partial")
        draw(item, picture_seed(path.name), PICTURE_SIDE).save(partial, "WEBP", quality=QUALITY, method=2)
        partial.rename(path)
    return len(due)


def picture_seed(name: str) -> int:
    """The seed a picture is drawn with, far from those of the training drawings."""
    return 1_000_000_000 + int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big")


def held_out_queries(
    count: int = 2400, seed: int = 7, queries: int = 2400, query_seed: int = 99
) -> Iterator[tuple[str, frozenset[str]]]:
    """Query captions in held-out phrasings, each with the ids of every product that has all it names."""
    chosen = products(count, seed)
    owners: dict[str, set[str]] = defaultdict(set)
    for product in chosen:
        for feature in product.item.features:
            owners[feature].add(product.id)
    random = Random(f"queries {query_seed}")
    for number in range(queries):
        query = held_out_query(chosen[number % len(chosen)].item, random)
        yield query.text, frozenset(set.intersection(*(owners[feature] for feature in query.named)))


def near_twin_groups(chosen: Sequence[Product]) -> list[list[str]]:
    """Groups of product ids whose combinations differ in the same one attribute; a product may be in several."""
    groups: dict[tuple[int, tuple[str, ...]], list[str]] = defaultdict(list)
    for product in chosen:
        values = product.item.combination
        for position in range(len(values)):
            groups[position, values[:position] + values[position + 1 :]].append(product.id)
    return [ids for ids in groups.values() if len(ids) > 1]


def duplicate_share(captions: Sequence[str]) -> float:
    """Share of captions that an earlier product already has."""
    return 1 - len(set(captions)) / len(captions)
