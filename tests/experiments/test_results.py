"""What an experiment came to, from rows as the API writes them: planted arms, in real PostgreSQL."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from backend.db import session_scope
from backend.events.models import BotUnit
from backend.experiments.lifecycle import create_experiment, find_experiment, start_experiment, stop_experiment
from backend.experiments.models import Experiment
from backend.experiments.result_schemas import ExperimentResults, MetricChange, MetricRead
from backend.experiments.results import NeverRan, results_of
from backend.experiments.schemas import ExperimentIn
from tests.experiments.arms import NOW, Behaviour, Log, Sessions, assigned, divided, drafted, make_generations, stock


def running(sessions: Sessions, *, days: float = 1.0, **changes: Any) -> str:
    """Id of an experiment that was started ``days`` ago."""
    asked = {"name": "first", "arms": [{"name": "control"}, {"name": "new", "refine_policy": "none"}]} | changes
    with session_scope(sessions) as session:
        made = create_experiment(session, ExperimentIn.model_validate(asked), actor="test")
        start_experiment(session, made.id, actor="test")
        session.execute(
            update(Experiment).where(Experiment.id == made.id).values(started_at=NOW - timedelta(days=days))
        )
        return f"e{made.id}"


def found(sessions: Sessions, name: str, **options: Any) -> ExperimentResults:
    with session_scope(sessions) as session:
        return results_of(session, find_experiment(session, int(name[1:])), **options)


def metric(results: ExperimentResults, name: str) -> tuple[MetricRead, MetricChange]:
    one = next(each for each in results.metrics if each.name == name)
    return one, one.changes[0]


def test_sums_of_units_are_what_was_done(sessions: Sessions) -> None:
    """By hand: control has 3 queries and 1 satisfied click; new has 2 queries, 1 of them with a cart."""
    name, log = running(sessions), Log()
    first = log.listed("1:a", **assigned(name, "control"))
    log.satisfied(first)
    log.did(first, "dwell", "p2", dwell_ms=60_000)  # looked at without a click on this list
    log.did(log.listed("1:a", **assigned(name, "control")), "click")  # for who knows how long
    log.listed("1:b", total=0, **assigned(name, "control"))
    refined = log.listed("1:c", turn=1, **assigned(name, "new"))
    log.did(log.listed("1:c", turn=2, root_id=refined, **assigned(name, "new")), "add_to_cart")
    log.did(log.listed("1:c", **assigned(name, "new")), "reformulation", None)
    log.listed("1:c", request={"text": None, "image_hash": None, "product_id": None}, **assigned(name, "new"))
    log.write(sessions)
    results = found(sessions, name)
    assert [(arm.units, arm.queries) for arm in results.arms] == [(2, 3), (1, 2)]
    values = {one.name: [arm.value for arm in one.arms] for one in results.metrics}
    assert values["satisfied_clicks_per_query"] == pytest.approx([1 / 3, 1 / 2])
    assert values["labels_per_query"] == pytest.approx([1.3 / 3, 2 / 2])
    assert values["clicks_per_query"] == pytest.approx([2 / 3, 0])
    assert values["abandonment"] == pytest.approx([1 / 3, 1])
    assert values["zero_results"] == pytest.approx([1 / 3, 0])
    assert values["reformulation"] == pytest.approx([0, 1 / 2])
    assert values["add_to_cart_per_shopper"] == pytest.approx([0, 1])
    assert values["latency_p95"] == [20.0, 20.0]


def test_a_view_is_of_what_was_new_then_and_in_view_and_counts_once_a_query(sessions: Sessions) -> None:
    """By hand: 4 views in control's 3 queries, none in new's one. ``aged`` was new ten days ago and is not now."""
    stock(sessions, fresh=3, other=13.9, aged=20, old=60, older=70, oldest=80, gone=90, last=99)
    name, log = running(sessions, days=12), Log()
    first = log.listed("1:a", **assigned(name, "control"))
    for _ in range(2):
        log.did(first, "exposure", "fresh", visible_share=0.6, visible_ms=300)
    log.did(first, "click", "fresh")
    log.did(first, "click", "other")  # what was opened was seen
    for product in ("aged", "old", "unknown"):
        log.did(first, "exposure", product, visible_share=1.0, visible_ms=9000)
    second = log.listed("1:a", **assigned(name, "control"))
    log.did(second, "exposure", "fresh", visible_share=0.4, visible_ms=9000)
    refined = log.listed("1:a", turn=2, root_id=second, **assigned(name, "control"))
    log.did(refined, "exposure", "other", visible_share=0.5)  # for how long is not said
    then = NOW - timedelta(days=10)
    log.did(log.listed("1:b", served_at=then, **assigned(name, "control")), "exposure", "aged", visible_share=0.9,
            visible_ms=500, at=then)  # fmt: skip
    third = log.listed("1:c", **assigned(name, "new"))
    log.did(third, "exposure", "fresh", visible_share=0.9, visible_ms=499)
    log.did(third, "exposure", "fresh", visible_share=0.9, visible_ms=900, is_bot=True)
    log.write(sessions)
    read, differs = metric(found(sessions, name), "new_product_views")
    assert [arm.value for arm in read.arms] == pytest.approx([4 / 3, 0])
    assert read.role == "guardrail"
    assert differs.harm is not None
    assert (differs.harm.margin, differs.harm.breached) == (0.1, False)  # of so few nothing is known


def test_nothing_is_new_in_a_shop_that_is_new_itself(sessions: Sessions) -> None:
    stock(sessions, fresh=3, other=5, old=60, older=80)
    name, log = running(sessions), Log()
    log.did(log.listed("1:a", **assigned(name, "control")), "click", "fresh")
    log.write(sessions)
    assert metric(found(sessions, name), "new_product_views")[0].arms[0].value == 0


def test_time_to_satisfaction_is_that_of_queries_that_satisfied(sessions: Sessions) -> None:
    """By hand: 40 s, 100 s and half an hour in control; whoever was never satisfied has no time, and is not counted."""
    name, log = running(sessions), Log()

    def after(seconds: float) -> dict[str, Any]:
        return {"at": NOW + timedelta(seconds=seconds)}

    first = log.listed("1:a", **assigned(name, "control"))
    log.did(first, "click", "p1", **after(10))
    log.did(first, "dwell", "p1", dwell_ms=2_000, **after(12))
    log.did(first, "exposure", "p2", visible_share=1.0, **after(1))
    log.satisfied(first, "p2", **after(40))
    log.satisfied(first, "p3", **after(200))  # not the first
    log.did(log.listed("1:b", **assigned(name, "control")), "add_to_cart", **after(100))
    log.did(log.listed("1:b", **assigned(name, "control")), "purchase", **after(7200))
    log.did(log.listed("1:c", **assigned(name, "control")), "click", **after(5))
    log.listed("1:d", **assigned(name, "control"))
    log.listed("1:e", **assigned(name, "new"))
    log.write(sessions)
    read, differs = metric(found(sessions, name), "time_to_satisfaction")
    assert [arm.value for arm in read.arms] == [pytest.approx((40 + 100 + 1800) / 3), None]
    assert (read.role, read.unit, read.better, differs.relative) == ("secondary", "s", "lower", None)


def test_bots_testers_and_who_is_in_two_arms_are_left_out(sessions: Sessions) -> None:
    name, log = running(sessions), Log()
    log.listed("1:a", **assigned(name, "control"))
    log.listed("1:b", **assigned(name, "new"))
    log.listed("1:bot", is_bot=True, **assigned(name, "new"))
    log.listed("1:marked", **assigned(name, "new"))
    log.listed("1:tester", **assigned(name, "new", "override"))
    for arm in ("control", "new"):
        log.listed("1:two", **assigned(name, arm))
    log.write(sessions)
    with session_scope(sessions) as session:
        session.execute(insert(BotUnit).values(unit="1:marked", reason="clicks everything"))
    results = found(sessions, name)
    assert results.left_out == {"bots": 2, "testers": 1, "crossed": 1}
    assert [arm.units for arm in results.arms] == [1, 1]


def test_a_better_arm_wins_at_a_planned_look_and_a_like_one_does_not(sessions: Sessions) -> None:
    name = running(sessions, days=29)
    arms = {"control": Behaviour(0.2), "new": Behaviour(0.4)}
    divided(name, arms, shoppers=600, seed=1, at=NOW - timedelta(days=27)).write(sessions)
    results = found(sessions, name)
    assert (results.verdict.state, results.verdict.arm) == ("better", "new")
    assert results.sample_ratio is not None
    assert results.sample_ratio.passed
    _, differs = metric(results, "satisfied_clicks_per_query")
    assert differs.low is not None
    assert differs.low > 0.5
    assert differs.p_adjusted == differs.p
    assert results.looks is not None
    assert len(results.looks.z) == 4
    assert found(sessions, name).looks == results.looks


def test_interleaved_lists_say_whose_products_are_taken(sessions: Sessions) -> None:
    made = make_generations(sessions)
    arms = [{"name": "a", "generation": f"g{made[1]}"}, {"name": "b", "generation": f"g{made[2]}"}]
    name = running(sessions, method="interleave", arms=arms)
    drafted(name, 0.7, shoppers=400, seed=2).write(sessions)
    results = found(sessions, name, needed=200)
    read = results.interleaving
    assert read is not None
    assert read.wins_b > 2 * read.wins_a
    assert (results.verdict.state, results.verdict.arm) == ("better", "b")
    assert found(sessions, name).verdict.state == "undecided"  # too few shoppers for 2,000


def test_a_draft_has_no_results_and_what_ended_keeps_the_last(sessions: Sessions) -> None:
    with session_scope(sessions) as session:
        asked = ExperimentIn.model_validate({"name": "draft", "arms": [{"name": "a"}, {"name": "b"}]})
        draft = create_experiment(session, asked, actor="test").id
        with pytest.raises(NeverRan):
            results_of(session, find_experiment(session, draft))
    name, log = running(sessions), Log()
    log.listed("1:a", **assigned(name, "control"))
    log.write(sessions)
    with session_scope(sessions) as session:
        stop_experiment(session, int(name[1:]), actor="test")
        ended = update(Experiment).where(Experiment.id == int(name[1:]))
        session.execute(
            ended.values(ended_at=NOW - timedelta(days=-0.01) - timedelta(days=2), started_at=NOW - timedelta(days=3))
        )
    kept = found(sessions, name)
    assert kept.final
    assert found(sessions, name) == kept
