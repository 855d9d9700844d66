"""Arms of a night on planted logs: what they learn, what they leave alone, and what nobody can buy."""

import json
from pathlib import Path

import numpy as np
import pytest

from backend.ml.click_training.arm_files import described, load_arm, save_arm
from backend.ml.click_training.plan import ClickPlan
from backend.ml.click_training.train import train_arm
from backend.ml.heads import QueryHeads
from tests.ml.click_training.shop import problem_of, quality, shop


def test_what_was_meant_is_learned_for_queries_that_nothing_was_learned_from() -> None:
    planted = shop(1)
    problem = problem_of(planted, lists=4000, seed=1)
    trained = train_arm(problem, "ips", ClickPlan(seeds=1), seed=1)
    judged = problem.log.asked.parts() == "judged"
    assert trained.gamma > 0
    assert quality(planted, trained.heads, judged) > quality(planted, QueryHeads(), judged) + 0.005
    assert trained.report["learned"]["heaviest_query"] <= 5 / trained.report["learned"]["queries"] + 0.01


def test_the_arm_none_is_what_is_live() -> None:
    problem = problem_of(shop(2, queries=60, products=80), lists=50, seed=2)
    assert train_arm(problem, "none").heads is problem.production


def test_a_theta_for_another_log_is_refused() -> None:
    problem = problem_of(shop(2, queries=60, products=80), lists=50, seed=2)
    with pytest.raises(ValueError, match=r"theta of shape \(3,\): expected \(500,\)"):
        type(problem)(**{**vars(problem), "theta": np.ones(3)})


def test_an_arm_is_the_same_from_its_files_and_not_there_before_it_is_whole(tmp_path: Path) -> None:
    problem = problem_of(shop(2, queries=60, products=80), lists=200, seed=2)
    trained = train_arm(problem, "items", ClickPlan(seeds=1, epochs=1), seed=1)
    assert load_arm(tmp_path, "items", "demo@1") is None
    save_arm(trained, tmp_path, "demo@1")
    again = load_arm(tmp_path, "items", "demo@1")
    assert again is not None
    assert described(again) == json.loads(json.dumps(described(trained)))
    text = problem.log.asked.vectors[:5]
    assert (again.heads.adapt("text", text) == trained.heads.adapt("text", text)).all()
    assert (again.items is None) == (trained.items is None)
