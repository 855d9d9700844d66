"""A crowd of simulated shoppers, some at a time, each the same for the same seed."""

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event as Flag
from typing import Any

import httpx
import numpy as np

from backend.demo.catalogue import Product, products
from backend.demo.shoppers.asking import WishBook
from backend.demo.shoppers.door import Door
from backend.demo.shoppers.planted import PlantedTruth
from backend.demo.shoppers.session import PAGE, ListDone, Shopping, visitor_of
from backend.demo.shoppers.tally import Tally
from backend.ml.clicks.worlds import World

DEMO_PRODUCTS = 2400
DEMO_SEED = 7


@dataclass(frozen=True)
class Crowd:
    """Who comes, and how many.

    Args:
        world: who.
        shoppers: how many, each for one session.
        seed: the same seed brings the same shoppers with the same wishes, who do the same with the same lists.
        wishes: different searches among which they choose.
        zipf: how unevenly: in proportion to rank^-zipf.
        page: products of a page.
        at_once: how many shop at the same time; with 1, lists come in the same order, too.
        products: how many the demo's catalogue has.
        wishes_of: seed of the searches, where other shoppers are to choose among the same; None: ``seed``.
    """

    world: World
    shoppers: int
    seed: int = 1
    wishes: int = 200
    zipf: float = 0.8
    page: int = PAGE
    at_once: int = 4
    products: int = DEMO_PRODUCTS
    wishes_of: int | None = None


def simulate(
    crowd: Crowd,
    client: httpx.Client,
    *,
    key: str | None = None,
    on_list: Callable[[ListDone, Tally], None] | None = None,
    on_session: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Let the crowd shop; what was planted and done, as :meth:`Tally.report` has it.

    Args:
        crowd: who shops.
        client: knows the address of the API.
        key: for the API; None where none is asked for.
        on_list: told of each list and the counts so far, from any thread.
        on_session: told how many shoppers are done.

    Raises:
        Unavailable: the shop does not answer.
        Unprocessable: it refuses what is sent.
        Conflict: its products are not the demo's.
    """
    tally = Tally(crowd.world, crowd.page)

    def counted(done: ListDone) -> None:
        tally.add(done)
        if on_list is not None:
            on_list(done, tally)

    shopping, run = _shopping(crowd, Door(client, key), counted), secrets.token_hex(4)
    stopped, ended = Flag(), iter(range(1, crowd.shoppers + 1))

    def one(number: int) -> None:
        if stopped.is_set():
            return
        rng = np.random.default_rng([crowd.seed, number])
        population = crowd.world.populations[int(rng.choice(len(crowd.world.populations), p=crowd.world.shares()))]
        shopping.visit(visitor_of(population, number, f"{crowd.world.name}-{crowd.seed}", run, rng), rng)
        if on_session is not None:
            on_session(next(ended))

    with ThreadPoolExecutor(crowd.at_once, thread_name_prefix="shopper") as pool:
        sessions = [pool.submit(one, number) for number in range(crowd.shoppers)]
        try:
            wait(sessions, return_when=FIRST_EXCEPTION)
        finally:
            stopped.set()  # the first error ends the run, and so does Ctrl-C: who has not come in yet stays out
    for session in sessions:
        session.result()
    return tally.report(seed=crowd.seed, shoppers=crowd.shoppers, run=run)


def wishes_of(crowd: Crowd, chosen: Sequence[Product]) -> WishBook:
    """What the crowd asks for. What a population loves is never named in a search: there, taste decides."""
    world = crowd.world
    loved = {name.split(":")[0] for one in world.populations for name in one.loves}
    named = [group for group in world.named if group not in loved]
    seed = crowd.seed if crowd.wishes_of is None else crowd.wishes_of
    return WishBook(chosen, world.words, named=named, most=world.most, count=crowd.wishes, seed=seed, zipf=crowd.zipf)


def _shopping(crowd: Crowd, door: Door, on_list: Callable[[ListDone], None]) -> Shopping:
    """What sessions need."""
    chosen = products(crowd.products, DEMO_SEED)
    return Shopping(door, wishes_of(crowd, chosen), PlantedTruth(chosen, crowd.world.taste), on_list, crowd.page)
