"""Nights of the demo shop without a server: `python -m benchmarks.demo_nights [--world pastel] [--shoppers 300]`.

The demo's real vectors, searches, planted truth and simulated shoppers, night by night: each night the arms learn from
all lists so far, and the best by validation ranks the next day. Examination is known or what is assumed before there
are clicks; gates are not asked. The table says what NDCG@10 by planted truth became, of all searches and of those that
nothing was learned from.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.demo.catalogue import products, write
from backend.demo.shoppers.asking import Wish, WishBook
from backend.demo.shoppers.planted import PlantedTruth
from backend.generations.calibrate import Asked as Asking
from backend.generations.calibrate import measure
from backend.ml.click_training.plan import ClickPlan
from backend.ml.click_training.problem import Captions, ItemVectors, Problem
from backend.ml.click_training.train import train_arm
from backend.ml.clicks.adversaries import Honest
from backend.ml.clicks.click_log import NO_COINS, NO_JUDGEMENTS, Asked, ClickLog, Context, Lists, Rows, part_of
from backend.ml.clicks.examination import examined_share
from backend.ml.clicks.exploration import ExplorationPolicy, explore
from backend.ml.clicks.labels import SATISFYING, graded
from backend.ml.clicks.propensities import prior
from backend.ml.clicks.shoppers import Acts, gain
from backend.ml.clicks.worlds import WORLDS, Population, World
from backend.ml.encoder import load_encoder
from backend.ml.heads import QueryHeads
from backend.ml.metrics import ndcg
from backend.ml.scoring import Calibration, Side, score_matrix
from benchmarks.demo_quality import ENCODER, picture_vectors

PAGE = 24
REFINED = 2
"""Further searches for each, of those that found nothing."""

EXPLORED = 0.05
ARMS_COMPARED = ("naive", "ips", "dr")


@dataclass(frozen=True)
class Shop:
    """The demo shop as vectors and what is asked of it."""

    items: ItemVectors
    calibration: Calibration
    captions: Captions
    texts: tuple[str, ...]
    vectors: NDArray[np.float32]
    popularity: NDArray[np.float64]
    grades: dict[tuple[str, ...], NDArray[np.int64]]

    @property
    def products(self) -> NDArray[np.int64]:
        """Numbers."""
        return np.arange(len(np.unique(self.items.images.products)))

    def scores(self, heads: QueryHeads, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, p) of raw queries (n, d)."""
        asked = heads.adapt("text", vectors)
        return score_matrix(
            asked, asked, self.items.images, self.items.captions, self.products, self.calibration, "text"
        )


def open_shop(world: World, directory: Path, count: int = 2400) -> Shop:
    """Draw what is missing, and encode."""
    chosen, encoder = products(count, 7), load_encoder("demo", threads=1, demo_dir=ENCODER)
    cached = directory / f"vectors-{encoder.weights_hash[:12]}-{count}.npz"
    if not cached.exists():
        write(directory, count)
        vectors, owners = picture_vectors(encoder, directory, chosen)
        np.savez(cached, vectors=vectors, owners=owners)
    held = np.load(cached)
    images = Side(held["vectors"], held["owners"].astype(np.int64))
    told = Side(encoder.encode_texts([one.caption for one in chosen]), np.arange(count))
    book = WishBook(chosen, world.words, named=world.named, most=world.most)
    rng = np.random.default_rng(1)
    wishes = list(book.wishes)
    wishes += [book.refined(wish, rng) for wish in book.wishes for _ in range(REFINED)]
    truth = PlantedTruth(chosen, world.taste)
    popularity = np.arange(1, len(book.wishes) + 1) ** -0.8
    return Shop(
        ItemVectors(images, told),
        measure(images, told, 0.5, Asking(told, images)),
        Captions.of(told, {number: one.id for number, one in enumerate(chosen)}),
        tuple(wish.text for wish in wishes),
        encoder.encode_texts([wish.text for wish in wishes]),
        popularity / popularity.sum(),
        {one.loves: _graded(truth, wishes, one.loves) for one in world.populations},
    )


def _graded(truth: PlantedTruth, wishes: Sequence[Wish], loves: tuple[str, ...]) -> NDArray[np.int64]:
    return np.stack([truth.grades(wish.named, loves) for wish in wishes])


@dataclass(frozen=True)
class Done:
    """A list and what was done with it."""

    query: int
    population: int
    unit: int
    shown: NDArray[np.int64]
    score: NDArray[np.float64]
    acts: Acts


def shop_for_a_day(shop: Shop, world: World, heads: QueryHeads, shoppers: int, day: int, explored: float) -> list[Done]:
    """What shoppers do with lists ranked through ``heads``."""
    rng = np.random.default_rng((day, 77))
    scores = shop.scores(heads, shop.vectors)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :50]
    asked, done = len(shop.popularity), list[Done]()
    for number in range(shoppers):
        place = int(rng.choice(len(world.populations), p=world.shares()))
        one, policy = world.populations[place], ExplorationPolicy() if rng.random() < explored else None
        unit = place if one.alone else day * 100_000 + number
        for _ in range(min(int(rng.geometric(1 / one.searches)), 40)):
            wish = query = int(rng.choice(asked, p=shop.popularity))
            for again in range(3):
                shown = order[query]
                if policy is not None:
                    shown = shown[explore(scores[query][shown], PAGE, policy, rng).order]
                shown = shown[:PAGE]
                gains = gain(shop.grades[one.loves][query][shown])[None]
                acts = one.shopper.act(gains, shown[None], one.context.columns, rng)
                done.append(Done(query, place, unit, shown, scores[query][shown], acts))
                if not acts.reformulated[0]:
                    break
                query = asked + wish * REFINED + min(again, REFINED - 1)
    return done


def log_of(shop: Shop, world: World, days: Sequence[Sequence[Done]]) -> ClickLog:
    """The days as the night reads them; shoppers that are programs by their own words are left out."""
    kept = [[one for one in day if world.populations[one.population].user_agent is None] for day in days]
    done = [one for day in kept for one in day]
    served = [1.7e9 + 86_400 * (at + place / len(day)) for at, day in enumerate(kept) for place in range(len(day))]

    def acted(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(one.acts, name) for one in done])

    clicked = acted("clicked")
    later = np.zeros_like(clicked)
    later[:, :-1] = np.flip(np.logical_or.accumulate(np.flip(clicked, 1), axis=1), 1)[:, 1:]
    label = graded(
        clicked=clicked,
        dwell_ms=acted("dwell_ms"),
        timed=acted("timed"),
        returned=acted("returned"),
        went_on=later | acted("reformulated")[:, None],
        kept=acted("carted") | acted("wished"),
        bought=acted("bought"),
    )
    contexts = [_context(one) for one in world.populations]
    named = tuple(dict.fromkeys(contexts))
    cohorts = ("", *sorted({one.context.cohort or "" for one in world.populations} - {""}))
    count, population = len(done), np.array([one.population for one in done])
    lists = Lists(
        query=np.array([one.query for one in done], np.int32),
        unit=np.array([one.unit for one in done], np.int32),
        context=np.array([named.index(one) for one in contexts], np.int16)[population],
        cohort=np.array([cohorts.index(one.context.cohort or "") for one in world.populations], np.int16)[population],
        generation=np.ones(count, np.int32),
        served=np.array(served),
        start=np.arange(count, dtype=np.int64) * PAGE,
        abandoned=acted("reformulated"),
    )
    rows = Rows(
        product=np.concatenate([one.shown for one in done]).astype(np.int32),
        position=np.tile(np.arange(1, PAGE + 1, dtype=np.int16), count),
        p_show=np.ones(count * PAGE, np.float32),
        score=np.concatenate([one.score for one in done]).astype(np.float32),
        viewed=(acted("viewed") | clicked).ravel(),
        clicked=clicked.ravel(),
        satisfied=(label >= SATISFYING).ravel(),
        label=label.ravel(),
    )
    asked = Asked(tuple(f"text:{text}" for text in shop.texts), ("text",) * len(shop.texts), shop.vectors)
    return ClickLog(asked, lists, rows, NO_COINS, NO_JUDGEMENTS, shop.products, named, cohorts)


def _context(population: Population) -> Context:
    context = population.context
    return Context(context.device, context.layout, context.columns, "text")


def examination(world: World, log: ClickLog, *, known: bool) -> NDArray[np.float64]:
    """(n,) theta of each row: as planted for its context, or as assumed before there are clicks."""
    curves = []
    for context in log.contexts:
        curve = prior(PAGE, context.layout, context.columns)
        same = [one.shopper for one in world.populations if _context(one) == context]
        honest = [one for one in same if isinstance(one, Honest)]
        if known and honest:
            looks = examined_share(honest[0].behaviour.examination, PAGE, context.columns)
            curve = looks / looks[0]
        curves.append(curve)
    return np.asarray(np.stack(curves)[log.lists.context].ravel())


def quality(shop: Shop, world: World, heads: QueryHeads) -> tuple[float, float]:
    """NDCG@10 by planted truth of the searches as often as asked: of all, and of those nothing is learned from."""
    asked = len(shop.popularity)
    top = np.argsort(-shop.scores(heads, shop.vectors[:asked]), axis=1, kind="stable")[:, :10]
    honest = [one for one in world.populations if isinstance(one.shopper, Honest)]
    total = np.zeros(asked)
    for one in honest:
        gains = gain(shop.grades[one.loves][:asked])
        total += one.share * ndcg(np.take_along_axis(gains, top, axis=1), gains, 10)
    total /= sum(one.share for one in honest)
    unseen = np.array([part_of(f"text:{text}") != "training" for text in shop.texts[:asked]])
    return float(total @ shop.popularity), float(np.average(total[unseen], weights=shop.popularity[unseen]))


def nights(
    shop: Shop, world: World, count: int, shoppers: int, arms: Sequence[str], plan: ClickPlan, *, known: bool
) -> Iterator[str]:
    """A line a night."""
    heads, days = QueryHeads(), list[list[Done]]()
    start = quality(shop, world, heads)
    yield f"night 0: NDCG@10 {start[0]:.3f}, unseen {start[1]:.3f}"
    for night in range(1, count + 1):
        days.append(shop_for_a_day(shop, world, heads, shoppers, night, EXPLORED))
        log = log_of(shop, world, days)
        problem = Problem(log, examination(world, log, known=known), shop.items, shop.calibration, heads, shop.captions)
        began = time.perf_counter()
        trained = [train_arm(problem, arm, plan) for arm in arms]
        seconds = time.perf_counter() - began
        best = max(trained, key=lambda one: one.report["merit"] if one.gamma else -1.0)
        if best.gamma:
            heads = best.heads
        found = quality(shop, world, heads)
        rows = log.rows
        yield (
            f"night {night}: {len(log.lists.query)} lists, {int(rows.clicked.sum())} clicks, "
            f"{int(rows.satisfied.sum())} satisfied; {best.name if best.gamma else 'none'}: "
            f"NDCG@10 {found[0]:.3f} ({found[0] - start[0]:+.3f}), unseen {found[1]:.3f} ({found[1] - start[1]:+.3f}); "
            + ", ".join(f"{one.name} {quality(shop, world, one.heads)[0]:.3f} at γ {one.gamma:g}" for one in trained)
            + f"; {seconds:.1f} s"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", nargs="*", default=["pastel", "own-words", "strong", "inverted", "bots"])
    parser.add_argument("--nights", type=int, default=5)
    parser.add_argument("--shoppers", type=int, default=300)
    parser.add_argument("--known", action="store_true", help="examination as planted")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "morelike-demo-shop")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.world:
        print(f"\n{name}")
        world = WORLDS[name]
        shop = open_shop(world, arguments.directory)
        lines = nights(
            shop, world, arguments.nights, arguments.shoppers, ARMS_COMPARED, ClickPlan(), known=arguments.known
        )
        for line in lines:
            print(line, flush=True)


if __name__ == "__main__":
    main()
