"""Worlds: who comes to a shop, with which device and taste, how they look, and how good the shop's ranking is.

A world is a mixture of populations. What is relevant to a query is planted elsewhere: by vectors in
``simulated_log.py``, by attributes of products for the demo shop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from backend.ml.clicks.adversaries import Bot, Fan, Honest, Inverted, Shopper
from backend.ml.clicks.examination import AsGiven, ByPosition, ByRow
from backend.ml.clicks.shoppers import Behaviour

Words = Literal["plain", "own"]


@dataclass(frozen=True)
class Context:
    """What a search says of where it comes from."""

    device: str = "desktop"
    surface: str = "web"
    layout: Literal["grid", "list"] = "grid"
    columns: int = 4
    cohort: str | None = None
    locale: str = "en-GB"


@dataclass(frozen=True)
class Population:
    """Shoppers of one kind.

    Args:
        name: of the population.
        share: of all shoppers, in proportion to the other populations' shares.
        shopper: what they do with a list.
        context: where they search from.
        loves: features ("colour:pink") that raise the grade of a product for them.
        searches: mean searches of a session, reformulations aside (1 and more, geometric).
        signed_in: share that is known by a user id, too.
        user_agent: what its client calls itself; None is a browser.
        alone: whether all of its sessions are those of one shopper.
    """

    name: str
    share: float = 1.0
    shopper: Shopper = field(default_factory=Honest)
    context: Context = field(default_factory=Context)
    loves: tuple[str, ...] = ()
    searches: float = 2.0
    signed_in: float = 0.0
    user_agent: str | None = None
    alone: bool = False


@dataclass(frozen=True)
class World:
    """A shop's shoppers, and how well the shop ranks before it has learned anything.

    Args:
        name: of the world.
        about: one sentence.
        populations: who comes.
        words: how they ask: in plain words, which the demo encoder knows, or in words of their own, which it has
            never met: a strong and a weak production ranker.
        named: groups of features that searches name beside the kind; what somebody loves is never named.
        most: most features that a search names beside the kind.
        strength: of the production ranker over planted vectors: 1 ranks by truth, 0 knows nothing of the shift.
        taste: weight of what a population loves in the grade of a product, 0 to 1.
    """

    name: str
    about: str
    populations: tuple[Population, ...]
    words: Words = "plain"
    named: tuple[str, ...] = ("colour", "pattern", "second", "size", "material", "detail")
    most: int = 3
    strength: float = 0.3
    taste: float = 0.0

    def shares(self) -> list[float]:
        """Share of each population, which sum to 1."""
        total = sum(one.share for one in self.populations)
        return [one.share / total for one in self.populations]


PASTEL: tuple[str, ...] = ("colour:pink", "colour:yellow", "colour:turquoise", "colour:white")
DARK: tuple[str, ...] = ("colour:black", "colour:brown", "colour:grey", "colour:purple")

DESKTOP = Context()
PHONE = Context(device="mobile", columns=2)
ONE_LIST = Context(layout="list", columns=1)
IN_APP = Context(device="mobile", surface="app", columns=2)

FIRST_ROWS = ByRow(eta=0.9, offsets=(0.0, -0.05, -0.1, -0.15), skip=0.15)
ON_PHONES = AsGiven((0.85, 0.95, 0.7, 0.65, 0.5, 0.45, 0.38, 0.34, 0.28, 0.25, 0.2, 0.18, 0.15))

TRUSTING = Behaviour(
    examination=ByPosition(0.8),
    trust=(1.0, 0.98, 0.95, 0.93, 0.9),
    noise=(0.65, 0.26, 0.15, 0.11, 0.08),
)
"""ε⁻ falls with the position: the first result is clicked because it is the first."""

CASCADING = Behaviour(examination=AsGiven(), continuation=(0.6, 0.65, 0.7, 0.75, 0.8), noise=(0.05,), scroll=0.9)


def _everyday(share: float = 1.0, cohort_of: Sequence[str | None] = (None, None)) -> tuple[Population, ...]:
    """Desktop grids and phones."""
    on_desktop, on_phones = cohort_of
    return (
        Population(
            "desktop",
            0.55 * share,
            Honest(Behaviour(examination=FIRST_ROWS)),
            Context(cohort=on_desktop),
            loves=_LOVES.get(on_desktop or "", ()),
            signed_in=0.3,
        ),
        Population(
            "phone",
            0.35 * share,
            Honest(Behaviour(examination=ON_PHONES, dwell_s=32.0, scroll=0.9)),
            Context(device="mobile", columns=2, cohort=on_phones),
            loves=_LOVES.get(on_phones or "", ()),
        ),
        Population(
            "app",
            0.1 * share,
            Honest(Behaviour(examination=ON_PHONES, dwell_s=28.0, scroll=0.95)),
            Context(device="mobile", surface="app", columns=2, cohort=on_phones, locale="de-DE"),
            loves=_LOVES.get(on_phones or "", ()),
            signed_in=0.9,
        ),
    )


_LOVES = {"pastel": PASTEL, "dark": DARK}

_ALL = (
    World(
        "pastel",
        "These shoppers love pastel, but mostly look at the first row.",
        _everyday(cohort_of=("pastel", "pastel")),
        taste=0.5,
    ),
    World(
        "cohorts",
        "Desktops love dark things and phones pastel ones; several devices, one shop.",
        _everyday(cohort_of=("dark", "pastel")),
        taste=0.5,
    ),
    World(
        "own-words",
        "Shoppers ask in words that the encoder has never met: a weak production ranker.",
        _everyday(),
        words="own",
        strength=0.0,
    ),
    World(
        "strong",
        "A kind with a colour or a detail, in plain words, and no taste: there is little to learn.",
        _everyday(),
        named=("colour", "detail"),
        most=1,
        strength=0.97,
    ),
    World(
        "list",
        "A list in one column, looked at as 1/k.",
        (Population("list", 1.0, Honest(Behaviour(examination=ByPosition(1.0))), ONE_LIST),),
    ),
    World(
        "trust",
        "A list whose first places are clicked because they are the first (affine trust bias).",
        (Population("trusting", 1.0, Honest(TRUSTING), ONE_LIST),),
    ),
    World(
        "cascade",
        "Read from the top until something was found (dependent click model).",
        (Population("reading", 1.0, Honest(CASCADING), ONE_LIST),),
    ),
    World(
        "grid",
        "A grid of four columns whose rows are skipped whole, one time in three.",
        (Population("skipping", 1.0, Honest(Behaviour(examination=ByRow(0.6, skip=0.33)))),),
    ),
    World(
        "inverted",
        "Half of the shoppers click what is worst.",
        (*_everyday(0.5), Population("inverted", 0.5, Inverted(Behaviour(examination=FIRST_ROWS)))),
    ),
    World(
        "bots",
        "A flood of bots opens whatever is served, among a few shoppers; one in six says that it is one.",
        (
            *_everyday(0.4),
            Population("bot", 0.5, Bot(), searches=12.0),
            Population("crawler", 0.1, Bot(), searches=12.0, user_agent="ExampleBot/1.0 (+https://example.com/bot)"),
        ),
    ),
    World(
        "fan",
        "One product has a fan, who comes back all day to open it.",
        (*_everyday(0.7), Population("fan", 0.3, Fan("demo-00001"), searches=20.0, alone=True)),
    ),
)

WORLDS: dict[str, World] = {world.name: world for world in _ALL}
"""Worlds by name."""


def with_fans_of(world: World, product: Any) -> World:
    """``world``, whose fans love ``product``: its id, or its number where products are numbers."""
    populations = [
        replace(one, shopper=replace(one.shopper, product=product)) if isinstance(one.shopper, Fan) else one
        for one in world.populations
    ]
    return replace(world, populations=tuple(populations))
