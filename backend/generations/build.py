"""Making an index build beside the live one, step by step; each is committed, and may be repeated after a crash.

    open        the encoder is opened and recorded
    create      the collections are made, empty
    backfill    every product is embedded and written, while the live build goes on and comes first; one with other
                item heads on the live encoder is written from the stored features, and begins at `create`
    verify      counts, a sample of rows, recall against exact search; what is wrong is written again
    calibrate   a generation is made on it, or those that waited for it completed: the build is ready
    promote     it catches up once more, and goes live where that was asked for: one flip

A step is left by an update that names it, in the transaction that holds the step's outcome: of two workers, or of one
that died and its successor, one moves the build on and the other finds that it has moved.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from backend.access.audit import record
from backend.db import session_scope
from backend.errors import AppError
from backend.generations.bootstrap import code_version
from backend.generations.build_state import at_step, fail, is_at_step, move, note
from backend.generations.builds import running_build
from backend.generations.calibrate import complete
from backend.generations.catching_up import a_few, caught_up
from backend.generations.due import count_behind, products_due
from backend.generations.encoders import OpenEncoders
from backend.generations.features import EncoderBroken
from backend.generations.fill import fill_from_features
from backend.generations.ingest import Ingest
from backend.generations.models import EncoderRecord, Generation, IndexBuild, IndexRow
from backend.generations.opening import open_encoder_of
from backend.generations.promote import go_live
from backend.generations.repository import (
    get_build,
    live_build,
    live_generation,
    lock_generations,
    lock_index,
    newest_ready,
    writable_builds,
)
from backend.generations.retire import empty_dropped, expire_builds, follow_live
from backend.generations.spell import Spell
from backend.generations.summarizers import summarizer_for
from backend.generations.verify import verify
from backend.logs import get_logger
from backend.ml.encoder import Encoder
from backend.vector_index import VectorIndex

log = get_logger(__name__)

MOST_VERIFICATIONS = 4
"""Times that a build is repaired before it is given up."""

PATIENT_CATCH_UPS = 10
"""Times that a flip waits for the very last write; then the few that came in this moment may follow it."""

_LOOK_S = 0.5  # while what is left is in the hands of others

Stop = Callable[[], bool]


@dataclass
class Builder:
    """Does the work on index builds, in one worker. Any number of workers may advance the same build.

    Args:
        sessions: PostgreSQL.
        index: the vector index.
        encoders: those that this worker has open.
        ingest_of: the ingest that fills builds of an encoder beside the live one.
        window: how long a generation that stepped down keeps its build.
    """

    sessions: sessionmaker[Session]
    index: VectorIndex
    encoders: OpenEncoders
    ingest_of: Callable[[Encoder], Ingest]
    window: timedelta
    _catch_ups: dict[int, int] = field(default_factory=dict)

    def advance(self, stop: Stop) -> None:
        """Do all that is due on builds: those beside the live one are filled, one is made, dropped ones removed."""
        while not stop():
            self.clear()
            self._keep_up(stop)
            build = self._running()
            if stop() or build is None or not self._do(build, stop):
                break
        self.clear()

    def clear(self) -> None:
        """Drop what no generation needs any more, and let the aliases follow what is live."""
        with session_scope(self.sessions) as session:
            expire_builds(session, self.window)
        empty_dropped(self.sessions, self.index)
        follow_live(self.sessions, self.index)

    def _running(self) -> IndexBuild | None:
        with session_scope(self.sessions) as session:
            return running_build(session)

    def _do(self, build: IndexBuild, stop: Stop) -> bool:
        """Do the step at which ``build`` is; whether there may be more to do at once."""
        steps: dict[str, Callable[[IndexBuild, Stop], bool]] = {
            "open": self._open,
            "create": self._create,
            "backfill": self._backfill,
            "verify": self._verify,
            "calibrate": self._calibrate,
            "promote": self._promote,
        }
        try:
            return steps[build.step](build, stop)
        except AppError as error:
            note(self.sessions, build, f"{error.detail} It is tried again.")
            raise

    def _open(self, build: IndexBuild, _stop: Stop) -> bool:
        open_encoder_of(self.sessions, self.encoders, build)
        return True

    def _create(self, build: IndexBuild, _stop: Stop) -> bool:
        with session_scope(self.sessions) as session:
            lock_index(session)  # a second worker waits here, and then finds the step done
            row = at_step(session, build)
            if row is None:
                return True
            made = get_build(session, build.id)
            for name in made.collections:
                self.index.drop_collection(name)  # what another database left under these names is not ours
                self.index.create_collection(name, made.dim)
            row.step = "backfill"
        log.info("build_created", build=build.id, encoder=made.encoder_id)
        return True

    def _backfill(self, build: IndexBuild, stop: Stop) -> bool:
        until = Spell(lambda: is_at_step(self.sessions, build) and not caught_up(self.sessions, build))
        try:
            done = self._fill(build, lambda: stop() or until.over())
        except EncoderBroken as error:
            fail(self.sessions, build, f"{error.detail} Found: {error.found}")
            return True
        if stop():
            return False
        if caught_up(self.sessions, build):
            for name in (build.image_collection, build.caption_collection):
                self.index.flush(name)
            move(self.sessions, build, "verify")
        elif not done:
            time.sleep(_LOOK_S)  # what is left is in the hands of another worker
        return True

    def _verify(self, build: IndexBuild, _stop: Stop) -> bool:
        with session_scope(self.sessions) as session:
            target = get_build(session, build.id)
        if not all(self.index.is_finished(name) for name in target.collections):
            time.sleep(_LOOK_S)  # a server still builds its index: until then its recall is not what it will be
            return True
        found = verify(self.sessions, self.index, target)
        attempts = int(build.report.get("attempts", 0)) + 1
        with session_scope(self.sessions) as session:
            row = at_step(session, build)
            if row is None:
                return True
            row.report = found.to_json() | {"attempts": attempts, "at": datetime.now(UTC).isoformat()}
            row.step = "backfill" if found.complaints else "calibrate"
            if found.wrong:
                # no product has this revision, so each of them is written again
                wrong = (IndexRow.index_build_id == build.id) & IndexRow.product.in_(found.wrong)
                session.execute(update(IndexRow).where(wrong).values(revision=-1))
        log.info("build_verified", build=build.id, **row.report)
        if found.complaints and (found.unfit or attempts >= MOST_VERIFICATIONS):
            fail(self.sessions, build, "; ".join(found.complaints))
        return True

    def _calibrate(self, build: IndexBuild, _stop: Stop) -> bool:
        with session_scope(self.sessions) as session:
            lock_generations(session)
            row, live = at_step(session, build), live_generation(session)
            if row is None:
                return True
            target = get_build(session, build.id)
            waiting = select(Generation).where(Generation.index_build_id == build.id, Generation.state == "trained")
            generations = session.scalars(waiting).all() or [
                Generation(index_build_id=build.id, calibration={}, gate_report={}, code_version=code_version())
            ]
            for generation in generations:
                generation.gate_report = generation.gate_report | {"verification": row.report}
                generation.summarizer_id = summarizer_for(session, target.encoder_id)
                complete(session, generation, live)
                session.add(generation)
            row.state, row.ready_at, row.error = "ready", datetime.now(UTC), None
            row.step = "promote" if row.promote else "done"
            session.flush()
            record(session, actor=row.actor, action="build.ready", subject=f"b{build.id}")
        log.info("build_ready", build=build.id, generations=[generation.id for generation in generations])
        return True

    def _promote(self, build: IndexBuild, stop: Stop) -> bool:
        """Catch up, and flip while nobody writes the index; a write that comes in between is caught up with again."""
        until = Spell(lambda: not caught_up(self.sessions, build))
        self._fill(build, lambda: stop() or until.over())
        tries = self._catch_ups[build.id] = self._catch_ups.get(build.id, 0) + 1
        with session_scope(self.sessions) as session:
            lock_generations(session)  # before the other lock, as everywhere
            lock_index(session)
            row, live = at_step(session, build), live_build(session)
            if row is None:
                return True
            behind = count_behind(session, build.id, live.id) if live is not None else 0
            if behind and (tries < PATIENT_CATCH_UPS or behind > a_few(session)):
                return not stop()
            row.step, row.promote = "done", False
            chosen = newest_ready(session, build.id)
            if chosen is not None and chosen.query_heads is not None and live and live.encoder_id != row.encoder_id:
                # an adapter was asked for to improve on what was live, not to undo a switch made meanwhile
                row.error = f"It is ready and did not go live: {live.encoder_id} is live by now."
            elif chosen is not None:
                go_live(session, chosen.id, actor=row.actor or "encoder switch")
        log.info("build_promoted", build=build.id, generation=chosen and chosen.id, behind=behind)
        return True

    def _fill(self, build: IndexBuild, stop: Stop) -> bool:
        """Write what ``build`` lacks, until nothing is left that can be, or ``stop()``; whether anything was done.

        What the live encoder has seen is stored, and what it has not seen the live ingest shows it: a build of that
        encoder is filled from stored features. Any other goes through its own encoder.
        """
        with session_scope(self.sessions) as session:
            live, encoder = live_build(session), session.get_one(EncoderRecord, build.encoder_id)
            target = get_build(session, build.id)
        if live is not None and live.encoder_id == encoder.id:
            return fill_from_features(self.sessions, self.index, target, stop).products > 0
        return self.ingest_of(self.encoders.get(encoder.id, encoder.source)).run_due(stop).progressed

    def _keep_up(self, stop: Stop) -> None:
        """Fill builds beside the live one that are complete: a way back that is not up to date is none."""
        with session_scope(self.sessions) as session:
            live, running = live_build(session), running_build(session)
            skipped = {live.id if live else None, running.id if running else None}
            due = [build for build in writable_builds(session) if build.id not in skipped]
            due = [build for build in due if products_due(session, build)]
            rows = {build.id: session.get_one(IndexBuild, build.id) for build in due}
        for build in due:
            if live is None or build.encoder_id != live.encoder_id:
                try:
                    self._fill(rows[build.id], stop)
                except AppError as error:  # the way back must not hold up the way forward
                    note(self.sessions, rows[build.id], error.detail)
