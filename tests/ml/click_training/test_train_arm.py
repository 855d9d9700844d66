"""Arms of a night on planted logs: what they learn, what they leave alone, and how they go on where they were ended."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.ml.click_training.arm_files import described, load_arm, save_arm
from backend.ml.click_training.examples import examples
from backend.ml.click_training.plan import ClickEpoch, ClickPlan
from backend.ml.click_training.problem import Problem
from backend.ml.click_training.train import _at, train_arm
from backend.ml.clicks.click_log import Judgements
from backend.ml.heads import QueryHeads
from benchmarks.planted_night import problem_of, quality
from tests.fixtures.heads import a_head
from tests.ml.click_training.shop import CONTRAST_ALONE, LIST_ALONE, learned, shop

SMALL = ClickPlan(seeds=1, epochs=3)


@pytest.fixture(scope="module")
def small() -> Problem:
    return problem_of(shop(2, queries=150, products=120), lists=500, seed=2)


def test_what_was_meant_is_learned_for_queries_that_nothing_was_learned_from() -> None:
    planted = shop(1)
    problem = problem_of(planted, lists=3000, seed=1)
    judged = problem.log.asked.parts() == "judged"
    before = quality(planted, QueryHeads(), judged)
    for arm in ("ips", "dr"):
        trained = train_arm(problem, arm, replace(SMALL, epochs=4), seed=1)
        assert trained.gamma > 0
        assert quality(planted, trained.heads, judged) > before + 0.005
        kept = next(one for one in trained.report["scales"] if one["gamma"] == trained.gamma)["retention"]
        assert min(kept["recall_at_10"], kept["mrr"]) >= 0.98


def _gains(plan: ClickPlan, seeds: Sequence[int], lists: int, queries: int, products: int) -> np.ndarray:
    """(seeds,) quality with propensities less quality without, on the same log."""
    found = []
    for seed in seeds:
        planted = shop(seed, queries=queries, products=products, shift=0.7)
        problem = problem_of(planted, lists=lists, seed=seed, eta=1.5)
        found.append(learned(planted, problem, "ips", plan, seed) - learned(planted, problem, "naive", plan, seed))
    return np.array(found)


def test_propensities_pay_where_negatives_are_random() -> None:
    assert _gains(replace(CONTRAST_ALONE, epochs=5), (0,), 5000, 600, 400).min() > 0.005


@pytest.mark.slow
def test_propensities_pay_over_many_seeds() -> None:
    """Paired over seeds: the mean is above 0 by more than two standard errors, and within lists it is not below."""
    seeds = range(7)
    contrast = _gains(replace(CONTRAST_ALONE, epochs=10), seeds, 8000, 1500, 800)
    assert (contrast > 0).sum() >= 6
    assert contrast.mean() > 2 * contrast.std(ddof=1) / np.sqrt(len(seeds))
    within = _gains(replace(LIST_ALONE, epochs=10), seeds, 8000, 1500, 800)
    assert within.mean() > -2 * within.std(ddof=1) / np.sqrt(len(seeds))


def test_the_arm_none_is_what_is_live(small: Problem) -> None:
    assert train_arm(small, "none").heads is small.production


def test_a_training_that_diverges_leaves_what_is_live(small: Problem) -> None:
    trained = train_arm(small, "ips", replace(SMALL, rate=1e30), seed=1)
    assert (trained.gamma, trained.report["why"]) == (0.0, "Every training diverged.")
    assert trained.heads is small.production


def test_a_training_that_was_ended_goes_on_and_ends_with_the_same_weights(small: Problem, tmp_path: Path) -> None:
    plan = replace(SMALL, patience=9)

    def ended(seed: int, epoch: ClickEpoch) -> None:
        if epoch.number == 2:
            raise InterruptedError(seed)

    whole = train_arm(small, "naive", plan, seed=1)
    path = tmp_path / "naive"
    with pytest.raises(InterruptedError):
        train_arm(small, "naive", plan, seed=1, checkpoint=path, on_epoch=ended)
    again = train_arm(small, "naive", plan, seed=1, checkpoint=path)
    assert described(again) == described(whole)
    vectors = small.log.asked.vectors
    assert (again.heads.adapt("text", vectors) == whole.heads.adapt("text", vectors)).all()


def test_what_another_plan_or_version_left_behind_is_begun_anew(small: Problem, tmp_path: Path) -> None:
    path, plan = tmp_path / "naive", replace(SMALL, epochs=1, seeds=1)
    train_arm(small, "naive", replace(plan, identity=7.0), seed=1, checkpoint=path)
    assert described(train_arm(small, "naive", plan, seed=1, checkpoint=path)) == described(
        train_arm(small, "naive", plan, seed=1)
    )
    (kept,) = tmp_path.glob("*.pt")
    state = torch.load(kept, weights_only=True)
    torch.save(state | {"history": [{"number": 0}]}, kept)
    again = train_arm(small, "naive", plan, seed=1, checkpoint=path)
    assert described(again) == described(train_arm(small, "naive", plan, seed=1))


def test_likes_are_learned_from_without_a_single_list(small: Problem) -> None:
    """Two products of each query are judged: one liked, one disliked."""
    rows = np.repeat(np.arange(150, dtype=np.int32), 2)
    products = np.stack([np.arange(150) % 120, (np.arange(150) + 60) % 120], axis=1).ravel().astype(np.int32)
    label = np.tile(np.array([1.0, 0.0], np.float32), 150)
    told = Judgements(rows, products, rows, label, np.zeros(300, np.int8))
    nothing_clicked = replace(small.log.rows, label=np.zeros_like(small.log.rows.label))
    log = replace(small.log, judgements=told, rows=nothing_clicked)
    trained = train_arm(replace(small, log=log), "ips", replace(SMALL, epochs=1), seed=1)
    assert trained.report["learned"]["clicks"] == int((log.asked.parts() == "training").sum())


def test_what_was_judged_stands_in_the_order_of_what_is_live(small: Problem) -> None:
    """The last of five by the ranking in use is liked: as the first that was told of, it could not be lifted."""
    first = int(np.flatnonzero(small.log.asked.parts() == "training")[0])
    scores = small.items.images.vectors @ small.log.asked.vectors[first]
    told = np.argsort(scores, kind="stable")[[0, 30, 60, 90, 119]].astype(np.int32)
    same = np.full(5, first, np.int32)
    said = Judgements(same, told, np.arange(5, dtype=np.int32), np.eye(5, dtype=np.float32)[0], np.zeros(5, np.int8))
    found = examples(replace(small, log=replace(small.log, judgements=said)), "training", SMALL, "ips")
    assert found.product[-1, :5].tolist() == told[::-1].tolist()
    assert np.flatnonzero(found.clicked[-1]).tolist() == [4]


@pytest.mark.parametrize("arm", ["ips", "dr"])
def test_steps_without_a_single_click_teach_nothing_and_fail_nothing(small: Problem, arm: str) -> None:
    """Dislikes alone; and lists that estimates are learned from, of which nobody clicked any."""
    rows, count = small.log.rows, len(small.log.asked.keys)
    each = np.arange(count, dtype=np.int32)
    disliked = Judgements(each, each % 50, each, np.zeros(count, np.float32), np.zeros(count, np.int8))
    nothing = replace(rows, label=np.zeros_like(rows.label), clicked=np.zeros_like(rows.clicked))
    log = replace(small.log, judgements=disliked, rows=nothing)
    trained = train_arm(replace(small, log=log), arm, replace(SMALL, epochs=1), seed=1)
    assert trained.gamma == 0
    assert trained.report["learned"]["clicks"] == 0
    assert all(np.isfinite(epoch.loss or 0.0) for epoch in trained.history)


def test_a_head_of_pictures_that_nothing_was_learned_for_stays_and_a_fresh_start_is_without(small: Problem) -> None:
    """Scaled with the words' head, it would fade night by night; kept from the identity, nothing would be forgotten."""
    pictures = a_head(small.log.asked.vectors.shape[1], 3)
    live = replace(small, production=QueryHeads(None, pictures))
    plan = replace(LIST_ALONE, epochs=3, seeds=1)
    vectors, trained = small.log.asked.vectors, train_arm(live, "ips", plan, seed=1)
    fresh = train_arm(live, "challenger", plan, seed=1)
    assert trained.gamma > 0
    assert fresh.gamma > 0
    for heads in (trained.heads, _at(trained.heads, 0.5, pictures=False)):
        assert (heads.adapt("image", vectors) == pictures(vectors)).all()
    assert fresh.heads.image is None


def test_an_arm_is_the_same_from_its_files_and_not_there_before_it_is_whole(small: Problem, tmp_path: Path) -> None:
    trained = train_arm(small, "items", replace(SMALL, least_retention=0.0), seed=1)
    assert trained.items is not None
    assert load_arm(tmp_path, "items", "demo@1") is None
    save_arm(trained, tmp_path, "demo@1")
    again = load_arm(tmp_path, "items", "demo@1")
    assert again is not None
    assert again.items is not None
    assert described(again) == json.loads(json.dumps(described(trained)))
    vectors = small.log.asked.vectors
    assert (again.heads.adapt("text", vectors) == trained.heads.adapt("text", vectors)).all()
    assert (again.items.adapt("image", vectors) == trained.items.adapt("image", vectors)).all()


def test_a_theta_for_another_log_is_refused(small: Problem) -> None:
    with pytest.raises(ValueError, match=r"theta of shape \(3,\): expected \(5000,\)"):
        replace(small, theta=np.ones(3))
