"""What the page shows: the state of a scenario, and lists as a generation really serves them."""

import time
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.demo.learn import nights
from backend.demo.learn.diary import Played
from backend.demo.learn.measuring import PLACES, Measuring
from backend.demo.learn.play import Player
from backend.demo.learn.scenarios import NIGHTS, SCENARIOS, Scenario, scenario
from backend.errors import Conflict
from backend.experiments.assignment import LIVE
from backend.experiments.pins import without_heads
from backend.generations.serving import ServingHolder
from backend.search.asked import list_served
from backend.search.filters import SearchFilters
from backend.search.lists import Ask
from backend.search.pipeline import Searcher, Wanted
from backend.search.query_vectors import Question
from backend.search.schemas import SearchRequest

AT_ONCE = 14
"""Lists that a page is told of at a time: more dots than eyes can follow are none."""


class GenerationGone(Conflict):
    """A generation cannot serve any more."""

    title = "Generation gone"


def results(
    searcher: Searcher, holder: ServingHolder, measuring: Measuring, chosen: Scenario, generation_id: int, words: str
) -> dict[str, Any]:
    """The first page of a search as a generation serves it, not recorded; each hit with its planted grade, if any.

    Raises:
        GenerationGone: it cannot serve.
    """
    serving = holder.pinned(generation_id)
    if serving.generation_id != generation_id:
        raise GenerationGone("this generation does not serve any more", found=f"g{generation_id}")
    request = SearchRequest(text=words, limit=PLACES)
    ask = Ask(Question(request.text, None, None), SearchFilters())
    served = list_served(serving, request, ask, searcher.hasher, LIVE)
    answer = searcher.serve(serving, ask, served, Wanted(PLACES, (), time.perf_counter(), kept=False))
    grades = measuring.meant(chosen, words, [hit["product_id"] for hit in answer["hits"]])
    hits = [
        {
            "product_id": hit["product_id"],
            "title": hit["product"]["title"],
            "caption": next(iter(hit["product"]["captions"]), ""),
            "image": hit["product"]["image"],
            "price": hit["product"]["price"],
            "currency": hit["product"]["currency"],
            "grade": None if grades is None else grades[place],
        }
        for place, hit in enumerate(answer["hits"])
    ]
    return {"generation": f"g{generation_id}", "text": words, "hits": hits}


def state(
    player: Player, measuring: Measuring, sessions: sessionmaker[Session], name: str | None, since: int
) -> dict[str, Any]:
    """Everything that the page draws of one scenario, by default of the one that was played last.

    Args:
        player: who plays.
        measuring: knows what to show of a scenario that was not played yet.
        sessions: PostgreSQL.
        name: of the scenario.
        since: number of the last list that the page was told of.
    """
    last = player.diary.last()
    chosen = scenario(name or player.playing or (last.scenario if last else next(iter(SCENARIOS))))
    player.catch_up()
    play = player.diary.play(chosen.name)
    with session_scope(sessions) as session:
        live, base, under_way = nights.live_id(session), without_heads(session), nights.running(session)
        run_id = play.nights[-1].run_id if play is not None and play.nights else None
        night = nights.look(session, run_id) if run_id is not None else None
    if play is None:
        text, product_id = measuring.shown(chosen)
        play = Played(chosen.name, player.began, base or live or 0, text, product_id)
    is_played = player.playing == chosen.name
    shopping = player.shopping if is_played or (player.playing is None and run_id is None) else None
    return {
        "scenarios": [_told(one) for one in SCENARIOS.values()],
        "scenario": chosen.name,
        "nights": NIGHTS,
        "stage": player.stage if is_played else "idle",
        "playing": player.playing,
        "busy": player.playing is not None or under_way is not None,
        "error": player.error,
        "live": live,
        "play": _played(play, continues=last is not None and last.began == play.began),
        "shopping": shopping.told() if shopping is not None else None,
        "lists": shopping.since(since, AT_ONCE) if shopping is not None else [],
        "night": night if player.stage != "shopping" or not is_played else None,
        "steps": nights.waiting_steps(),
    }


def _told(one: Scenario) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "caption": one.caption,
        "shows": one.shows,
        "joins": one.joins,
        "shoppers": one.shoppers,
    }


def _played(play: Played, *, continues: bool) -> dict[str, Any]:
    """A play; ``continues`` says whether another night of it may follow."""
    return {
        "text": play.text,
        "product_id": play.product_id,
        "generations": [play.generation_after(number) for number in range(len(play.nights) + 1)],
        "truth": [play.truth, *(one.truth for one in play.nights)],
        "nights": [
            {
                "number": one.number,
                "run_id": one.run_id,
                "outcome": one.outcome,
                "sentence": one.sentence,
                "crowd": one.crowd,
                "curves": one.curves,
            }
            for one in play.nights
        ],
        "continues": continues and len(play.nights) < NIGHTS,
    }
