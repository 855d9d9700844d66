"""Index builds as people ask for them: begun, looked at, given up, dropped. ``build.py`` does the work on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.access.audit import record
from backend.errors import Conflict, NotFound, Unprocessable
from backend.generations.calibrate import count_indexed
from backend.generations.due import count_products_due
from backend.generations.models import EncoderRecord, Generation, GenerationPin, IndexBuild
from backend.generations.repository import live_build, live_encoder, lock_generations, new_build
from backend.ml.encoder import EncoderSpec, EncoderUnavailableError

FIRST_STEP = "open"
"""Step of a build whose encoder has not been opened yet."""


class BuildRunning(Conflict):
    """One index build is made at a time."""

    title = "An index build is under way"


class BuildInUse(Conflict):
    """Generations use the index build."""

    title = "Index build in use"


class SourceUnknown(Unprocessable):
    """Nothing can be opened by this source."""

    title = "No such encoder"


@dataclass(frozen=True)
class Use:
    """A generation that keeps a build: for ever, or, retired, until its time for a rollback is over.

    ``pinned`` says what else it is kept for: ``holdout``, or experiments such as ``e3``.
    """

    generation: int
    state: str
    until: datetime | None = None
    pinned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Products that a build holds as they are, of all that it will hold."""

    products: int
    total: int


def start_build(session: Session, source: str, *, promote: bool, actor: str) -> IndexBuild:
    """Ask for a build with the encoder that ``source`` opens; a worker makes it beside the live one.

    Args:
        session: the transaction whose commit asks.
        source: the encoder, as MORELIKE_ENCODER names one; a directory is absolute.
        promote: whether it goes live once it is ready.
        actor: who asks, for the audit.

    Raises:
        BuildRunning: another is being made.
        Conflict: the live build is what would be made: this encoder, without item heads.
    """
    lock_generations(session)
    running = session.scalars(select(IndexBuild.id).where(IndexBuild.state == "building")).first()
    if running is not None:
        raise BuildRunning(
            "One index build is made at a time: wait for it, or give it up with `morelike encoder cancel`.",
            found=running,
        )
    live, searched = live_encoder(session), live_build(session)
    if live is not None and live.source == source and searched is not None and searched.item_heads is None:
        raise Conflict("this encoder is live already", found=source)
    build = new_build(session, state="building", step=FIRST_STEP)
    build.source, build.promote, build.actor = source, promote, actor[:120]
    record(session, actor=actor, action="build.started", subject=f"b{build.id}", details={"source": source})
    session.flush()
    return build


def usable_source(source: str) -> str:
    """``source`` as any process of the stack would write it.

    Raises:
        SourceUnknown: open_clip knows no such model or tag, or a directory is not absolute: each process would look
            elsewhere for it.
    """
    if source == "demo":
        return source
    try:
        if not source.startswith("local-dir:"):
            EncoderSpec(source).name_and_tag()
        elif not source.startswith("local-dir:/"):
            raise SourceUnknown("a directory must be absolute here", found=source, expected="local-dir:/path/of/it")
        return EncoderSpec(source).absolute
    except EncoderUnavailableError as error:
        raise SourceUnknown(error.detail, found=error.found, expected=error.expected) from error
    except (OSError, ValueError, RuntimeError) as error:  # a path that cannot be one
        raise SourceUnknown("this names no encoder", found=source, expected="local-dir:/path/of/it") from error


def uses(session: Session, window: timedelta) -> dict[int, list[Use]]:
    """What keeps each build: live and waiting generations, and retired ones for ``window`` after they stepped down."""
    since = datetime.now(UTC) - window
    found: dict[int, list[Use]] = {}
    pins: dict[int, tuple[str, ...]] = {}
    for pin in session.scalars(select(GenerationPin).order_by(GenerationPin.reason)):
        pins[pin.generation_id] = (*pins.get(pin.generation_id, ()), pin.reason)
    columns = (Generation.id, Generation.state, Generation.retired_at, Generation.index_build_id)
    for generation in session.execute(select(*columns).order_by(Generation.id)):
        pinned = pins.get(generation.id, ())
        if generation.state in ("trained", "ready", "live") or pinned:
            use = Use(generation.id, generation.state, pinned=pinned)
        elif generation.state == "retired" and generation.retired_at is not None and generation.retired_at > since:
            use = Use(generation.id, "retired", generation.retired_at + window)
        else:
            continue
        found.setdefault(generation.index_build_id, []).append(use)
    return found


def progress(session: Session, build: IndexBuild) -> Progress:
    """How far the filling of ``build`` is."""
    held, due = count_indexed(session, build.id), count_products_due(session, build.id)
    total = count_products_due(session, None)
    return Progress(max(0, min(held, total) if due == 0 else total - due), total)


def drop_build(session: Session, build_id: int, *, window: timedelta, actor: str, forget: bool = False) -> IndexBuild:
    """Give up a build that is being made, or drop one that no generation needs. A worker then removes what it holds.

    Args:
        session: the transaction whose commit drops it.
        build_id: which.
        window: how long a retired generation keeps its build.
        actor: who asks, for the audit.
        forget: let go of its retired and waiting generations, too: there is no rollback to them afterwards.

    Raises:
        NotFound: there is no such build.
        BuildInUse: generations use it.
    """
    lock_generations(session)
    build = session.get(IndexBuild, build_id, populate_existing=True)
    if build is None:
        raise NotFound(f"there is no index build {build_id}", found=build_id)
    if build.state not in ("building", "ready"):
        return build
    given_up = build.state == "building"
    forget |= given_up  # whatever waits for it never served
    kept = [use for use in uses(session, window).get(build_id, []) if use.state == "live" or use.pinned or not forget]
    if kept:
        _refuse(build_id, kept)
    build.state, build.promote = "dropped", False
    build.error = f"given up by {actor}" if given_up else None
    # those that waited will never serve; retired ones say by their build that there is no way back
    waiting = update(Generation).where(
        Generation.index_build_id == build_id, Generation.state.in_(("trained", "ready"))
    )
    session.execute(waiting.values(state="rejected"))
    record(session, actor=actor, action="build.given_up" if given_up else "build.dropped", subject=f"b{build_id}")
    session.flush()
    return build


def _refuse(build_id: int, kept: Sequence[Use]) -> None:
    if any(use.state == "live" for use in kept):
        raise BuildInUse(f"index build {build_id} is live", found=[f"g{use.generation}" for use in kept])
    if pinned := sorted({reason for use in kept for reason in use.pinned}):
        raise BuildInUse(
            f"Index build {build_id} is searched beside the live one, for {' and '.join(pinned)}: experiments let go "
            "of it when they are stopped, the holdout when another encoder is live or MORELIKE_HOLDOUT_SHARE is 0.",
            found=[f"g{use.generation}" for use in kept],
        )
    raise BuildInUse(
        f"Index build {build_id} is in use by {', '.join(f'g{use.generation} ({use.state})' for use in kept)}. "
        "To drop it all the same and give those up: `morelike build drop --forget`.",
        found=[f"g{use.generation}" for use in kept],
    )


def list_builds(session: Session, limit: int) -> Sequence[IndexBuild]:
    """Builds, newest first."""
    return session.scalars(select(IndexBuild).order_by(IndexBuild.id.desc()).limit(limit)).all()


def running_build(session: Session) -> IndexBuild | None:
    """The build that is being made, or that is ready and about to go live."""
    pending = (IndexBuild.state == "building") | ((IndexBuild.state == "ready") & IndexBuild.promote)
    return session.scalars(select(IndexBuild).where(pending).order_by(IndexBuild.id).limit(1)).first()


def encoder_named(session: Session, encoder_id: str | None) -> EncoderRecord | None:
    """Record of an encoder."""
    return session.get(EncoderRecord, encoder_id) if encoder_id else None
