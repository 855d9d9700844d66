"""What is one shopper's goes, wherever it lies; what is another's stays."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from backend.access.models import AuditEntry
from backend.catalog.models import Feature
from backend.db import Base, session_scope
from backend.events.models import BotUnit, Erasure, Event, RefusedEvent, ServedPage
from backend.experiments.models import ExperimentOverride, StickyArm
from backend.generations.lineage import learned_from
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.privacy.erase import erase, erase_again
from backend.privacy.export import export
from backend.privacy.retention import forget_erased_units, forget_pictures
from backend.privacy.rows import Theirs, find, hashed
from tests.privacy.conftest import NOW, Town

ANN = {"user_id": "ann", "shopper_id": "b1"}
ANNS = {"before", "home", "refined", "signed out", "nameless", "library"}


def theirs(session: Session, town: Town, **given: str) -> Theirs:
    ids: dict[str, Any] = {"user_id": None, "shopper_id": None, "session_id": None} | given
    return find(session, hashed(town.hasher, **ids))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        # bob went on from a list of ann's: what ann said before is in it
        (ANN, ANNS | {"bob goes on"}),
        # that a browser was the account's is known under the key under which both were hashed in one row
        ({"user_id": "ann"}, ANNS - {"before"} | {"bob goes on"}),
        # this browser alone: what ann did elsewhere is not asked for
        ({"shopper_id": "b1"}, {"before", "home", "refined", "signed out", "nameless"}),
        ({"session_id": "s1"}, {"home", "refined", "signed out", "nameless"}),
        # what bob does under his name in a browser where ann was, too, is his
        ({"user_id": "bob"}, {"bob's", "bob goes on"}),
        ({"shopper_id": "nobody"}, set()),
    ],
)
def test_what_belongs_to_whom(town: Town, given: dict[str, str], found: set[str]) -> None:
    with session_scope(town.sessions) as session:
        ids = set(theirs(session, town, **given).query_ids)
    assert {name for name, query_id in town.lists.items() if query_id in ids} == found


def test_an_erased_shopper_is_nowhere_and_everybody_else_is_where_they_were(town: Town) -> None:
    before = town.events()
    with session_scope(town.sessions) as session:
        done = erase(session, theirs(session, town, **ANN), named=["ann", "b1"], actor="a test")
    assert town.kept() == {"bob's", "stranger"}
    assert done.counts["lists"] == done.counts["pages"] == len(town.lists) - 2
    # the nameless ones on these lists and the purchase; not what a stranger did on a link that was passed on
    assert done.counts["events"] == len(town.lists) - 2 + 1
    assert town.events() == before - done.counts["events"]
    with session_scope(town.sessions) as session:
        assert session.scalar(select(func.count()).select_from(ServedPage)) == 2
        assert [one.unit for one in session.scalars(select(StickyArm))] == [town.hasher.hashed("user", "bob")]
        assert session.scalars(select(ExperimentOverride)).all() == []
        assert session.scalars(select(BotUnit)).all() == []
        assert ["annabel" in one.payload for one in session.scalars(select(RefusedEvent))] == [True]
        assert all(rows == [] for rows in export(session, theirs(session, town, **ANN)).values())


def test_an_erasure_is_remembered_without_a_name_and_asked_again_it_finds_nothing(town: Town) -> None:
    with session_scope(town.sessions) as session:
        first = erase(session, theirs(session, town, **ANN), named=["ann", "b1"], actor="a test")
        again = erase(session, theirs(session, town, **ANN), named=["ann", "b1"], actor="a test")
    assert sum(again.counts.values()) == 0
    with session_scope(town.sessions) as session:
        kept = session.get_one(Erasure, first.erasure)
        assert kept.counts == first.counts
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "shopper_erased")).first()
        assert entry is not None
        assert "ann" not in f"{kept.units}{kept.counts}{entry.details}{entry.subject}"


def test_a_backup_that_is_older_is_erased_again(town: Town) -> None:
    with session_scope(town.sessions) as session:
        erase(session, theirs(session, town, **ANN), actor="a test")
    town.searched("from a backup", of={"user": "ann", "shopper": "b1", "session": "s1"})
    town.did(None, hasher=town.old, user="ann")
    with session_scope(town.sessions) as session:
        done = erase_again(session, actor="a test")
        assert [one.counts["lists"] for one in done] == [1]
        assert [one.counts["events"] for one in done] == [1]
        assert erase_again(session, actor="a test") == []
    assert town.kept() == {"bob's", "stranger"}


def test_whom_an_old_erasure_was_about_is_forgotten(town: Town) -> None:
    with session_scope(town.sessions) as session:
        done = erase(session, theirs(session, town, **ANN), actor="a test")
        forget_erased_units(session, days=90)
        assert session.get_one(Erasure, done.erasure).units
        session.get_one(Erasure, done.erasure).at = NOW - timedelta(days=91)
        session.flush()
        forget_erased_units(session, days=90)
        session.expire_all()
        assert session.get_one(Erasure, done.erasure).units == []


def test_a_picture_that_only_they_searched_by_is_forgotten(town: Town) -> None:
    with session_scope(town.sessions) as session:
        for kind, subject in (("query", "aa"), ("query", "bb"), ("image", "aa")):
            session.execute(
                insert(Feature).values(encoder_id="tiny", kind=kind, subject=subject, vector=b"", created_at=NOW)
            )
        done = erase(session, theirs(session, town, **ANN), actor="a test")
        left = session.execute(select(Feature.kind, Feature.subject).order_by(Feature.kind, Feature.subject)).all()
    assert done.counts["pictures"] == 1
    assert [tuple(one) for one in left] == [("image", "aa"), ("query", "bb")]  # bob searched by bb, too


def test_a_picture_is_forgotten_once_it_is_old_and_no_list_names_it(town: Town) -> None:
    old, new = NOW - timedelta(days=91), NOW - timedelta(days=89)
    with session_scope(town.sessions) as session:
        for kind, subject, at in (("query", "aa", old), ("query", "x", old), ("query", "y", new), ("image", "x", old)):
            session.execute(
                insert(Feature).values(encoder_id="tiny", kind=kind, subject=subject, vector=b"", created_at=at)
            )
        assert forget_pictures(session, 90) == 1
        left = session.execute(select(Feature.kind, Feature.subject).order_by(Feature.kind, Feature.subject)).all()
    assert [tuple(one) for one in left] == [("image", "x"), ("query", "aa"), ("query", "y")]


def test_generations_that_learned_from_their_days_are_named(town: Town) -> None:
    day = timedelta(days=1)
    ranges = {
        "all of it": {"from": (NOW - 5 * day).isoformat(), "to": (NOW + day).isoformat()},
        "their first search": {"from": (NOW - 4 * day).isoformat(), "to": (NOW - 2 * day).isoformat()},
        "before them": {"from": (NOW - 30 * day).isoformat(), "to": (NOW - 3 * day).isoformat()},
        "between": {"from": (NOW - 2 * day).isoformat(), "to": (NOW - day).isoformat()},
        "captions": None,
    }
    with session_scope(town.sessions) as session:
        made = {name: generation(session, range_) for name, range_ in ranges.items()}
        done = erase(session, theirs(session, town, **ANN), actor="a test")
        assert set(done.generations) == {made["all of it"], made["their first search"]}
        assert session.get_one(Erasure, done.erasure).generations == sorted(done.generations)
        assert learned_from(session, []) == []


def generation(session: Session, events: dict[str, str] | None) -> int:
    """One that learned from events of a time, or from none."""
    if session.get(EncoderRecord, "tiny") is None:
        session.add(EncoderRecord(id="tiny", name="tiny", weights_hash="0", dim=8))
        session.add(IndexBuild(id=1, encoder_id="tiny", image_collection="i", caption_collection="c", state="ready"))
        session.flush()
    data = {"pairs": 3} if events is None else {"events": events}
    row = Generation(index_build_id=1, calibration={}, data_range=data, code_version="1", state="ready")
    session.add(row)
    session.flush()
    return row.id


def test_an_export_is_everything_and_nothing_that_only_a_server_understands(town: Town) -> None:
    with session_scope(town.sessions) as session:
        found = export(session, theirs(session, town, **ANN))
    assert {one["request"]["text"] for one in found["lists"]} == ANNS | {"bob goes on"}
    assert len(found["pages"]) == len(found["lists"])
    assert [one["type"] for one in found["events"]].count("purchase") == 1
    assert [(one["experiment_id"], one["arm"]) for one in found["sticky_arms"]] == [(3, "g8")]
    assert len(found["overrides"]) == len(found["bot_marks"]) == 1
    rows = [row for rows in found.values() for row in rows]
    hidden = {"user_id", "shopper_id", "session_id", "unit", "p_show", "coins", "candidates", "candidate_scores"}
    assert all(not hidden & row.keys() for row in rows)
    assert {"product_ids", "scores"} <= found["pages"][0].keys()


def test_every_table_that_holds_units_is_looked_into() -> None:
    """A table with a column for units that export and erasure do not know is a failure here."""
    named = {"user_id", "shopper_id", "session_id", "unit"}
    holding = {table.name for table in Base.metadata.tables.values() if named & set(table.columns.keys())}
    assert holding == {"served_lists", "events", "sticky_arms", "experiment_overrides", "bot_units"}


def test_events_of_others_keep_their_rows(town: Town) -> None:
    with session_scope(town.sessions) as session:
        erase(session, theirs(session, town, shopper_id="b1"), actor="a test")
        left = session.scalars(select(Event.shopper_id).where(Event.query_id == town.lists["home"])).all()
    assert left == [town.hasher.hashed("shopper", "b9")]
