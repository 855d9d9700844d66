"""The fourth step of a night: the best arm is judged on what nothing was learned from."""

import numpy as np

from backend.learning.nightly.learned import ARM_LIST, FOLDER
from backend.learning.nightly.learning_from import problem_of, production_of, propensities_of
from backend.learning.nightly.night import Night
from backend.learning.nightly.work import Made
from backend.learning.thresholds import thresholds_of
from backend.ml.click_training.arm_files import load_arm
from backend.ml.click_training.plan import TrainedArm
from backend.ml.click_training.problem import Captions, ItemVectors, Problem
from backend.ml.gates.evidence import Candidate, Evidence
from backend.ml.gates.golden import Golden
from backend.ml.gates.judge import judge_night
from backend.ml.gates.rankers import Ranker
from backend.ml.heads import QueryHeads

MOST_GOLDEN = 2000
"""Captions of each part that are asked, each over the whole catalogue for each arm."""


def gates(night: Night) -> Made:
    """The verdict."""
    problem, folder = problem_of(night), night.folder / FOLDER
    encoder = production_of(night).encoder.id
    arms = [load_arm(folder, name, encoder) for name in night.read_json(ARM_LIST)]
    thresholds = thresholds_of(night.works.settings)
    evidence = Evidence(
        log=problem.log,
        propensities=propensities_of(night),
        golden=_golden(problem.captions),
        production=_ranker(problem, problem.production, problem.items),
        frozen=_ranker(problem, QueryHeads(), problem.frozen_items),
    )
    candidates = [_candidate(problem, arm) for arm in arms if arm is not None]
    verdict = judge_night(evidence, candidates, thresholds, seed=night.row.seed, told=night.told).to_json()
    night.write_json("gates.json", verdict)
    result = {name: verdict[name] for name in ("chosen", "passed", "route")}
    return Made(result, {"night": verdict, "thresholds": thresholds.to_json()})


def _golden(captions: Captions) -> Golden:
    parts = [_some(captions.part(name)) for name in ("judged", "validation")]
    return Golden(
        ("text",) * sum(len(one.products) for one in parts),
        np.concatenate([one.vectors for one in parts]),
        np.concatenate([one.products for one in parts]),
        np.concatenate([one.parts for one in parts]),
    )


def _some(captions: Captions) -> Captions:
    """At most so many, the same of the same catalogue, spread over it."""
    rows = np.unique(np.linspace(0, len(captions.products) - 1, min(len(captions.products), MOST_GOLDEN)).astype(int))
    return Captions(captions.vectors[rows], captions.products[rows], captions.parts[rows])


def _candidate(problem: Problem, arm: TrainedArm) -> Candidate:
    items = problem.items if arm.items is None else problem.frozen_items.through(arm.items)
    return Candidate(arm.name, _ranker(problem, arm.heads, items), arm.gamma)


def _ranker(problem: Problem, heads: QueryHeads, items: ItemVectors) -> Ranker:
    return Ranker(heads, items.images, items.captions, problem.calibration)
