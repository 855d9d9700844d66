"""What each generation and each arm of a night is worth by planted truth, for the crowd of a scenario."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.demo.learn.nights import arms
from backend.demo.learn.scenarios import Scenario
from backend.demo.learn.truth import Bench, Planted
from backend.demo.learn.vectors import read_gallery
from backend.errors import Conflict
from backend.generations.serving import Serving, ServingHolder
from backend.ml.heads import QueryHeads
from backend.search.query_encoders import QueryEncoders

PLACES = 16
"""Places that the page shows of a list."""

ROW = 4

_COUNT = text("SELECT count(*) FROM products WHERE id ~ '^demo-[0-9]{5}$' AND deleted_at IS NULL")


class Measuring:
    """Benches, one a scenario; safe to share between threads, one of which at a time makes a new one.

    Args:
        home: where nights keep their arms.
        sessions: PostgreSQL.
        holder: generations that serve here.
        encoders: turn words into vectors.
    """

    def __init__(
        self,
        home: Path,
        sessions: sessionmaker[Session],
        holder: ServingHolder,
        encoders: QueryEncoders,
    ) -> None:
        self._home = home
        self._sessions = sessions
        self._holder = holder
        self._encoders = encoders
        self._products = 0
        self._planted: dict[str, Planted] = {}
        self._benches: dict[tuple[str, str], Bench] = {}
        self._frozen: dict[tuple[str, str], dict[str, float]] = {}
        self._shown: dict[tuple[str, str], tuple[str, str | None]] = {}

    @property
    def products(self) -> int:
        """How many of the demo's products the shop has, the first ones of its catalogue.

        Raises:
            Conflict: it has none.
        """
        if not self._products:
            with session_scope(self._sessions) as session:
                self._products = session.scalar(_COUNT) or 0
        if not self._products:
            raise Conflict("this is not the demo shop: nothing is planted in it", expected="`morelike demo`")
        return self._products

    def planted(self, scenario: Scenario) -> Planted:
        """What the crowd of a scenario asks for and means."""
        if scenario.world not in self._planted:
            self._planted[scenario.world] = Planted(scenario.crowd(1, products=self.products))
        return self._planted[scenario.world]

    def shown(self, scenario: Scenario, served: Callable[[str], Sequence[str]]) -> tuple[str, str | None]:
        """The search to show of a scenario, and the product to follow.

        Args:
            scenario: what is played.
            served: ids of the list of a search in night 0.
        """
        key = scenario.world, self._holder.current.encoder_id
        if key not in self._shown:
            ids = [f"demo-{number:05d}" for number in range(1, self.products + 1)]
            self._shown[key] = self.planted(scenario).shown(ids, served, ROW)
        return self._shown[key]

    def frozen(self, scenario: Scenario) -> dict[str, float]:
        """What the encoder alone is worth."""
        key = scenario.world, self._holder.current.encoder_id
        if key not in self._frozen:
            self._frozen[key] = self._bench(scenario, self._holder.current).worth(QueryHeads()).to_json()
        return self._frozen[key]

    def live(self, scenario: Scenario, generation_id: int) -> dict[str, float]:
        """What a generation is worth."""
        serving = self._holder.pinned(generation_id)
        return self._bench(scenario, serving).worth(serving.query_heads, serving.item_heads).to_json()

    def arms(self, scenario: Scenario, run_id: int) -> dict[str, dict[str, float]]:
        """What each arm of a night is worth, while its folder is there."""
        serving = self._holder.current
        found = arms(self._home, run_id, serving.encoder_id)
        return self._bench(scenario, serving).worths(found, serving.item_heads) if found else {}

    def meant(self, scenario: Scenario, words: str, ids: list[str]) -> list[int] | None:
        """Grades of products for a search of the crowd's; None where nobody of it asks for that."""
        planted = self.planted(scenario)
        wish = planted.wish(words)
        return None if wish is None else planted.grades(wish, ids).tolist()

    def _bench(self, scenario: Scenario, serving: Serving) -> Bench:
        key = scenario.world, serving.encoder_id
        if key not in self._benches:
            with session_scope(self._sessions) as session:
                gallery = read_gallery(session, serving.encoder_id, serving.dim)
            encode = self._encoders.serving(serving).encode_text
            self._benches[key] = Bench(self.planted(scenario), gallery, serving.calibration, encode)
        return self._benches[key]


def of_night(before: dict[str, float], found: dict[str, Any], live: dict[str, float]) -> dict[str, Any]:
    """The truth of a night as the diary has it: the encoder alone, each arm, and what was live in the morning."""
    return {"frozen": before, **found, "live": live}
