"""What can be played on ``/demo/learn``: who comes, how many, and what it shows."""

from dataclasses import dataclass

from backend.demo.shoppers.traffic import DEMO_PRODUCTS, Crowd
from backend.errors import NotFound
from backend.ml.clicks.worlds import WORLDS, World

NIGHTS = 5
"""Nights of one play; night 0 is what serves before the first."""

WISHES = 200
"""Different searches of a crowd; the same in every night of a play."""


class NoSuchScenario(NotFound):
    """Nothing of this name can be played."""

    title = "No such scenario"


@dataclass(frozen=True)
class Scenario:
    """One thing to watch.

    Args:
        name: in addresses.
        title: on its tab.
        caption: one sentence on who comes.
        shows: one sentence on what there is to see.
        world: who comes, by name.
        shoppers: how many before each night.
        joins: whether clicks of whoever looks at the page are asked for.
    """

    name: str
    title: str
    caption: str
    shows: str
    world: str
    shoppers: int
    joins: bool = False

    @property
    def planted(self) -> World:
        """Who comes."""
        return WORLDS[self.world]

    def crowd(self, night: int, shoppers: int | None = None, products: int = DEMO_PRODUCTS) -> Crowd:
        """Who comes before ``night``, from 1: other shoppers each night, who ask for the same things."""
        many = self.shoppers if shoppers is None else shoppers
        return Crowd(self.planted, many, seed=night, wishes_of=1, wishes=WISHES, at_once=3, products=products)


_ALL = (
    Scenario(
        "biased",
        "Biased clicks",
        WORLDS["pastel"].about,
        "Clicks pile up where people look. Each night learns with it and without it; what is better goes live.",
        "pastel",
        500,
    ),
    Scenario(
        "few",
        "Few clicks",
        "A quiet day: a handful of shoppers, and a ranking that already gives them what they name.",
        "There is too little to go by, so nothing may change. The night has to say so, and why.",
        "strong",
        40,
    ),
    Scenario(
        "bots",
        "A bot flood",
        "Bots open whatever they are served, among a few shoppers.",
        "Most clicks mean nothing. What behaves like a program is left out, and the gates let nothing else through.",
        "bots",
        160,
    ),
    Scenario(
        "you",
        "You",
        "You shop, too: open what you like on the left, before the others come.",
        "Your clicks go the way of all clicks, and join theirs in the night.",
        "pastel",
        300,
        joins=True,
    ),
)

SCENARIOS: dict[str, Scenario] = {one.name: one for one in _ALL}
"""By name."""


def scenario(name: str) -> Scenario:
    """The scenario of this name.

    Raises:
        NoSuchScenario: there is none.
    """
    found = SCENARIOS.get(name)
    if found is None:
        raise NoSuchScenario("nothing of this name can be played", found=name, expected=list(SCENARIOS))
    return found
