"""A night is begun once, done step by step, and changes what serves once or not at all."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.errors import Conflict
from backend.events.models import Erasure
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.generations.promote import go_live
from backend.generations.repository import new_build
from backend.learning.models import NightlyRun
from backend.learning.nightly.begin import (
    NightAsked,
    NightRunning,
    begin_night,
    cancel_night,
    due_night,
    is_work_due,
)
from backend.learning.nightly.lock import alone
from backend.learning.nightly.night import LOG, Interrupted, Night, Works, deeds_left
from backend.learning.nightly.runs import MOST_ATTEMPTS, STEPS, steps_of
from backend.learning.nightly.work import Made, Step, take_up
from backend.ml.encoder import Encoder
from backend.settings import Settings
from tests.fixtures.heads import query_heads
from tests.learning.nightly.planted import NONE, PASSED, REFUSED, SENTENCE, Place, generations, planted

TONIGHT = datetime(2026, 11, 22, 2, 0, 5, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("encoder")


@pytest.fixture
def place(database_url: str, redis_url: str, tmp_path: Path) -> Place:
    return Place(database_url, redis_url, tmp_path)


def begin(sessions: sessionmaker[Session], **asked: Any) -> int:
    with session_scope(sessions) as session:
        return begin_night(session, Settings(), NightAsked("test", **asked)).id


def night(place: Place, verdict: dict[str, Any], **asked: Any) -> NightlyRun:
    works = place.works()
    begin(works.sessions, **asked)
    run = take_up(works, planted(verdict))
    assert run is not None
    return run


def meddled_with(works: Works, meddle: Callable[[Night], Made]) -> NightlyRun:
    """The night that has begun, which would pass, with ``meddle`` done while it trains."""
    steps = list(planted(PASSED))
    steps[2] = Step("training", meddle)
    run = take_up(works, steps)
    assert run is not None
    return run


def folder(place: Place) -> Path:
    """What shoppers did, of the first night."""
    return place.home / "nights" / "1" / LOG


def states(sessions: sessionmaker[Session], number: int) -> list[str]:
    with session_scope(sessions) as session:
        return [step.state for step in steps_of(session, number)]


def test_what_passed_is_live_after_the_night_and_says_what_it_learned_from(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    run = night(place, PASSED)
    assert (run.state, run.outcome, run.reason) == ("done", "promoted", SENTENCE)
    assert states(sessions, run.id) == ["done"] * len(STEPS)
    assert generations(sessions) == ["retired", "live"]
    with session_scope(sessions) as session:
        made = session.get_one(Generation, run.generation_id)
        assert made.gate_report == {"night": PASSED}
        assert made.data_range["events"] == {
            "from": run.window_from.astimezone(UTC).isoformat(),
            "to": run.window_to.astimezone(UTC).isoformat(),
        }
        assert made.replaced == run.production_id
    assert set(run.report["seconds"]) >= {"sessions", "build", "flip"}
    assert take_up(place.works(), planted(PASSED)) is None, "nothing is left to do"


@pytest.mark.parametrize(
    ("verdict", "asked", "outcome", "left"),
    [
        (REFUSED, {}, "unchanged", ["live", "rejected"]),
        (NONE, {}, "unchanged", ["live"]),
        (PASSED, {"dry_run": True}, "unchanged", ["live"]),
    ],
)
def test_otherwise_nothing_that_serves_changes_and_the_night_says_why(
    place: Place,
    sessions: sessionmaker[Session],
    verdict: dict[str, Any],
    asked: dict[str, Any],
    outcome: str,
    left: list[str],
) -> None:
    run = night(place, verdict, **asked)
    assert (run.state, run.outcome) == ("done", outcome)
    assert verdict["sentence"] in run.reason
    assert generations(sessions) == left
    assert "skipped" in states(sessions, run.id)


def test_what_went_live_meanwhile_is_not_undone(
    place: Place, sessions: sessionmaker[Session], tiny_encoder: Encoder
) -> None:
    works = place.works()
    begin(sessions)

    def meddle(night: Night) -> Made:
        with session_scope(night.works.sessions) as session:
            heads = query_heads(tiny_encoder.id, tiny_encoder.dim, seed=9)
            build = session.query(IndexBuild.id).scalar()
            other = Generation(index_build_id=build, query_heads=heads, calibration={}, code_version="1", state="ready")
            session.add(other)
            session.flush()
            go_live(session, other.id, actor="somebody")
        return Made()

    run = meddled_with(works, meddle)
    assert run.outcome == "ready"
    assert "g2 is live" in run.reason
    assert generations(sessions) == ["retired", "live", "ready"]


def test_one_night_at_a_time_and_one_for_each_of_the_schedule(sessions: sessionmaker[Session]) -> None:
    begin(sessions, night=date(2026, 11, 22))
    with pytest.raises(NightRunning, match="One night is worked on at a time"):
        begin(sessions)
    with session_scope(sessions) as session:
        cancel_night(session, 1, actor="test")
    with pytest.raises(NightRunning, match="has been already"):
        begin(sessions, night=date(2026, 11, 22))
    with session_scope(sessions) as session, pytest.raises(Conflict, match="has ended"):
        cancel_night(session, 1, actor="test")
    assert begin(sessions) == 2


def test_a_night_is_due_at_its_time_and_made_up_for_but_the_first_waits_for_its_hour(
    sessions: sessionmaker[Session],
) -> None:
    noon = TONIGHT + timedelta(hours=10)
    with session_scope(sessions) as session:
        assert due_night(session, "02:00", noon) is None, "the stack was started at noon"
        assert due_night(session, "off", TONIGHT) is None
        assert due_night(session, "02:00", TONIGHT) == date(2026, 11, 22)
        assert due_night(session, "02:00", TONIGHT - timedelta(hours=1)) is None, "yesterday's, 23 hours late"
    begin(sessions, night=date(2026, 11, 20))
    with session_scope(sessions) as session:
        cancel_night(session, 1, actor="test")
        assert due_night(session, "02:00", noon) == date(2026, 11, 22), "missed, and made up for"
        assert due_night(session, "02:00", TONIGHT - timedelta(hours=1)) == date(2026, 11, 21)


def test_a_night_that_somebody_works_on_is_left_to_them(place: Place, sessions: sessionmaker[Session]) -> None:
    begin(sessions)
    with session_scope(sessions) as session:
        assert is_work_due(session, "off", TONIGHT)
    with alone(sessions) as turn:
        assert turn is not None
        turn.check()
        with session_scope(sessions) as session:
            assert not is_work_due(session, "off", TONIGHT)
        assert take_up(place.works(), planted(PASSED)) is None
    assert take_up(place.works(), planted(PASSED)) is not None


def test_artifacts_that_are_gone_send_the_night_back(place: Place, sessions: sessionmaker[Session]) -> None:
    begin(sessions)
    stopped = place.works(stop=lambda: True)
    steps = list(planted(PASSED))

    def told(night: Night) -> Made:
        night.told("Arms", 0, 1)
        return Made()

    take_up(stopped, [*steps[:2], Step("training", told), *steps[3:]])
    assert states(sessions, 1) == ["done", "done", *["pending"] * 5], "interrupted, and nothing counted"
    with session_scope(sessions) as session:
        assert [step.attempts for step in steps_of(session, 1)] == [1, 1, 0, 0, 0, 0, 0]
    (place.home / "nights" / "1" / "sessions.done").unlink()
    run = take_up(place.works(), steps)
    assert run is not None
    assert run.outcome == "promoted"
    with session_scope(sessions) as session:
        assert [step.attempts for step in steps_of(session, 1)] == [2, 2, 1, 1, 1, 1, 1]


def test_a_step_that_never_ends_well_ends_the_night(place: Place, sessions: sessionmaker[Session]) -> None:
    begin(sessions)
    steps = list(planted(PASSED))

    def broken(night: Night) -> Made:
        night.write(f"{LOG}/clicked.npy", b"x")
        raise RuntimeError("no more memory")

    steps[1] = Step("propensities", broken)
    for number in range(1, MOST_ATTEMPTS + 1):
        with pytest.raises(RuntimeError):
            take_up(place.works(), steps)
        if number == 1:
            assert any(folder(place).iterdir()), "what a resumed night needs is kept"
    with session_scope(sessions) as session:
        run = session.get_one(NightlyRun, 1)
        assert run.state == "failed"
        assert run.error == "propensities: RuntimeError: no more memory"
    assert generations(sessions) == ["live"]
    assert not folder(place).exists(), "what shoppers did does not outlive the night"
    assert begin(sessions) == 2, "the next night is not held up"


def test_what_failed_rests_longer_each_time_before_a_sweep_begins_it_again(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    begin(sessions)
    steps = list(planted(PASSED))

    def broken(_night: Night) -> Made:
        raise RuntimeError("no more space")

    steps[1] = Step("propensities", broken)
    for minutes in (1, 2, 4):
        with pytest.raises(RuntimeError):
            take_up(place.works(), steps)
        now = datetime.now(UTC)
        with session_scope(sessions) as session:
            assert not is_work_due(session, "off", now + timedelta(minutes=minutes, seconds=-30))
            assert is_work_due(session, "off", now + timedelta(minutes=minutes))


def test_a_night_that_is_cancelled_changes_nothing(place: Place, sessions: sessionmaker[Session]) -> None:
    begin(sessions)

    def cancelled(night: Night) -> Made:
        with session_scope(night.works.sessions) as session:
            cancel_night(session, night.number, actor="somebody")
        return Made()

    run = meddled_with(place.works(), cancelled)
    assert run.state == "cancelled"
    assert generations(sessions) == ["live"]


def test_what_is_left_of_a_cancelled_night_is_left_out_and_nothing_half_made_stays(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    begin(sessions)
    steps = list(planted(PASSED))

    def cancelled(night: Night) -> Made:
        night.write(f"{LOG}.partial/aside/0", b"what somebody clicked")
        with session_scope(night.works.sessions) as session:
            cancel_night(session, night.number, actor="somebody")
        night.told("Lists", 1, 1)
        return Made()

    steps[0] = Step("sessions", cancelled)
    run = take_up(place.works(), steps)
    assert run is not None
    assert (run.state, states(sessions, 1)) == ("cancelled", ["skipped"] * len(STEPS))
    assert not list(place.home.rglob("aside")), "what shoppers did does not outlive the night, nor a part of it"


def test_a_night_cancelled_while_nobody_works_on_it_leaves_nothing_that_shoppers_did(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    number, works = begin(sessions), place.works()

    def killed(night: Night) -> Made:
        night.write(f"{LOG}/clicked.npy", b"x")
        raise Interrupted("the worker shuts down")

    take_up(works, [Step("sessions", killed), *planted(PASSED)[1:]])
    assert deeds_left(place.home)
    with session_scope(sessions) as session:
        cancel_night(session, number, actor="somebody")
    assert take_up(works, planted(PASSED)) is None
    assert not deeds_left(place.home)


def test_what_was_erased_is_not_carried_on(
    place: Place, sessions: sessionmaker[Session], encoder: EncoderRecord
) -> None:
    assert encoder.id
    run = night(place, PASSED)
    with session_scope(sessions) as session:
        session.add(Erasure(units=[], generations=[run.generation_id]))
    begin(sessions)
    with session_scope(sessions) as session:
        assert session.get_one(NightlyRun, 2).options["identity"]
        session.add(Erasure(units=[], generations=[]))  # while the night learns
    again = take_up(place.works(), planted(PASSED))
    assert again is not None
    with session_scope(sessions) as session:
        assert session.query(Erasure.generations).order_by(Erasure.id.desc()).first()[0] == [again.generation_id]


def test_what_only_lacked_coverage_goes_on_trial_and_what_passed_is_guarded(
    place: Place, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = night(place, REFUSED | {"route": "screen"})
    assert (run.outcome, run.report["screen"]["state"]) == ("screening", "running")
    assert generations(sessions) == ["live", "ready"]
    monkeypatch.setenv("MORELIKE_GUARD_SHARE", "0.1")
    run = night(place, PASSED)
    assert (run.outcome, run.report["guard"]["state"]) == ("promoted", "running")
    with session_scope(sessions) as session:
        kept = session.get_one(NightlyRun, run.id).report
    assert (kept["guard"]["state"], kept["night"], "seconds" in kept) == ("running", PASSED, True)


def test_what_was_erased_is_not_carried_on_by_a_new_calibration_either(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    run = night(place, PASSED)
    with session_scope(sessions) as session:
        session.add(Erasure(units=[], generations=[run.generation_id]))
        learned = session.get_one(Generation, run.generation_id)
        anew = Generation(index_build_id=learned.index_build_id, query_heads=learned.query_heads, calibration={},
                          code_version="1", state="ready")  # fmt: skip
        session.add(anew)
        session.flush()
        go_live(session, anew.id, actor="sweep", undoable=False)
    begin(sessions)
    with session_scope(sessions) as session:
        assert session.get_one(NightlyRun, 2).options["identity"]


def test_heads_are_kept_with_the_items_that_they_were_judged_on(
    place: Place, sessions: sessionmaker[Session], tiny_encoder: Encoder
) -> None:
    works = place.works()
    begin(sessions)

    def meddle(night: Night) -> Made:
        with session_scope(night.works.sessions) as session:
            build = new_build(session, state="ready", step="done")
            build.encoder_id, build.item_heads = tiny_encoder.id, b"other items"
            session.flush()
            other = Generation(index_build_id=build.id, calibration={}, code_version="1", state="ready")
            session.add(other)
            session.flush()
            go_live(session, other.id, actor="somebody")
        return Made()

    run = meddled_with(works, meddle)
    with session_scope(sessions) as session:
        kept = session.get_one(Generation, run.generation_id)
        judged_on = session.get_one(Generation, run.production_id)
        assert kept.index_build_id == judged_on.index_build_id
    assert generations(sessions) == ["retired", "live", "ready"]


def test_what_somebody_rolled_back_or_gave_up_meanwhile_does_not_go_live(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    works = place.works()
    begin(sessions)
    steps = list(planted(PASSED))
    build = next(at for at, step in enumerate(steps) if step.name == "build")

    def given_up(night: Night) -> Made:
        made = steps_before[build].do(night)
        with session_scope(night.works.sessions) as session:
            session.query(Generation).filter_by(state="ready").update({"state": "retired"})
        return made

    steps_before = list(steps)
    steps[build] = Step("build", given_up)
    run = take_up(works, steps)
    assert run is not None
    assert (run.state, run.outcome) == ("done", "unchanged")
    assert "somebody has decided" in run.reason
    assert generations(sessions) == ["live", "retired"]
