"""What a query speaks of, by rule: the words alone decide, so that anybody can check why a query is counted where."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TYPES = ("colour", "material", "pattern", "kind", "long", "noisy", "other")

LONG = 10
"""Words from which on a query is long."""

COLOURS = frozenset(
    """black white grey gray silver gold golden red pink maroon burgundy crimson coral orange rust peach yellow mustard
    lime green olive khaki teal turquoise cyan blue navy indigo purple violet lavender mauve magenta plum brown tan
    beige cream ivory copper bronze charcoal multi multicolour multicolor multicoloured multicolored""".split()
)
MATERIALS = frozenset(
    """cotton denim leather suede wool woollen woolen silk satin velvet linen lace chiffon mesh nylon polyester fleece
    fur knit knitted crochet corduroy canvas jersey tulle rubber plastic steel metal metallic wood wooden oak glass
    ceramic porcelain clay marble stone paper straw wicker bamboo plush cashmere tweed ribbed sequin""".split()
)
PATTERNS = frozenset(
    """striped stripes stripe checked checks check checkered plaid tartan floral flowers flowered printed print dotted
    dots polka spotted solid plain paisley camouflage camo animal leopard zebra geometric abstract embroidered graphic
    textured tie-dye gingham argyle houndstooth patterned ombre""".split()
)
KINDS = frozenset(
    """shirt tshirt t-shirt tee top blouse tunic kurta kurti sweater sweatshirt hoodie cardigan jacket coat blazer vest
    dress skirt saree gown romper jumpsuit jeans trousers pants shorts leggings tights socks shoe shoes sandal sandals
    sneakers boots heels flats slippers flip-flops watch bag handbag backpack wallet belt cap hat scarf tie sunglasses
    bracelet necklace earrings ring perfume deodorant lipstick mug cup plate bowl vase lamp chair table sofa cushion
    blanket rug clock bottle box toy bra briefs boxers bikini swimsuit bodysuit pyjamas""".split()
)

_WORD = re.compile(r"[^\W_]+(?:[-'\u2019][^\W_]+)*")
_CODE = re.compile(r"(?=\w*\d)(?=\w*[^\W\d_])\w{4,}")
_MARKUP = re.compile(r"&\w+;|<[^>]+>|https?://|www\.")
_RUN = re.compile(r"([^\W\d_])\1\1", re.IGNORECASE)
_MOST_OTHER = 0.25
"""Share of characters that are neither letters, digits nor spaces from which on a query is noisy."""


def types_of(text: str, kinds: frozenset[str] = frozenset()) -> frozenset[str]:
    """The types that ``text`` belongs to, one at least.

    - ``colour``, ``material``, ``pattern``, ``kind``: it has such a word, or its plural; ``kinds`` (lower case, of one
      or several words) are kinds, too.
    - ``long``: ten words or more.
    - ``noisy``: markup or an address, a code of letters and digits, a letter three times in succession, nothing but
      capitals over three words and more, no word at all, or a quarter of signs.
    - ``other``: none of these.
    """
    words = [word.lower() for word in _WORD.findall(text)]
    found = {name for name, known in _VOCABULARY.items() if any(_known(word, known) for word in words)}
    if "kind" not in found and _names_kind(words, kinds):
        found.add("kind")
    if len(words) >= LONG:
        found.add("long")
    if _noisy(text, words):
        found.add("noisy")
    return frozenset(found or {"other"})


def by_type(texts: Sequence[str], kinds: frozenset[str] = frozenset()) -> dict[str, NDArray[np.int64]]:
    """Rows of ``texts`` of each type that there is; a text of several types is in each of them."""
    typed = [types_of(text, kinds) for text in texts]
    rows = {name: np.array([row for row, own in enumerate(typed) if name in own], np.int64) for name in TYPES}
    return {name: found for name, found in rows.items() if len(found)}


_VOCABULARY = {"colour": COLOURS, "material": MATERIALS, "pattern": PATTERNS, "kind": KINDS}


def _known(word: str, known: frozenset[str]) -> bool:
    return word in known or (word.endswith("s") and (word[:-1] in known or word.removesuffix("es") in known))


def _names_kind(words: Sequence[str], kinds: frozenset[str]) -> bool:
    """Whether one of ``kinds`` is said, a word of it in the singular or the plural counting as the word."""
    stems = f" {' '.join(_singular(word) for word in words)} "
    return any(f" {' '.join(map(_singular, _WORD.findall(kind)))} " in stems for kind in kinds if kind)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _noisy(text: str, words: Sequence[str]) -> bool:
    letters = [char for char in text if char.isalpha()]
    signs = sum(not (char.isalnum() or char.isspace()) for char in text)
    shouted = (
        len(words) >= 3 and bool(letters) and all(char.isupper() for char in letters if char.upper() != char.lower())
    )
    return bool(
        not words
        or _MARKUP.search(text)
        or _CODE.search(text)
        or _RUN.search(text)
        or (shouted and text.upper() != text.lower())
        or signs >= _MOST_OTHER * len(text)
    )
