"""What is fitted to a catalogue, against planted truths."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.ml.feedback.confidence import Confidence, confidence, expected_gain
from backend.ml.feedback.fit import REFERENCES, fit_feedback, fit_gate
from backend.ml.feedback.fitted import Fitted, Gate
from backend.ml.feedback.geometry import unit
from backend.ml.feedback.inputs import Feedback, Items, Query
from backend.ml.feedback.policy import BUILT_IN, Likes
from backend.ml.feedback.update import refine
from backend.ml.scoring import Calibration, Side

COUNT, DIM = 120, 24


def catalogue(*, told_by_pictures: float, seed: int = 0) -> tuple[Side, Side]:
    """Captions that tell what a product is, and pictures that tell it as much as asked, apart from a modality gap."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(12, DIM))[np.arange(COUNT) % 12]
    meaning = kinds + 0.6 * rng.normal(size=(COUNT, DIM))
    gap = 4 * np.eye(DIM)[0]
    captions = unit(meaning + gap).astype(np.float32)
    noise = rng.normal(size=(COUNT, DIM))
    pictures = unit(told_by_pictures * meaning + (1 - told_by_pictures) * noise - gap).astype(np.float32)
    numbers = np.arange(COUNT, dtype=np.int64)
    return Side(pictures, numbers), Side(captions, numbers)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit_feedback(*catalogue(told_by_pictures=0.8), Calibration.identity())


def test_means_and_references_are_of_the_catalogue(fitted: Fitted) -> None:
    images, captions = catalogue(told_by_pictures=0.8)
    assert fitted.image_mean == pytest.approx(images.vectors.mean(axis=0))
    assert fitted.caption_mean == pytest.approx(captions.vectors.mean(axis=0))
    assert fitted.references is not None
    assert len(fitted.references) == min(COUNT, REFERENCES)


def test_the_same_catalogue_gives_the_same_fit_and_json_keeps_it(fitted: Fitted) -> None:
    again = fit_feedback(*catalogue(told_by_pictures=0.8), Calibration.identity())
    assert json.dumps(again.to_json()) == json.dumps(fitted.to_json())
    back = Fitted.from_json(json.loads(json.dumps(fitted.to_json())))
    assert (back.likes, back.gates) == (fitted.likes, fitted.gates)
    np.testing.assert_array_equal(back.image_mean, fitted.image_mean)  # type: ignore[arg-type]
    assert back.references == pytest.approx(fitted.references, abs=1e-3)


def test_likes_weigh_more_where_words_tell_less_of_the_pictures(fitted: Fitted) -> None:
    """Where pictures and captions have nothing in common, only what is liked tells which pictures are meant."""
    blind = fit_feedback(*catalogue(told_by_pictures=0.0), Calibration.identity())
    assert fitted.likes is not None
    assert blind.likes is not None
    assert blind.likes.c > fitted.likes.c


def test_words_that_a_head_leads_astray_leave_more_to_likes(fitted: Fitted) -> None:
    """The same captions as products; as queries they say what another product is."""
    images, captions = catalogue(told_by_pictures=0.8)
    astray = np.roll(captions.vectors, 5, axis=0)
    led = fit_feedback(images, captions, Calibration.identity(), asked=astray)
    assert fitted.likes is not None
    assert led.likes is not None
    assert led.likes.c > fitted.likes.c
    assert {tuple(row) for row in led.references.tolist()} <= {tuple(row) for row in astray.tolist()}
    back = Fitted.from_json(json.loads(json.dumps(led.to_json())))
    assert back.words_mean == pytest.approx(astray.mean(axis=0))
    assert fitted.words_mean is None


def test_words_are_mixed_without_the_mean_of_words_where_that_is_another() -> None:
    """n(z + n(w - mean)) at w = n(x + y): without x, the mean of captions, or without y, where words have their own."""
    x, y, z = np.eye(3, dtype=np.float32)
    words = unit(x + y).astype(np.float32)
    for mean, left in ((None, unit(words - x)), (y, unit(words - y))):
        outcome = refine(
            replace(BUILT_IN["auto"], remove_modality_mean=True, drift_budget=-1.0),
            Query(z, z),
            Query(z, z),
            Feedback(Items(np.empty((0, 3), np.float32), np.empty((0, 3), np.float32), np.empty(0)), words=words),
            fitted=Fitted(image_mean=z, caption_mean=x, words_mean=mean),
        )
        assert outcome.query.image == pytest.approx(unit(z + left), abs=1e-6)


def test_fitted_weights_are_taken_where_a_policy_has_none() -> None:
    axes = np.eye(3, dtype=np.float32)
    liked = Items(axes[[1]], axes[[1]], np.array([1.0]))
    start = Query(axes[0], axes[0])
    outcome = refine(
        BUILT_IN["auto"], start, start, Feedback(liked, judged=liked), fitted=Fitted(likes=Likes(1.0, 1.0, 0.75))
    )
    assert outcome.query.image == pytest.approx(unit(np.array([4, 3, 0])), abs=1e-6)


def test_too_little_says_nothing_of_likes_and_gates() -> None:
    images, captions = catalogue(told_by_pictures=0.8)
    few = fit_feedback(
        Side(images.vectors[:30], images.products[:30]), Side(captions.vectors, captions.products), Calibration()
    )
    assert (few.likes, few.gates) == (None, None)
    assert few.image_mean is not None
    none = fit_feedback(Side(np.zeros((0, DIM), np.float32), np.zeros(0, np.int64)), captions, Calibration())
    assert none.image_mean is None
    assert none.caption_mean is not None


def test_a_gate_finds_which_lists_promise_a_gain() -> None:
    """Gain is 0.5 * (0.1 - margin): sure lists lose, close ones win."""
    rng = np.random.default_rng(4)
    features = [Confidence(*row) for row in rng.random((400, 3)) * [0.2, 1.0, 0.1]]
    gains = np.array([0.5 * (0.1 - one.margin) for one in features]) + 0.02 * rng.normal(size=400)
    gate = fit_gate(features, gains)
    assert expected_gain(gate, Confidence(0.01, 0.5, 0.05)) > 0
    assert expected_gain(gate, Confidence(0.19, 0.5, 0.05)) < 0


def test_a_gate_stays_shut_where_gains_are_noise() -> None:
    """Over 40 catalogues without any gain: mean gain is 2 standard errors below 0, so few lists pass."""
    rng = np.random.default_rng(9)
    passed = []
    for _ in range(40):
        features = [Confidence(*row) for row in rng.normal(size=(200, 3))]
        gate = fit_gate(features, rng.normal(size=200))
        passed.append(np.mean([expected_gain(gate, one) > 0 for one in features]))
    assert np.mean(passed) < 0.1
    with pytest.raises(ValueError, match="1 features and 2 gains"):
        fit_gate([Confidence(0, 0, 0)], np.zeros(2))


def features_of_a_list() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([[1.0, 0.0], [0.8, 0.6], [np.nan, np.nan]]), np.array([0.75, 0.25, 0.0])


def test_confidence_is_read_off_the_list() -> None:
    """Cosines 1 and 0.8: margin 0.2. Entropy of (3/4, 1/4) is 0.8113 bits of at most 1. cos(q, q') is 0.6."""
    vectors, weights = features_of_a_list()
    found = confidence(np.array([1.0, 0.0]), np.array([0.6, 0.8]), vectors, weights)
    assert (found.margin, found.entropy, found.similarity) == pytest.approx((0.2, 0.811278, 0.6), abs=1e-6)
    one = confidence(np.array([1.0, 0.0]), np.array([0.6, 0.8]), vectors[:1], weights[:1])
    assert (one.margin, one.entropy) == (0, 0)


@pytest.mark.parametrize(("bias", "decision"), [(1.0, "moved"), (-1.0, "held")])
def test_auto_holds_where_no_gain_is_expected(bias: float, decision: str) -> None:
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(5, 8))).astype(np.float32)
    shown, start = Items(rows, rows[::-1], np.full(5, np.nan)), Query(rows[0], rows[0])
    gates = {"grf": Gate(0.0, 0.0, 0.0, bias)}
    outcome = refine(BUILT_IN["auto"], start, start, Feedback(shown), fitted=Fitted(gates=gates))
    assert (outcome.strategy, outcome.decision) == ("grf", decision)
    ungated = refine(BUILT_IN["grf"], start, start, Feedback(shown), fitted=Fitted(gates=gates))
    assert ungated.decision == "moved"


def test_auto_takes_pictures_alone_only_where_a_gate_promises_a_gain() -> None:
    rows = np.eye(4, dtype=np.float32)
    shown, start = Items(rows, np.full_like(rows, np.nan), np.full(4, np.nan)), Query(rows[0], rows[0])
    assert refine(BUILT_IN["auto"], start, start, Feedback(shown)).decision == "held"
    promising = Fitted(gates={"prf": Gate(0.0, 0.0, 0.0, 1.0)})
    assert refine(BUILT_IN["auto"], start, start, Feedback(shown), fitted=promising).decision == "moved"
