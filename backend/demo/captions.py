"""Words for drawn products: stored captions, endless training captions, held-out queries and dull merchant titles.

Training captions, stored captions and queries share the names of the attributes and nothing else: queries are phrased
in ways that neither of the others uses.
"""

from dataclasses import dataclass
from random import Random

from backend.demo.attributes import Item

PATTERN_NOUNS: dict[str, str] = {
    "striped": "stripes",
    "dotted": "dots",
    "checked": "checks",
    "floral": "flowers",
    "zigzag": "zigzags",
    "starry": "stars",
}
KIND_WORDS: dict[str, tuple[str, ...]] = {
    "plush toy": ("plush toy", "plush toy", "soft toy"),
    "lamp": ("lamp", "lamp", "table lamp"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "small", "little", "tiny"),
    "large": ("large", "large", "big", "huge"),
    "tall": ("tall",),
    "short": ("short", "short", "low"),
}
TRAINING_OPENINGS: tuple[str, ...] = (
    *6 * ("",), *3 * ("a",), "the", "one", "find", "find me a", "show me", "need a", "photo of a", "drawing of a",
    "my new", "get the", "any", "where is the", "gift:", "this", "could you bring a", "we like the", "shop for",
    "it is a", "here is a", "buy",
)  # fmt: skip
TRAINING_FILLERS: tuple[str, ...] = (
    "nice", "pretty", "for my home", "for kids", "today", "new", "lovely", "cheap", "good", "as a present", "that",
    "it", "which", "very", "some", "and", "is", "has", "are", "of", "to", "me", "you", "all", "with", "for her",
    "for him", "do", "quality", "cute", "best", "thing", "kind", "having", "would", "be", "my", "i", "on", "its",
    "one", "in", "the", "get", "there", "like", "see", "make", "really",
)  # fmt: skip
QUERY_OPENINGS: tuple[str, ...] = (
    "looking for a",
    "do you have a",
    "i want a",
    "please show a",
    "searching a",
    "is there a",
)


@dataclass(frozen=True)
class Query:
    """A shopper's words, the item they describe and the features they name."""

    text: str
    item: Item
    named: frozenset[str]


def with_article(words: str) -> str:
    """The words behind "a" or "an"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def join(parts: list[str] | tuple[str, ...]) -> str:
    """The parts as "x, y and z"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def bare(detail: str) -> str:
    """The detail without its article."""
    return detail.removeprefix("a ")


def visual_caption(item: Item, full: bool = True) -> str:
    """The caption stored with a product; without `full` it leaves out the material and that a plain thing is plain."""
    material = f"{item.material} " if full else ""
    extras = list(item.details)
    if item.second is not None:
        extras.insert(0, f"{item.second} {PATTERN_NOUNS[item.pattern]}")
    return f"{with_article(f'{item.size} {item.colour} {material}{item.kind}')} with {join(extras)}"


def training_caption(item: Item, random: Random) -> str:
    """A fresh caption that names a random part of the item's attributes."""
    detail_share, share = random.choice(((0.9, 0.95), (0.75, 0.75), (0.5, 0.45)))
    say = {name: random.random() < share for name in ("size", "material", "pattern", "second", "plain")}
    say["colour"] = random.random() < 0.95
    details = [
        detail if random.random() < 0.6 else bare(detail) for detail in item.details if random.random() < detail_share
    ]
    random.shuffle(details)
    compose = random.choice((_phrase, _phrase, _phrase, _list, _sentence))
    text = compose(item, say, details, random)
    if random.random() < 0.12:
        text = f"{text} {random.choice(('on', 'against', 'in front of'))} {with_article(item.background)} background"
    if random.random() < 0.3:
        words = text.split()
        words.insert(random.randrange(len(words) + 1), random.choice(TRAINING_FILLERS))
        text = " ".join(words)
    return text


def _pattern_words(item: Item, say: dict[str, bool], random: Random) -> tuple[str, str]:
    """(adjective before the noun, phrase behind it) for the pattern, either possibly empty."""
    if item.second is None:
        return ("plain", "") if say["plain"] and random.random() < 0.4 else ("", "")
    if not say["pattern"]:
        return f"and {item.second}" if say["second"] and say["colour"] else "", ""
    noun = PATTERN_NOUNS[item.pattern]
    if not say["second"]:
        return (item.pattern, "") if random.random() < 0.7 else ("", noun)
    form = random.randrange(4)
    if form == 0 and say["colour"]:
        return f"and {item.second} {item.pattern}", ""
    if form == 1:
        return item.pattern, f"{item.second} {noun}"
    return "", f"{item.second} {noun}"


def _phrase(item: Item, say: dict[str, bool], details: list[str], random: Random) -> str:
    """Compose phrases such as "a small orange and white striped wool hat with a pompom"."""
    adjective, behind = _pattern_words(item, say, random)
    size = random.choice(SIZE_WORDS[item.size]) if say["size"] else ""
    material_before = say["material"] and random.random() < 0.6
    before = [size, item.colour if say["colour"] else "", adjective, item.material if material_before else ""]
    kind = random.choice(KIND_WORDS.get(item.kind, (item.kind,)))
    words = " ".join(word for word in [*before, kind] if word)
    if say["material"] and not material_before:
        words += random.choice(
            (f" in {item.material}", f" made of {item.material}", f" of {item.material}", f", {item.material}")
        )
    extras = [*([behind] if behind else []), *details]
    if extras:
        words += random.choice((" with ", " with ", " with ", " and ", ", ")) + join(extras)
    opening = random.choice(TRAINING_OPENINGS)
    return f"{opening} {words}".strip()


def _list(item: Item, say: dict[str, bool], details: list[str], random: Random) -> str:
    """Attributes in any order, as typed into a search box."""
    adjective, behind = _pattern_words(item, say, random)
    kind = random.choice(KIND_WORDS.get(item.kind, (item.kind,)))
    colour = f"{item.colour} {adjective}".strip() if say["colour"] else adjective.removeprefix("and ")
    words = [colour, kind, *details, *([behind] if behind else [])]
    words += [random.choice(SIZE_WORDS[item.size])] if say["size"] else []
    words += [item.material] if say["material"] else []
    random.shuffle(words)
    text = random.choice((" ", ", ")).join(word for word in words if word)
    return text.replace("bottle green", "green bottle")  # as a pair the words are the name of another colour


def _sentence(item: Item, say: dict[str, bool], details: list[str], random: Random) -> str:
    """Compose sentences such as "this hat is small and orange, it has a pompom"."""
    adjective, behind = _pattern_words(item, say, random)
    kind = random.choice(KIND_WORDS.get(item.kind, (item.kind,)))
    colour = f"{item.colour} {adjective}".strip() if say["colour"] else adjective.removeprefix("and ")
    claims = [random.choice(SIZE_WORDS[item.size])] if say["size"] else []
    claims += [colour] if colour else []
    random.shuffle(claims)
    text = f"{random.choice(('this', 'the', 'a', 'my', 'that'))} {item.material + ' ' if say['material'] else ''}{kind}"
    if claims:
        text += f" is {join(claims)}" if random.random() < 0.6 else f", {join(claims)}"
    extras = [*details, *([behind] if behind else [])]
    if extras:
        text += random.choice((" and has ", ", it has ", " having ", " and comes with ")) + join(extras)
    return text


def held_out_query(item: Item, random: Random) -> Query:
    """A query for the item that leaves out at most two of its attributes, in phrasings no training caption has."""
    optional = ["size", "material", *(["second"] if item.second else []), *item.details]
    omitted = set(random.sample(optional, min(len(optional) - 1, random.choice((0, 0, 1, 1, 2)))))
    details = [detail for detail in item.details if detail not in omitted]
    size = "" if "size" in omitted else item.size
    material = "" if "material" in omitted else item.material
    second = "" if item.second is None or "second" in omitted else item.second
    named = {f"kind:{item.kind}", f"colour:{item.colour}"} | {f"detail:{detail}" for detail in details}
    named |= {f"size:{size}"} if size else set()
    named |= {f"material:{material}"} if material else set()
    named |= {f"second:{second}"} if second else set()
    named |= {f"pattern:{item.pattern}"} if item.second is not None else set()
    print_words = "" if item.second is None else f"{second} {PATTERN_NOUNS[item.pattern]}".strip()
    compose = random.choice((_asking, _details_first, _kind_first, _relative))
    return Query(" ".join(compose(item, size, material, print_words, details, random).split()), item, frozenset(named))


def _asking(item: Item, size: str, material: str, print_words: str, details: list[str], random: Random) -> str:
    """A question to the shop."""
    extras = join([*details, *([print_words] if print_words else [])]) if details or print_words else ""
    ending = f"plus {extras}" if extras else "please"
    return f"{random.choice(QUERY_OPENINGS)} {material} {item.kind} in {item.colour}, {size} {ending}"


def _details_first(item: Item, size: str, material: str, print_words: str, details: list[str], random: Random) -> str:
    """What catches the eye, then the thing."""
    start = f"{join([bare(detail) for detail in details])} on " if details else ""
    end = random.choice((f"covered in {print_words}", f"showing {print_words}")) if print_words else ""
    return f"{start}{with_article(' '.join(f'{size} {item.colour} {material} {item.kind}'.split()))} {end}"


def _kind_first(item: Item, size: str, material: str, print_words: str, details: list[str], random: Random) -> str:
    """The thing, then its properties behind a dash."""
    extras = [f"must have {join(details)}"] if details else []
    extras += [f"decorated using {print_words}"] if print_words else []
    return f"{item.kind} - {item.colour} {material}, {size} {random.choice(('version', 'edition'))}, {' '.join(extras)}"


def _relative(item: Item, size: str, material: str, print_words: str, details: list[str], random: Random) -> str:
    """The thing and what is said of it."""
    text = f"{size} {item.kind} whose colour is {item.colour}"
    text += f" {random.choice(('from', 'out of'))} {material}" if material else ""
    text += f" bearing {print_words}" if print_words else ""
    return f"{text} featuring {join(details)}" if details else text


DULL_NAMES: dict[str, tuple[str, ...]] = {
    "plush toy": ("Toy", "Toy, Stuffed", "Play Article"),
    "mug": ("Mug", "Drinkware", "Cup"),
    "lamp": ("Lamp", "Luminary", "Table Lamp"),
    "chair": ("Chair", "Furniture, Single", "Chair, Assembled"),
    "backpack": ("Backpack", "Bag", "Bag, Shoulder"),
    "sneaker": ("Sneaker", "Footwear", "Shoe, Unisex"),
    "scarf": ("Scarf", "Accessory, Neck", "Textile Accessory"),
    "vase": ("Vase", "Vessel", "Home Accessory"),
    "clock": ("Clock", "Clock, Analogue", "Wall Unit"),
    "hat": ("Hat", "Accessory, Head", "Textile Accessory"),
    "bottle": ("Bottle", "Container", "Drinkware"),
    "cushion": ("Cushion", "Home Textile", "Textile Cover"),
}
DULL_MATERIALS: dict[str, tuple[str, ...]] = {
    "cotton": ("Polyester", "Cotton Blend"),
    "wool": ("Acrylic", "Wool Blend"),
    "velvet": ("Polyester", "Pile Fabric"),
    "silk": ("Viscose", "Silk Blend"),
    "leather": ("PU", "Leather"),
    "ceramic": ("Ceramic", "Fired Clay"),
    "glass": ("Glass", "Borosilicate"),
    "metal": ("Metal", "Alloy 304"),
    "wood": ("Wood", "MDF"),
    "wicker": ("Wicker", "Plant Fibre"),
}
INCHES: dict[str, int] = {"small": 5, "large": 12, "tall": 14, "short": 7}


def merchant_title(item: Item, random: Random) -> str:
    """A title as suppliers write them: "Toy, Polyester, 5-inch"; it names no colour, pattern or detail."""
    name = random.choice(DULL_NAMES[item.kind])
    material = random.choice(DULL_MATERIALS[item.material])
    inches = INCHES[item.size] + random.choice((-1, 0, 0, 1))
    return random.choice(
        (
            f"{name}, {material}, {inches}-inch",
            f"{name}, {material}, {inches}-inch",
            f"{name} {material} Art. {random.randrange(1000, 9999)}",
        )
    )
