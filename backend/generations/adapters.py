"""Trained adapters as generations: query heads on the build that has the matching item heads, made where there is none.

A build is (encoder, item heads). Heads of queries only belong to the build whose items are as the encoder gave them:
where it is there, going live is one flip. Heads of items want a build of their own, filled from the stored features
beside the live one by the steps of ``build.py``; its generation waits as ``trained`` until it is calibrated.
"""

from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.access.audit import record
from backend.errors import Conflict
from backend.generations.bootstrap import code_version
from backend.generations.calibrate import complete
from backend.generations.models import Generation, IndexBuild
from backend.generations.promote import go_live
from backend.generations.repository import (
    WRITABLE_STATES,
    Build,
    live_build,
    live_generation,
    lock_generations,
    new_build,
)
from backend.ml.head_files import load_item_heads, load_query_heads
from backend.ml.heads import ItemHeads

FIRST_STEP_OF_STORED = "create"
"""Step at which a build of an encoder that is open already begins."""


class HeadsDoNotFit(Conflict):
    """Heads belong to the encoder that they were trained on, and another one is live."""

    title = "Heads do not fit"


def keep_adapter(
    session: Session,
    *,
    query_heads: bytes,
    item_heads: bytes | None,
    gate_report: dict[str, Any],
    data_range: dict[str, Any],
    promote: bool,
    actor: str,
    gate: Literal["adapter", "night"] = "adapter",
) -> int:
    """Make a generation of a trained adapter; its number. What becomes of it is its state, once this is committed.

    ``rejected`` where the gate refused it: it never serves, and has no heads. ``ready`` or ``live`` where there is a
    build with these item heads; ``trained`` where that is to be made first: the caller nudges ``ADVANCE_BUILDS``.

    Args:
        session: the transaction whose commit keeps it.
        query_heads: heads of queries, as ``dump_query_heads`` writes them.
        item_heads: heads of items, as ``dump_item_heads`` writes them; None where items stay as the encoder gave them.
        gate_report: what the gate measured: ``passed``, and the ``reasons`` where it did not. One that names the
            ``route`` of a ``screen`` is kept with its heads all the same: shoppers decide about it.
        data_range: what it was trained on.
        promote: whether it goes live as soon as it is ready.
        actor: who asks, for the audit.
        gate: which gate it was: of one adapter, or of a night.

    Raises:
        HeadsDoNotFit: the heads are of another encoder than the live one, or damaged.
        Conflict: nothing is live.
        ValueError: the gate report does not say whether the adapter passed.
    """
    if not isinstance(gate_report.get("passed"), bool):
        raise ValueError(f"gate report with {sorted(gate_report)} found; expected one that says whether it `passed`")
    lock_generations(session)
    live, build = live_generation(session), live_build(session)
    if live is None or build is None:
        raise Conflict("Nothing is live yet that an adapter could be for.", expected="a catalogue: `morelike import`")
    _check(build, query_heads, item_heads)
    generation = Generation(
        index_build_id=live.index_build_id,
        calibration={},
        summarizer_id=live.summarizer_id,
        data_range=data_range,
        gate_report={gate: gate_report},
        code_version=code_version(),
        state="rejected",
    )
    if gate_report["passed"] or gate_report.get("route") == "screen":
        generation.query_heads = query_heads
        holder = _holder(session, build, item_heads) or _start(session, build, item_heads, actor)
        holder.promote |= promote and holder.state == "building"
        generation.index_build_id, generation.state = holder.id, "trained"
        if holder.state == "ready":
            complete(session, generation, live)
    session.add(generation)
    session.flush()
    record(
        session,
        actor=actor,
        action="adapter.trained",
        subject=f"g{generation.id}",
        details={"state": generation.state, "build": generation.index_build_id},
    )
    if promote and generation.state == "ready":
        go_live(session, generation.id, actor=actor)
    return generation.id


def _check(live: Build, query_heads: bytes, item_heads: bytes | None) -> None:
    """Let only heads in that belong to the live build's encoder."""
    try:
        queries = load_query_heads(query_heads, live.encoder_id)
        items = ItemHeads() if item_heads is None else load_item_heads(item_heads, live.encoder_id)
        widths = {head.dim for head in (queries.text, queries.image, items.image, items.caption) if head is not None}
        if widths - {live.dim}:
            raise ValueError(f"found heads for vectors of {sorted(widths)} numbers; expected {live.dim}")
    except ValueError as error:
        raise HeadsDoNotFit(
            "The adapter is not for the encoder that is live, or it is damaged.",
            found=str(error),
            expected=live.encoder_id,
        ) from error


def _holder(session: Session, live: Build, item_heads: bytes | None) -> IndexBuild | None:
    """The build with these item heads: the live one before others, complete ones before one that is being made."""
    heads = IndexBuild.item_heads.is_(None) if item_heads is None else IndexBuild.item_heads == item_heads
    found = select(IndexBuild).where(IndexBuild.encoder_id == live.encoder_id, heads)
    found = found.where(IndexBuild.state.in_(WRITABLE_STATES))
    order = ((IndexBuild.id == live.id).desc(), (IndexBuild.state == "ready").desc(), IndexBuild.id.desc())
    return session.scalars(found.order_by(*order).limit(1)).first()


def _start(session: Session, live: Build, item_heads: bytes | None, actor: str) -> IndexBuild:
    build = new_build(session, state="building", step=FIRST_STEP_OF_STORED)
    build.encoder_id, build.item_heads, build.actor = live.encoder_id, item_heads, actor[:120]
    record(session, actor=actor, action="build.started", subject=f"b{build.id}", details={"encoder": live.encoder_id})
    session.flush()
    return build
