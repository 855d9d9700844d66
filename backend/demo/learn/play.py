"""Plays nights: a crowd shops over the real API, then the real nightly job runs, and the truth is looked up."""

import threading
import time
from typing import Any, Literal

from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.demo.learn import nights
from backend.demo.learn.crowd_process import CrowdProcess, Shopping
from backend.demo.learn.curves import curves
from backend.demo.learn.diary import Diary, NightPlayed, Played, now
from backend.demo.learn.lists import Lists
from backend.demo.learn.measuring import of_night
from backend.demo.learn.scenarios import NIGHTS, SCENARIOS, Scenario, scenario
from backend.errors import AppError, Conflict
from backend.experiments.pins import pin, without_heads
from backend.generations.repository import lock_generations
from backend.generations.serving import ServingHolder
from backend.logs import get_logger
from backend.queue import NIGHTLY, Queue
from backend.settings import Settings

log = get_logger(__name__)

Stage = Literal["idle", "shopping", "night", "measuring"]

PINNED_FOR = "demo"
LOOK_S = 0.2
SEEN_WITHIN_S = 30.0
"""Seconds within which this process serves what went live."""


class PlayRunning(Conflict):
    """One crowd shops at a time."""

    title = "A night is being played"


class Player:
    """Plays one night at a time, in a thread of its own.

    Args:
        settings: of this process; its address is where the crowd shops.
        sessions: PostgreSQL.
        queue: nudges the worker.
        holder: what serves here.
        lists: asks generations, and knows the planted truth.
        diary: what was played.
    """

    def __init__(
        self,
        settings: Settings,
        sessions: sessionmaker[Session],
        queue: Queue,
        holder: ServingHolder,
        lists: Lists,
        diary: Diary,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._queue = queue
        self._holder = holder
        self._lists = lists
        self._measuring = lists.measuring
        self.diary = diary
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._crowd: CrowdProcess | None = None
        self._stopped = threading.Event()
        self.stage: Stage = "idle"
        self.playing: str | None = None
        self.shopping: Shopping | None = None
        self.error: str | None = None
        self.began = now()

    def start(self, name: str, *, afresh: bool = False, shoppers: int | None = None) -> Played:
        """Begin the next night of a scenario; the play, which is a new one where another was played since.

        Raises:
            NoSuchScenario: there is none of this name.
            PlayRunning: a night is being played, or the nightly job is under way.
            Conflict: nothing is live.
        """
        chosen = scenario(name)
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise PlayRunning("a night is being played: wait for it, or stop it", found=self.playing)
            with session_scope(self._sessions) as session:
                if (other := nights.running(session)) is not None:
                    raise PlayRunning("the nightly job is under way", found=f"n{other}", expected="no night running")
            play = self._next(chosen, afresh=afresh)
            self._begin(chosen, lambda: self._night(chosen, play, shoppers or chosen.shoppers))
        return play

    def stop(self) -> None:
        """Send the crowd home; what it did stays done, and a night that has begun goes on without this process."""
        self._stopped.set()
        if self._crowd is not None:
            self._crowd.stop()

    def close(self) -> None:
        """End the thread."""
        self.stop()
        if self._thread is not None:
            self._thread.join(10)

    def catch_up(self) -> None:
        """Write down a night that ended while nobody looked, as when this process was started again."""
        play = self.diary.last()
        if self.stage != "idle" or play is None or not play.nights or play.nights[-1].outcome is not None:
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                chosen, night = SCENARIOS[play.scenario], play.nights[-1]
                self._begin(chosen, lambda: self._follow(chosen, play, night))

    def _begin(self, chosen: Scenario, work: Any) -> None:
        self._stopped.clear()
        self.playing, self.error, self.shopping, self.stage = chosen.name, None, None, "shopping"
        self._thread = threading.Thread(target=self._worked, args=(work,), name="demo-night", daemon=True)
        self._thread.start()

    def _worked(self, work: Any) -> None:
        try:
            work()
        except AppError as error:
            self.error = error.sentence()
        except Exception as error:  # the page says so, and the next night may be tried
            log.exception("demo_night_failed")
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self.stage, self.playing, self._crowd = "idle", None, None

    def _next(self, chosen: Scenario, *, afresh: bool) -> Played:
        """The play that the next night belongs to. Nights of another scenario since then have clicks of their own."""
        last = self.diary.last()
        if last is not None and last.scenario == chosen.name and len(last.nights) < NIGHTS and not afresh:
            return last
        with session_scope(self._sessions) as session:
            first = without_heads(session) or nights.live_id(session)
            if first is None:
                raise Conflict("nothing is live yet that could learn", expected="the demo shop: `morelike demo`")
            nights.serve_again(session, first)
        self._served(first)
        text, product_id = self._lists.shown(chosen, first)
        frozen = self._measuring.frozen(chosen)
        play = Played(chosen.name, now(), first, text, product_id, {"frozen": frozen, "live": frozen})
        self._keep(play)
        return play

    def _night(self, chosen: Scenario, play: Played, shoppers: int) -> None:
        number = len(play.nights) + 1
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.host, self._settings.host)  # noqa: S104
        url = f"http://{f'[{host}]' if ':' in host else host}:{self._settings.port}"
        crowd = CrowdProcess(url, chosen.name, number, shoppers=shoppers, products=self._measuring.products)
        self._crowd, self.shopping = crowd, crowd.shopping
        if self._stopped.is_set():
            crowd.stop()
        report = crowd.follow()
        if report is None:
            return
        done = {name: report["done"][name] for name in ("lists", "shown", "viewed", "clicked", "satisfied")}
        with session_scope(self._sessions) as session:
            run_id = nights.begin(session, self._settings, self._queue, play.began)
        night = NightPlayed(number, run_id, done | {"by_position": report["by_position"]})
        play = play.with_night(night)
        self._keep(play)
        self._follow(chosen, play, night)

    def _follow(self, chosen: Scenario, play: Played, night: NightPlayed) -> None:
        """Watch a night to its end, and look up the truth."""
        self.stage, arms = "night", dict[str, Any]()
        while not self._stopped.wait(LOOK_S):
            with session_scope(self._sessions) as session:
                found = nights.look(session, night.run_id or 0)
            if found is None:
                self.diary.keep(_without(play, night.number))
                return
            gates = next((step for step in found["steps"] if step["name"] == "gates"), None)
            if not arms and gates is not None and gates["state"] != "pending":
                arms = self._measuring.arms(chosen, night.run_id or 0)
            if found["state"] in nights.ENDED:
                self._write_down(chosen, play, night, found, arms or self._measuring.arms(chosen, night.run_id or 0))
                return
            self._queue.nudge(NIGHTLY)

    def _write_down(
        self, chosen: Scenario, play: Played, night: NightPlayed, found: dict[str, Any], arms: dict[str, Any]
    ) -> None:
        self.stage = "measuring"
        with session_scope(self._sessions) as session:
            after = nights.live_id(session) or play.generation_id
        self._served(after)
        live = self._measuring.live(chosen, after)
        done = NightPlayed(
            night.number,
            night.run_id,
            night.crowd,
            after,
            found["outcome"] or found["state"],
            found["sentence"],
            of_night(play.truth["frozen"], arms, live),
            curves(chosen.planted, found["propensities"] or {}),
        )
        self._keep(play.with_night(done))

    def _served(self, generation_id: int) -> None:
        """Wait until this process serves a generation."""
        until = time.monotonic() + SEEN_WITHIN_S
        while self._holder.current.generation_id != generation_id and time.monotonic() < until:
            time.sleep(0.05)

    def _keep(self, play: Played) -> None:
        """Write a play down, and keep the generations of every scenario's last one ready to serve."""
        self.diary.keep(play)
        plays = [found for name in SCENARIOS if (found := self.diary.play(name)) is not None]
        kept = {one.generation_after(number) for one in plays for number in range(len(one.nights) + 1)}
        with session_scope(self._sessions) as session:
            lock_generations(session)
            pin(session, PINNED_FOR, nights.known(session, kept))


def _without(play: Played, number: int) -> Played:
    return Played(
        play.scenario, play.began, play.generation_id, play.text, play.product_id, play.truth,
        tuple(one for one in play.nights if one.number != number),
    )  # fmt: skip
