"""What a drawn product can be: kind, colour, pattern, size, material and details, and who may see which combination.

A combination is every attribute but the background. A hash assigns each combination to training or to the catalogue, so
the demo encoder has never seen one of the shop's combinations when it meets the shop.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

COLOURS: dict[str, tuple[int, int, int]] = {
    "orange": (240, 138, 48),
    "red": (204, 52, 56),
    "pink": (243, 156, 184),
    "yellow": (247, 206, 70),
    "green": (84, 152, 90),
    "blue": (62, 106, 190),
    "purple": (132, 88, 170),
    "brown": (128, 84, 56),
    "grey": (146, 149, 154),
    "black": (48, 48, 54),
    "white": (243, 241, 236),
    "turquoise": (66, 190, 186),
}
"""Colour name to sRGB, 0 to 255."""

PATTERNS: tuple[str, ...] = ("plain", "striped", "dotted", "checked", "floral", "zigzag", "starry")
SCALES: tuple[str, ...] = ("small", "large")
PROPORTIONS: tuple[str, ...] = ("small", "large", "tall", "short")
BACKGROUNDS: tuple[str, ...] = ("cream", "pale grey", "sand", "mint", "rose", "sky", "lilac", "warm white")


@dataclass(frozen=True)
class Kind:
    """One kind of thing the shop sells, with the attribute values it comes in."""

    name: str
    materials: tuple[str, ...]
    details: tuple[str, ...]
    sizes: tuple[str, ...] = SCALES


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("plush toy", ("cotton", "wool", "velvet"), ("big eyes", "long ears", "a bow tie", "rosy cheeks")),
        Kind("mug", ("ceramic", "metal", "glass"), ("a big handle", "a lid", "a gold rim", "a saucer"), PROPORTIONS),
        Kind(
            "lamp",
            ("metal", "wood", "ceramic"),
            ("a fringe", "a pull cord", "three legs", "a glowing bulb"),
            PROPORTIONS,
        ),
        Kind("chair", ("wood", "leather", "wicker"), ("wooden legs", "armrests", "a high back", "wheels")),
        Kind("backpack", ("cotton", "leather", "wool"), ("pockets", "a buckle", "a bedroll", "a top flap")),
        Kind(
            "sneaker", ("cotton", "leather", "wool"), ("a high collar", "a thick sole", "straps", "a lightning stripe")
        ),
        Kind("scarf", ("cotton", "wool", "silk"), ("a fringe", "pompoms", "a wide border", "a big knot")),
        Kind(
            "vase",
            ("ceramic", "glass", "metal"),
            ("two handles", "a narrow neck", "dried stems", "a gold rim"),
            PROPORTIONS,
        ),
        Kind("clock", ("wood", "metal", "ceramic"), ("two bells", "a pendulum", "big numbers", "little feet")),
        Kind("hat", ("cotton", "wool", "wicker"), ("a pompom", "a ribbon", "a wide brim", "ear flaps")),
        Kind("bottle", ("metal", "glass", "ceramic"), ("a lid", "a carry loop", "a straw", "a sleeve"), PROPORTIONS),
        Kind("cushion", ("cotton", "wool", "velvet"), ("a fringe", "buttons", "pompoms", "a piped edge")),
    )
}

CLASHES: frozenset[frozenset[str]] = frozenset(
    frozenset(pair)
    for pair in (
        ("wooden legs", "wheels"),
        ("a wide brim", "ear flaps"),
        ("a pendulum", "little feet"),
        ("a lid", "a straw"),
    )
)
"""Details that no product has both of."""
CATALOGUE_SHARE = 5
"""One combination in this many belongs to the catalogue; the others are for training."""


@dataclass(frozen=True)
class Item:
    """One product as it is drawn and named.

    `second` is the colour of the pattern, None when the pattern is "plain"; `details` holds one or two names, sorted.
    """

    kind: str
    colour: str
    pattern: str
    second: str | None
    size: str
    material: str
    details: tuple[str, ...]
    background: str

    @property
    def combination(self) -> tuple[str, ...]:
        """Every attribute but the background, as plain text values."""
        return (
            self.kind,
            self.colour,
            self.pattern,
            self.second or "",
            self.size,
            self.material,
            " and ".join(self.details),
        )

    @property
    def features(self) -> frozenset[str]:
        """What a caption can name about the item, as "group:value" pairs."""
        pairs = {f"kind:{self.kind}", f"colour:{self.colour}", f"pattern:{self.pattern}", f"size:{self.size}"}
        pairs |= {f"material:{self.material}"} | {f"detail:{detail}" for detail in self.details}
        return frozenset(pairs | ({f"second:{self.second}"} if self.second else set()))


def belongs_to_catalogue(item: Item) -> bool:
    """Whether the item's combination is held out from training."""
    digest = hashlib.blake2b("|".join(item.combination).encode(), digest_size=8, salt=b"demo shop").digest()
    return int.from_bytes(digest, "big") % CATALOGUE_SHARE == 0


def random_item(random: Random) -> Item:
    """Draw any item: six in ten patterned, three in ten with a second detail."""
    kind = KINDS[random.choice(list(KINDS))]
    colour = random.choice(list(COLOURS))
    pattern = random.choice(PATTERNS[1:]) if random.random() < 0.6 else "plain"
    second = None if pattern == "plain" else random.choice([name for name in COLOURS if name != colour])
    return Item(
        kind=kind.name,
        colour=colour,
        pattern=pattern,
        second=second,
        size=random.choice(kind.sizes),
        material=random.choice(kind.materials),
        details=_random_details(kind, random),
        background=random.choice(BACKGROUNDS),
    )


def _random_details(kind: Kind, random: Random) -> tuple[str, ...]:
    """One detail, or two that go together."""
    first, second = random.sample(kind.details, 2)
    if random.random() < 0.7 or frozenset((first, second)) in CLASHES:
        return (first,)
    return tuple(sorted((first, second)))


def training_items(seed: int) -> Iterator[Item]:
    """Endless items whose combinations the catalogue never holds."""
    random = Random(f"train {seed}")
    while True:
        item = random_item(random)
        if not belongs_to_catalogue(item):
            yield item
