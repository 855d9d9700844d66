"""A trained adapter becomes a generation: at once where its build is there, behind one that is made, or never."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.errors import Conflict
from backend.generations.adapters import keep_adapter
from backend.generations.models import Generation, IndexBuild
from backend.generations.promote import go_live, roll_back
from backend.generations.repository import live_generation

PASSED = {"passed": True, "reasons": []}
REFUSED = {"passed": False, "reasons": ["Recall@10 gains -0.012 (-0.031 to +0.004); expected an interval above 0."]}


def keep(
    session: Session, *, items: bytes | None = None, gate: dict[str, object] = PASSED, promote: bool = False
) -> Generation:
    number = keep_adapter(
        session,
        query_heads=b"queries",
        item_heads=items,
        gate_report=gate,
        data_range={"pairs": 300},
        promote=promote,
        actor="test",
    )
    return session.get_one(Generation, number)


@pytest.fixture
def session(sessions: sessionmaker[Session], build: object) -> Iterator[Session]:
    assert build
    with session_scope(sessions) as session:
        yield session


def test_heads_of_queries_only_share_the_live_build_and_go_live_in_one_flip(session: Session) -> None:
    before = live_generation(session)
    kept = keep(session, promote=True)
    assert (kept.state, kept.index_build_id, kept.query_heads) == ("live", before.index_build_id, b"queries")
    assert (kept.data_range, kept.gate_report) == ({"pairs": 300}, {"adapter": PASSED})
    assert session.scalar(select(func.count()).select_from(IndexBuild)) == 1
    assert roll_back(session, actor="test") == before.id


def test_adapter_that_the_gate_refused_never_serves_and_says_why(session: Session) -> None:
    kept = keep(session, items=b"items", gate=REFUSED, promote=True)
    assert (kept.state, kept.query_heads) == ("rejected", None)
    assert session.scalar(select(func.count()).select_from(IndexBuild)) == 1, "no build is made for it"
    with pytest.raises(Conflict, match=r"cannot go live. Recall@10 gains -0.012") as refused:
        go_live(session, kept.id, actor="test")
    assert refused.value.extensions["reasons"] == REFUSED["reasons"]


def test_heads_of_items_want_a_build_of_their_own_for_which_the_generation_waits(session: Session) -> None:
    kept = keep(session, items=b"items", promote=True)
    made = session.get_one(IndexBuild, kept.index_build_id)
    assert (kept.state, made.state, made.step, made.promote) == ("trained", "building", "create", True)
    assert (made.item_heads, made.encoder_id) == (b"items", live_encoder_of(session))
    with pytest.raises(Conflict, match=f"waits for index build {made.id}, which is at `create`"):
        go_live(session, kept.id, actor="test")
    assert keep(session, items=b"items").index_build_id == made.id, "the same heads want the same build"


def live_encoder_of(session: Session) -> str | None:
    return session.scalar(
        select(IndexBuild.encoder_id)
        .join(Generation, Generation.index_build_id == IndexBuild.id)
        .where(Generation.state == "live")
    )
