"""The score that is trained is the one score: over several rows of a product, and where a side is missing."""

import numpy as np
import pytest
import torch

from backend.ml.click_training.batches import Night
from backend.ml.click_training.gallery import Gallery
from backend.ml.click_training.network import Network, Scorer
from backend.ml.click_training.plan import ARMS, ClickPlan
from backend.ml.click_training.problem import ItemVectors, Problem
from backend.ml.heads import QueryHeads
from backend.ml.scoring import Calibration, KindCalibration, Scale, Side, score_matrix
from benchmarks.planted_night import problem_of
from tests.fixtures.heads import a_head
from tests.ml.click_training.shop import shop

PLANTED = shop(5, queries=60, products=90)
SCALES = KindCalibration(Scale(0.1, 0.2), Scale(0.3, 0.1))


def _problem() -> Problem:
    """Up to three pictures a product, none of the fifth; captions of every other product."""
    plain, rng = problem_of(PLANTED, lists=300, seed=5), np.random.default_rng(5)
    owners = np.repeat(np.arange(90), np.arange(90) % 3 + 1)
    owners = rng.permutation(owners[owners != 5])
    images = rng.standard_normal((len(owners), 32)).astype(np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    told = np.arange(0, 90, 2)
    items = ItemVectors(Side(images, owners), Side(PLANTED.products[told], told))
    production = QueryHeads(text=a_head(32, seed=1))
    return Problem(plain.log, plain.theta, items, Calibration(text=SCALES), production, plain.captions)


def test_pairs_are_scored_as_the_one_score_has_them() -> None:
    problem = _problem()
    asked = problem.production.adapt("text", PLANTED.queries)
    items = problem.items
    whole = score_matrix(asked, asked, items.images, items.captions, np.arange(90), problem.calibration, "text")
    query, product = np.divmod(np.arange(60 * 90), 90)
    gallery = Gallery(items, np.arange(90))
    found = gallery.scores(asked, query, product, problem.calibration, np.array(["text"] * 60))
    assert found == pytest.approx(whole.ravel(), abs=1e-5)


def test_scores_with_gradients_differ_from_it_by_one_number_a_query() -> None:
    problem = _problem()
    plan = ClickPlan(kept=1.0, dropout=0.0)
    night = Night(problem, ARMS["ips"], plan)
    network = Network(problem, ARMS["ips"], plan, pictures=False).eval()
    scorer = Scorer(problem, network, night.gallery)
    lists = np.arange(len(night.examples))
    query = torch.from_numpy(night.examples.query)
    with torch.no_grad():
        z = network.queries(night.asked[query], night.by_picture[query])
        shown = night.shown(lists)
        listed = scorer.listed(z, query, shown.image, shown.caption).numpy()
        crossed = scorer.crossed(z, query, night.production[query], np.arange(90)).numpy()
    asked = problem.production.adapt("text", PLANTED.queries)
    items = problem.items
    whole = score_matrix(asked, asked, items.images, items.captions, np.arange(90), problem.calibration, "text")
    apart = crossed - whole[night.examples.query]
    assert apart == pytest.approx(np.broadcast_to(apart[:, :1], apart.shape), abs=1e-5)
    product = night.examples.product
    own = np.take_along_axis(crossed, np.maximum(product, 0).astype(np.int64), axis=1)
    assert listed[product >= 0] == pytest.approx(own[product >= 0], abs=1e-5)


def test_a_new_arm_begins_as_what_is_live_to_the_last_bit() -> None:
    problem = problem_of(PLANTED, lists=300, seed=5)
    network = Network(problem, ARMS["ips"], ClickPlan(), pictures=False).eval()
    heads, items = network.frozen()
    assert (heads.adapt("text", PLANTED.queries) == PLANTED.queries).all()
    assert items is None
