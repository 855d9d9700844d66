"""What simulated shoppers ask for: wishes for the demo's products, in plain words or in words of their own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from backend.demo.attributes import Item
from backend.demo.captions import PATTERN_NOUNS, bare, join
from backend.demo.catalogue import Product
from backend.ml.clicks.worlds import Words

OWN_WORDS: dict[str, tuple[str, ...]] = {
    "plush toy": ("stuffie", "cuddler"),
    "mug": ("tankard", "beaker"),
    "lamp": ("luminaire", "night light"),
    "chair": ("perch", "seat"),
    "backpack": ("rucksack", "knapsack"),
    "sneaker": ("trainer", "kicks"),
    "scarf": ("muffler", "wrap"),
    "vase": ("amphora", "urn"),
    "clock": ("timepiece", "ticker"),
    "hat": ("headwear", "bonnet"),
    "bottle": ("flask", "canteen"),
    "cushion": ("bolster", "throw pillow"),
    "orange": ("tangerine",),
    "red": ("crimson",),
    "pink": ("blush",),
    "yellow": ("lemon",),
    "green": ("sage",),
    "blue": ("cobalt",),
    "purple": ("aubergine",),
    "brown": ("chocolate",),
    "grey": ("slate",),
    "black": ("ebony",),
    "white": ("ivory",),
    "turquoise": ("teal",),
}
"""Words for kinds and colours that no caption of the demo encoder's training had."""

NAMED: tuple[str, ...] = ("colour", "pattern", "second", "size", "material", "detail")
"""Groups of features that a search can name beside the kind."""

_CONCEPTS = re.compile(rf"\b(?:{'|'.join(sorted(OWN_WORDS, key=len, reverse=True))})\b")


@dataclass(frozen=True)
class Wish:
    """A search: its words and the features they name ("kind:hat", "colour:red")."""

    text: str
    named: frozenset[str]
    item: Item


class WishBook:
    """Searches of a shop; some are asked often, most seldom.

    Args:
        products: of the demo's catalogue; each wish describes one of them.
        words: plain, or the shoppers' own.
        named: groups of features ("colour") that are named beside the kind.
        most: most features that are named beside the kind; every other search names one less, but one at least.
        count: how many different searches there are.
        seed: the same seed gives the same searches.
        zipf: searches are asked in proportion to rank^-zipf.
    """

    def __init__(
        self,
        products: Sequence[Product],
        words: Words,
        *,
        named: Sequence[str] = NAMED,
        most: int = 3,
        count: int = 200,
        seed: int = 1,
        zipf: float = 0.8,
    ) -> None:
        random = Random(f"wishes {seed}")
        self._words = words
        self._named = frozenset(("kind", *named))
        self._most = most
        wishes: dict[str, Wish] = {}
        for number in range(20 * count):  # more than one try in twenty gives a search that is new
            wish = self._wish(random.choice(products).item, random, max(1, most - number % 2))
            wishes.setdefault(wish.text, wish)
            if len(wishes) == count:
                break
        self.wishes = list(wishes.values())
        popularity = np.arange(1, len(self.wishes) + 1) ** -zipf
        self.chances = popularity / popularity.sum()
        self._by_id = {product.id: product for product in products}

    def draw(self, rng: np.random.Generator) -> Wish:
        """A search, by how often it is asked."""
        return self.wishes[int(rng.choice(len(self.wishes), p=self.chances))]

    def after(self, product_id: str, rng: np.random.Generator) -> Wish:
        """A search of somebody who is after one product: two of its features are named."""
        return self._wish(self._by_id[product_id].item, Random(int(rng.integers(2**32))), most=2)

    def refined(self, wish: Wish, rng: np.random.Generator) -> Wish:
        """Another search for the same thing, which names one feature more where there is one."""
        left = sorted(self._nameable(wish.item) - wish.named)
        more = [left[int(rng.integers(len(left)))]] if left else []
        return self._said(wish.item, wish.named | set(more), Random(int(rng.integers(2**32))))

    def _nameable(self, item: Item) -> frozenset[str]:
        plain = {"pattern:plain"}
        return frozenset(name for name in item.features - plain if name.split(":")[0] in self._named)

    def _wish(self, item: Item, random: Random, most: int) -> Wish:
        kind = f"kind:{item.kind}"
        others = sorted(self._nameable(item) - {kind})
        named = frozenset({kind, *random.sample(others, min(most, len(others)))})
        return self._said(item, named, random)

    def _said(self, item: Item, named: frozenset[str], random: Random) -> Wish:
        text = _typed(item, named, random)
        if self._words == "own":
            text = _CONCEPTS.sub(lambda found: random.choice(OWN_WORDS[found[0]]), text)
        return Wish(text, named, item)


def _typed(item: Item, named: frozenset[str], random: Random) -> str:
    """The named features as they are typed into a search box."""
    before = [item.size] if f"size:{item.size}" in named else []
    before += [item.colour] if f"colour:{item.colour}" in named else []
    before += [item.material] if f"material:{item.material}" in named else []
    patterned = f"pattern:{item.pattern}" in named
    second = item.second if item.second is not None and f"second:{item.second}" in named else None
    behind = [" ".join(filter(None, (second, PATTERN_NOUNS[item.pattern])))] if patterned else []
    behind += [f"{second} pattern"] if second and not patterned else []
    behind += [bare(detail) for detail in item.details if f"detail:{detail}" in named]
    words = " ".join([*before, item.kind])
    return f"{words} {random.choice(('with', 'with', '+'))} {join(behind)}" if behind else words
