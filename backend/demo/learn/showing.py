"""What the page shows of a scenario: its play, who shops, and how far the night is."""

from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.demo.learn import nights
from backend.demo.learn.curves import planted_curves
from backend.demo.learn.diary import Played
from backend.demo.learn.lists import Lists
from backend.demo.learn.play import Player
from backend.demo.learn.scenarios import NIGHTS, SCENARIOS, Scenario, scenario
from backend.experiments.pins import without_heads

AT_ONCE = 14
"""Lists that a page is told of at a time: more dots than eyes can follow are none."""


def state(
    player: Player, lists: Lists, sessions: sessionmaker[Session], name: str | None, since: int
) -> dict[str, Any]:
    """Everything that the page draws of one scenario, by default of the one that was played last.

    Args:
        player: who plays.
        lists: knows what to show of a scenario that was not played yet.
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
        play = _ahead(chosen, lists, base or live or 0, player)
    is_played = player.playing == chosen.name
    shopping = player.shopping if is_played else None
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
        "planted": planted_curves(chosen.planted),
        "wishes": [one.text for one in lists.measuring.planted(chosen).wishes[:8]],
    }


def _ahead(chosen: Scenario, lists: Lists, generation_id: int, player: Player) -> Played:
    """Night 0 of a scenario that was not played yet."""
    frozen = lists.measuring.frozen(chosen)
    truth = {"frozen": frozen, "live": frozen}
    return Played(chosen.name, player.began, generation_id, *lists.shown(chosen, generation_id), truth)


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
