"""Making an index build beside the live one, step by step; each is committed, and may be repeated after a crash.

    open        the encoder is opened and recorded
    create      the collections are made, empty
    backfill    every product is embedded and written, while the live build goes on and comes first
    verify      counts, a sample of rows, recall against exact search; what is wrong is written again
    calibrate   a generation is made on it: the build is ready
    promote     it catches up once more, and goes live where that was asked for: one flip

A step is left by an update that names it, in the transaction that holds the step's outcome: of two workers, or of one
that died and its successor, one moves the build on and the other finds that it has moved.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session, sessionmaker

from backend.access.audit import record
from backend.db import session_scope
from backend.errors import AppError
from backend.generations.bootstrap import code_version
from backend.generations.builds import running_build
from backend.generations.calibrate import measure_build
from backend.generations.due import count_behind, products_due
from backend.generations.encoders import OpenEncoders, register_encoder
from backend.generations.features import EncoderBroken
from backend.generations.ingest import Ingest, IngestReport
from backend.generations.models import EncoderRecord, Generation, IndexBuild, IndexRow
from backend.generations.promote import go_live
from backend.generations.repository import (
    WRITABLE_STATES,
    get_build,
    live_build,
    live_generation,
    lock_generations,
    lock_index,
    writable_builds,
)
from backend.generations.retire import empty_dropped, expire_builds, follow_live
from backend.generations.summarizers import summarizer_for
from backend.generations.verify import verify
from backend.logs import get_logger
from backend.ml.encoder import Encoder
from backend.ml.scoring import Calibration
from backend.vector_index import VectorIndex

log = get_logger(__name__)

MOST_OPENINGS = 4
"""Times that an encoder is opened without the worker living to see it: it is too large for this machine."""

MOST_VERIFICATIONS = 4
"""Times that a build is repaired before it is given up."""

PATIENT_CATCH_UPS = 10
"""Times that a flip waits for the very last write; then the few that came in this moment may follow it."""

NEARLY = 0.001
"""Share of products that counts as a few."""

SPELL_S = 60.0
"""Seconds after which a backfill looks whether the other builds beside the live one want something."""

_LOOK_S = 2.0

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
            self._note(build, f"{error.detail} It is tried again.")
            raise

    def _open(self, build: IndexBuild, _stop: Stop) -> bool:
        source = build.source or ""
        if not self._may_open(build):
            return True
        try:
            encoder = self.encoders.open(source)
        except (AppError, ValueError) as error:  # weights that are damaged are a ValueError
            said = f"{error.detail} Found: {error.found}" if isinstance(error, AppError) else str(error)
            self._fail(build, said)
            return True
        with session_scope(self.sessions) as session:
            lock_generations(session)
            row = _at(session, build)
            if row is None:
                return True
            register_encoder(session, encoder)
            same = select(IndexBuild.id).where(IndexBuild.encoder_id == encoder.id, IndexBuild.item_heads.is_(None))
            holder = session.scalars(same.where(IndexBuild.state.in_(WRITABLE_STATES))).first()
            if holder is None:
                row.encoder_id, row.step = encoder.id, "create"
                row.report = {}
                return True
        self._fail(build, f"Index build {holder} holds what this encoder makes: promote a generation of it instead.")
        return True

    def _may_open(self, build: IndexBuild) -> bool:
        """Count an opening before it is tried: an encoder that is too large takes the worker down with it."""
        with session_scope(self.sessions) as session:
            row = _at(session, build)
            if row is None:
                return False
            openings = int(row.report.get("openings", 0)) + 1
            row.report = {"openings": openings}
        if openings > MOST_OPENINGS:
            self._fail(
                build, f"The worker ended {MOST_OPENINGS} times while it opened this encoder: too little memory?"
            )
            return False
        return True

    def _create(self, build: IndexBuild, _stop: Stop) -> bool:
        with session_scope(self.sessions) as session:
            lock_index(session)  # a second worker waits here, and then finds the step done
            row = _at(session, build)
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
        until = _Spell(lambda: self._is_at(build) and not self._caught_up(build))
        try:
            done = self._fill(build, lambda: stop() or until.over())
        except EncoderBroken as error:
            self._fail(build, f"{error.detail} Found: {error.found}")
            return True
        if stop():
            return False
        if self._caught_up(build):
            for name in (build.image_collection, build.caption_collection):
                self.index.flush(name)
            self._move(build, "verify")
        elif not done.progressed:
            time.sleep(_LOOK_S / 4)  # what is left is in the hands of another worker
        return True

    def _verify(self, build: IndexBuild, _stop: Stop) -> bool:
        with session_scope(self.sessions) as session:
            target = get_build(session, build.id)
        if not all(self.index.is_finished(name) for name in target.collections):
            time.sleep(_LOOK_S / 4)  # a server still builds its index: until then its recall is not what it will be
            return True
        found = verify(self.sessions, self.index, target)
        attempts = int(build.report.get("attempts", 0)) + 1
        with session_scope(self.sessions) as session:
            row = _at(session, build)
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
            self._fail(build, "; ".join(found.complaints))
        return True

    def _calibrate(self, build: IndexBuild, _stop: Stop) -> bool:
        with session_scope(self.sessions) as session:
            lock_generations(session)
            row, live = _at(session, build), live_generation(session)
            if row is None:
                return True
            target = get_build(session, build.id)
            measured = measure_build(session, target, live) if live is not None else None
            generation = Generation(
                index_build_id=build.id,
                calibration=measured.calibration if measured else {"products": 0} | Calibration.identity().to_json(),
                feedback=measured.feedback if measured else {},
                summarizer_id=summarizer_for(session, target.encoder_id),
                gate_report={"verification": row.report},
                code_version=code_version(),
                state="ready",
            )
            session.add(generation)
            row.state, row.ready_at, row.error = "ready", datetime.now(UTC), None
            row.step = "promote" if row.promote else "done"
            session.flush()
            record(session, actor=row.actor, action="build.ready", subject=f"b{build.id}")
        log.info("build_ready", build=build.id, generation=generation.id)
        return True

    def _promote(self, build: IndexBuild, stop: Stop) -> bool:
        """Catch up, and flip while nobody writes the index; a write that comes in between is caught up with again."""
        until = _Spell(lambda: not self._caught_up(build))
        self._fill(build, lambda: stop() or until.over())
        tries = self._catch_ups[build.id] = self._catch_ups.get(build.id, 0) + 1
        with session_scope(self.sessions) as session:
            lock_generations(session)  # before the other lock, as everywhere
            lock_index(session)
            row, live = _at(session, build), live_build(session)
            if row is None:
                return True
            behind = count_behind(session, build.id, live.id) if live is not None else 0
            if behind and (tries < PATIENT_CATCH_UPS or behind > _few(session)):
                return not stop()
            chosen = session.scalars(
                select(Generation.id)
                .where(Generation.index_build_id == build.id, Generation.state == "ready")
                .order_by(Generation.id.desc())
            ).first()
            if chosen is not None:
                go_live(session, chosen, actor=row.actor or "encoder switch")
            row.step, row.promote = "done", False
        log.info("build_promoted", build=build.id, generation=chosen, behind=behind)
        return True

    def _fill(self, build: IndexBuild, stop: Stop) -> IngestReport:
        with session_scope(self.sessions) as session:
            encoder = session.get_one(EncoderRecord, build.encoder_id)
        return self.ingest_of(self.encoders.get(encoder.id, encoder.source)).run_due(stop)

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
                    self._note(rows[build.id], error.detail)

    def _caught_up(self, build: IndexBuild) -> bool:
        """Whether the build holds nearly everything that the live one does, as it is."""
        with session_scope(self.sessions) as session:
            live = live_build(session)
            if live is None:
                return not products_due(session, get_build(session, build.id))
            return count_behind(session, build.id, live.id) <= _few(session)

    def _is_at(self, build: IndexBuild) -> bool:
        with session_scope(self.sessions) as session:
            return _at(session, build) is not None

    def _move(self, build: IndexBuild, step: str) -> None:
        with session_scope(self.sessions) as session:
            row = _at(session, build)
            if row is not None:
                row.step, row.error = step, None

    def _note(self, build: IndexBuild, problem: str) -> None:
        with session_scope(self.sessions) as session:
            row = _at(session, build)
            if row is not None:
                row.error = problem[:2000]

    def _fail(self, build: IndexBuild, problem: str) -> None:
        """Give the build up; what it holds is removed."""
        with session_scope(self.sessions) as session:
            lock_generations(session)
            row = session.get_one(IndexBuild, build.id, populate_existing=True)
            if row.state == "building":
                row.state, row.error, row.promote = "failed", problem[:2000], False
                record(session, actor=row.actor, action="build.failed", subject=f"b{build.id}")
        log.warning("build_failed", build=build.id, problem=problem)


class _Spell:
    """Runs while ``going`` says so, asked every few seconds, for a minute at most."""

    def __init__(self, going: Callable[[], bool]) -> None:
        self._going = going
        self._until = time.monotonic() + SPELL_S
        self._again_at = time.monotonic() + _LOOK_S
        self._over = False

    def over(self) -> bool:
        """Whether it is over; asked by several threads."""
        now = time.monotonic()
        if not self._over and now >= self._again_at:
            self._again_at = now + _LOOK_S
            self._over = now >= self._until or not self._going()
        return self._over


def _at(session: Session, build: IndexBuild) -> IndexBuild | None:
    """The row of ``build``, locked until the transaction ends, if it is still at the step that was read with it."""
    row = session.get(IndexBuild, build.id, populate_existing=True, with_for_update=True)
    return row if row is not None and (row.state, row.step) == (build.state, build.step) else None


def _few(session: Session) -> float:
    count = (
        session.scalar(
            text(
                "SELECT count(*) FROM index_rows r JOIN generations g ON g.state = 'live'"
                " AND r.index_build_id = g.index_build_id"
            )
        )
        or 0
    )
    return NEARLY * count
