"""What answers a request: one frozen object, used throughout, so query heads and collections always match."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.errors import Unavailable
from backend.generations.heads import HeadsUnusable, read_item_heads, read_query_heads
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.generations.promote import PROMOTABLE
from backend.logs import get_logger
from backend.ml.heads import ItemHeads, QueryHeads
from backend.ml.scoring import Calibration

log = get_logger(__name__)

BEHIND_S = 60.0
"""Seconds for which a process may go on with the generation before while it loads the live one's encoder."""


PINNED = 4
"""Generations beside the live one that are kept as they were read: heads and what feedback needs are megabytes."""


class NothingServes(Unavailable):
    """No generation is live: the first start has not finished, or PostgreSQL was never reached."""

    title = "No generation is live"


@dataclass(frozen=True)
class Serving:
    """The live generation with everything a query needs of it, the heads of its collections' items among it."""

    generation_id: int
    build_id: int
    encoder_id: str
    weights_hash: str
    dim: int
    image_collection: str
    caption_collection: str
    query_heads: QueryHeads
    item_heads: ItemHeads
    calibration: Calibration
    summarizer_id: int | None = None
    feedback: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the generation in answers: ``g7``."""
        return f"g{self.generation_id}"


def load_serving(session: Session, generation_id: int | None = None) -> Serving | None:
    """The generation that is live now, or the one of this id that may serve, while its index build is kept.

    Raises:
        HeadsUnusable: its heads are damaged, or not of its build's encoder.
    """
    wanted = (
        Generation.state == "live"
        if generation_id is None
        else (Generation.id == generation_id) & Generation.state.in_(PROMOTABLE) & (IndexBuild.state == "ready")
    )
    row = session.execute(
        select(Generation, IndexBuild, EncoderRecord)
        .join(IndexBuild, IndexBuild.id == Generation.index_build_id)
        .join(EncoderRecord, EncoderRecord.id == IndexBuild.encoder_id)
        .where(wanted)
    ).one_or_none()
    if row is None:
        return None
    generation, build, encoder = row
    try:
        query_heads = read_query_heads(generation.query_heads, encoder.id)
        item_heads = read_item_heads(build.item_heads, encoder.id)
    except ValueError as error:
        raise HeadsUnusable(f"the heads of g{generation.id} cannot be used: {error}", found=generation.id) from error
    return Serving(
        generation_id=generation.id,
        build_id=build.id,
        encoder_id=encoder.id,
        weights_hash=encoder.weights_hash,
        dim=encoder.dim,
        image_collection=build.image_collection,
        caption_collection=build.caption_collection,
        query_heads=query_heads,
        item_heads=item_heads,
        calibration=Calibration.from_json(generation.calibration),
        summarizer_id=generation.summarizer_id,
        feedback=generation.feedback,
    )


@dataclass(frozen=True)
class EncoderKey:
    """An encoder in use, and what opens it where that is known."""

    id: str
    source: str | None


class EncoderSet(Protocol):
    """The encoders that a process can encode queries with."""

    def follow(self, encoders: Sequence[EncoderKey]) -> None:
        """Load these, the live one first, and let go of all others. Returns at once; called again and again."""

    def has(self, encoder_id: str) -> bool:
        """Whether this one is loaded."""

    def why_not(self, encoder_id: str) -> str:
        """What keeps it from being loaded."""


class ServingHolder:
    """Follows the live generation: a thread looks every ``poll_s`` and swaps one reference.

    A generation is served from the moment its encoder is loaded here; until then the one before goes on. While
    PostgreSQL does not answer the last generation seen goes on serving.

    Args:
        sessions: where generations are read.
        poll_s: seconds between two looks; a flip reaches every process within them.
        encoders: loaded ahead of a flip; none where nothing is encoded.
        on_swap: called with each newly seen generation, the first included, from the polling thread.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        *,
        poll_s: float = 0.25,
        encoders: EncoderSet | None = None,
        on_swap: Callable[[Serving], None] | None = None,
    ) -> None:
        self._sessions = sessions
        self._poll_s = poll_s
        self._encoders = encoders
        self._on_swap = on_swap
        self._current: Serving | None = None
        self._pinned: dict[int, Serving] = {}
        self._arms: dict[int, Serving] = {}
        self._arms_wanted: Sequence[int] = ()
        self._awaited: tuple[Serving, float] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="serving-holder", daemon=True)

    def start(self) -> None:
        """Look once, then follow in a daemon thread."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._poll_s + 5)

    @property
    def current(self) -> Serving:
        """What serves now. Take it once a request.

        Raises:
            NothingServes: no generation has been live yet.
        """
        serving = self._current
        if serving is None:
            raise NothingServes("no generation is live yet; the stack is still starting")
        return serving

    def arm(self, generation_id: int | None) -> Serving | None:
        """The generation of this id where it is live or kept beside it and can be searched here; from memory.

        As with ``pinned``, one of the encoder that serves can, also while that is being loaded: a process that has just
        been started takes nobody out of an experiment.
        """
        serving = self._current
        if serving is not None and serving.generation_id == generation_id:
            return serving
        found = self._arms.get(generation_id) if generation_id is not None else None
        return found if found is not None and self._can_search(found, serving) else None

    def _can_search(self, found: Serving, serving: Serving | None) -> bool:
        same = serving is not None and found.encoder_id == serving.encoder_id
        return same or self._encoders is None or self._encoders.has(found.encoder_id)

    def pinned(self, generation_id: int) -> Serving:
        """The generation of this id while it can be searched here, else what serves now.

        One of the encoder that serves can: where that is still being loaded, either is waited for alike, and a process
        that has just been started moves no session to another generation.

        Raises:
            NothingServes: no generation has been live yet.
        """
        serving = self.current
        kept = self.arm(generation_id)
        if kept is not None:
            return kept
        with session_scope(self._sessions) as session:
            found = self._read(session, generation_id)
        if found is None:
            return serving
        return found if self._can_search(found, serving) else serving

    def _read(self, session: Session, generation_id: int) -> Serving | None:
        """The generation of this id while it may serve. It never changes, so it is read in full once."""
        if session.scalar(_MAY_SERVE, {"id": generation_id, "states": list(PROMOTABLE)}) is None:
            return None
        found = self._pinned.get(generation_id) or load_serving(session, generation_id)
        if found is not None:  # a new dict in place of the old one: other requests read it meanwhile
            self._pinned = dict([*self._pinned.items()][1 - PINNED :]) | {generation_id: found}
        return found

    def check_following(self) -> Serving:
        """What serves now, which is what is live, or was until a moment ago.

        Raises:
            NothingServes: nothing is live, or the live generation's encoder cannot be loaded here.
        """
        awaited = self._awaited
        if awaited is not None and self._encoders is not None and time.monotonic() - awaited[1] > BEHIND_S:
            live = awaited[0]
            raise NothingServes(
                f"{live.name} is live and this process goes on with {self.current.name}: "
                f"{self._encoders.why_not(live.encoder_id)}",
                found=self.current.name,
                expected=live.name,
            )
        return self.current

    def refresh(self) -> None:
        """Look now."""
        with session_scope(self._sessions) as session:
            live, encoders = _look(session)
            if self._encoders is not None:
                self._encoders.follow(encoders)
            self._keep_arms(session, session.scalars(_ARMS).all())
            if live is None or (self._current is not None and live == self._current.generation_id):
                self._awaited = None
                return
            found = load_serving(session)
        if found is not None and self._may_serve(found):
            self._swap(found)

    def _keep_arms(self, session: Session, wanted: Sequence[int]) -> None:
        """Hold the generations ``wanted`` beside the live one. One that cannot be read leaves the others alone."""
        if wanted == self._arms_wanted:
            return
        arms = {}
        for generation_id in wanted:
            try:
                arms[generation_id] = self._arms.get(generation_id) or load_serving(session, generation_id)
            except HeadsUnusable as error:
                log.warning("arm_not_read", generation=f"g{generation_id}", error=str(error))
        self._arms = {generation_id: found for generation_id, found in arms.items() if found is not None}
        self._arms_wanted = wanted

    def _may_serve(self, found: Serving) -> bool:
        """Whether ``found`` can be searched here. The first one is served in any case: browsing needs no encoder."""
        if self._current is None or self._encoders is None or self._encoders.has(found.encoder_id):
            return True
        if self._awaited is None or self._awaited[0].generation_id != found.generation_id:
            self._awaited = (found, time.monotonic())
            log.info("serving_waits_for_encoder", generation=found.name, encoder=found.encoder_id)
        return False

    def _swap(self, found: Serving) -> None:
        self._current, self._awaited = found, None
        log.info("serving", generation=found.name, build=found.build_id, encoder=found.encoder_id)
        if self._on_swap is not None:
            self._on_swap(found)

    def _poll(self) -> None:
        while not self._stopped.wait(self._poll_s):
            try:
                self.refresh()
            except Exception as error:  # noqa: BLE001  whatever failed, the last generation serves and we look again
                log.warning("serving_not_refreshed", error=str(error))


_MAY_SERVE = text("""
    SELECT 1 FROM generations g JOIN index_builds b ON b.id = g.index_build_id
    WHERE g.id = :id AND g.state = ANY(CAST(:states AS text[])) AND b.state = 'ready'
""")

# generations kept beside the live one whose builds can be searched
_ARMS = text("""
    SELECT g.id FROM generations g JOIN index_builds b ON b.id = g.index_build_id
    WHERE g.state IN ('ready', 'live', 'retired') AND b.state = 'ready'
      AND g.id IN (SELECT generation_id FROM generation_pins) ORDER BY g.id
""")

# one small statement, because every process asks it several times a second
_LOOK = text("""
    SELECT e.id, e.source, g.id AS live
    FROM (SELECT encoder_id, max(id) AS newest FROM index_builds WHERE state IN ('building', 'ready')
          GROUP BY encoder_id) AS used
    JOIN encoders e ON e.id = used.encoder_id
    LEFT JOIN generations g ON g.state = 'live'
        AND (SELECT b.encoder_id FROM index_builds b WHERE b.id = g.index_build_id) = e.id
    ORDER BY g.id NULLS LAST, used.newest DESC
""")


def _look(session: Session) -> tuple[int | None, list[EncoderKey]]:
    """Number of the live generation, and the encoders in use, its own first."""
    rows = session.execute(_LOOK).all()
    return next((row.live for row in rows if row.live), None), [EncoderKey(row.id, row.source) for row in rows]
