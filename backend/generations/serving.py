"""What answers a request: one frozen object, used throughout, so query heads and collections always match."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.errors import Unavailable
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.logs import get_logger
from backend.ml.scoring import Calibration

log = get_logger(__name__)


class NothingServes(Unavailable):
    """No generation is live: the first start has not finished, or PostgreSQL was never reached."""

    title = "No generation is live"


@dataclass(frozen=True)
class Serving:
    """The live generation with everything a query needs of it. Heads that are ``None`` are the identity."""

    generation_id: int
    build_id: int
    encoder_id: str
    weights_hash: str
    dim: int
    image_collection: str
    caption_collection: str
    query_heads: bytes | None
    calibration: Calibration

    @property
    def name(self) -> str:
        """Name of the generation in answers: ``g7``."""
        return f"g{self.generation_id}"


def load_serving(session: Session) -> Serving | None:
    """The generation that is live now."""
    row = session.execute(
        select(Generation, IndexBuild, EncoderRecord)
        .join(IndexBuild, IndexBuild.id == Generation.index_build_id)
        .join(EncoderRecord, EncoderRecord.id == IndexBuild.encoder_id)
        .where(Generation.state == "live")
    ).one_or_none()
    if row is None:
        return None
    generation, build, encoder = row
    return Serving(
        generation_id=generation.id,
        build_id=build.id,
        encoder_id=encoder.id,
        weights_hash=encoder.weights_hash,
        dim=encoder.dim,
        image_collection=build.image_collection,
        caption_collection=build.caption_collection,
        query_heads=generation.query_heads,
        calibration=Calibration.from_json(generation.calibration),
    )


class ServingHolder:
    """Follows the live generation: a thread looks every ``poll_s`` and swaps one reference.

    While PostgreSQL does not answer the last generation seen goes on serving.

    Args:
        sessions: where generations are read.
        poll_s: seconds between two looks; a flip reaches every process within them.
        on_swap: called with each newly seen generation, the first included, from the polling thread.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        *,
        poll_s: float = 2.0,
        on_swap: Callable[[Serving], None] | None = None,
    ) -> None:
        self._sessions = sessions
        self._poll_s = poll_s
        self._on_swap = on_swap
        self._current: Serving | None = None
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

    def refresh(self) -> None:
        """Look now."""
        with session_scope(self._sessions) as session:
            found = load_serving(session)
        previous = self._current
        if found is None or (previous is not None and found.generation_id == previous.generation_id):
            return
        self._current = found
        log.info("serving", generation=found.name, build=found.build_id, encoder=found.encoder_id)
        if self._on_swap is not None:
            self._on_swap(found)

    def _poll(self) -> None:
        while not self._stopped.wait(self._poll_s):
            try:
                self.refresh()
            except Exception as error:  # noqa: BLE001  whatever failed, the last generation serves and we look again
                log.warning("serving_not_refreshed", error=str(error))
