"""Turns that ask a summarizer, a small one with the published architecture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.ml.feedback.geometry import unit
from backend.ml.feedback.inputs import Feedback, Items, ItemTokens, Query, Regions, Tokens
from backend.ml.feedback.policy import BUILT_IN, Boxes, Policy
from backend.ml.feedback.update import refine
from backend.ml.summarizer import AttentiveSummarizer, SummarizerConfig, TokenSummarizer

CONFIG = SummarizerConfig(text_width=10, image_width=14, output_width=8, width=16, heads=2, mlp_ratio=2)
AFS = BUILT_IN["afs"]


@pytest.fixture(scope="module")
def summarizer() -> TokenSummarizer:
    torch.manual_seed(1)
    return TokenSummarizer(AttentiveSummarizer(CONFIG), "tiny")


def rows(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def listed(k: int = 5, *, captions: bool = True, steer: np.ndarray | None = None) -> Feedback:
    """k products with tokens; ``steer`` is what boxes say of the first one's patches."""
    images, words = unit(rows(1, k, 8)).astype(np.float32), unit(rows(2, k, 8)).astype(np.float32)
    items = tuple(
        ItemTokens(rows(10 + i, 9, 14), rows(30 + i, 3 + i, 10) if captions else None, steer if i == 0 else None)
        for i in range(k)
    )
    shown = Items(images, words if captions else np.full_like(words, np.nan), np.full(k, np.nan))
    return Feedback(shown, tokens=Tokens(rows(50, 4, 10), items))


START = Query(*(unit(rows(7, 8)).astype(np.float32),) * 2)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_both_sides_move_as_formula_8_says(summarizer: TokenSummarizer, k: int) -> None:
    """Published: n(0.8 q + 0.1 n(s) - 0.1 n((sum v + sum c) / 2)), for lists of any length."""
    feedback = listed(k)
    assert feedback.tokens is not None
    summary = summarizer.summarize(feedback.tokens)
    negative = unit((feedback.shown.images.sum(axis=0) + feedback.shown.captions.sum(axis=0)) / 2)
    outcome = refine(AFS, START, START, feedback, summarizer=summarizer)
    expected = unit(0.8 * START.image + 0.1 * unit(summary.vector) - 0.1 * negative)
    assert outcome.query.image == pytest.approx(expected, abs=1e-6)
    assert outcome.query.caption == pytest.approx(expected, abs=1e-6)
    assert outcome.strategy == "afs"
    assert outcome.relevance.sum() == pytest.approx(1)
    assert outcome.summary is not None


def test_negated_attention_is_a_softmax_over_the_products(summarizer: TokenSummarizer) -> None:
    feedback = listed()
    assert feedback.tokens is not None
    summary = summarizer.summarize(feedback.tokens)
    weights = []
    for attention in (summary.image_attention, summary.caption_attention):
        powers = np.exp(-np.array([one.sum() for one in attention]) / 0.02)
        weights.append(powers / powers.sum())
    negative = unit((weights[0] @ feedback.shown.images + weights[1] @ feedback.shown.captions) / 2)
    policy = replace(AFS, negative_weighting="attention", tau_negative=0.02)
    outcome = refine(policy, START, START, feedback, summarizer=summarizer)
    expected = unit(0.8 * START.image + 0.1 * unit(summary.vector) - 0.1 * negative)
    assert outcome.query.image == pytest.approx(expected, abs=1e-6)


def test_without_captions_neither_side_of_the_update_sees_one(summarizer: TokenSummarizer) -> None:
    told, wordless = listed(), listed(captions=False)
    by_images = refine(BUILT_IN["afs_images"], START, START, told, summarizer=summarizer)
    assert by_images.query.image == pytest.approx(
        refine(AFS, START, START, wordless, summarizer=summarizer).query.image, abs=1e-6
    )
    negative = unit(told.shown.images.sum(axis=0))
    assert by_images.summary is not None
    expected = unit(0.8 * START.image + 0.1 * unit(by_images.summary.vector) - 0.1 * negative)
    assert by_images.query.image == pytest.approx(expected, abs=1e-6)


def test_a_summary_is_asked_only_where_there_is_one_to_be_had(summarizer: TokenSummarizer) -> None:
    without = replace(listed(), tokens=None)
    held = refine(AFS, START, START, without, summarizer=summarizer)
    assert (held.strategy, held.decision) == ("afs", "held")
    assert refine(AFS, START, START, listed()).decision == "held"
    auto = BUILT_IN["auto"]
    assert refine(auto, START, START, listed(), summarizer=summarizer).strategy == "afs"
    assert refine(auto, START, START, without, summarizer=summarizer).strategy == "grf"


def test_boxes_steer_the_attention_where_the_policy_says_so(summarizer: TokenSummarizer) -> None:
    steer = np.zeros(9, dtype=np.float32)
    steer[4] = 1
    policy = replace(BUILT_IN["auto"], boxes=Boxes(mode="afs"), negative_weighting="uniform", drift_budget=-1.0)
    boxed = replace(listed(steer=steer), regions=Regions(rows(60, 1, 8), np.array([1.0])))
    outcome = refine(policy, START, START, boxed, summarizer=summarizer)
    assert outcome.strategy == "boxes"
    assert outcome.summary is not None
    attention = outcome.summary.image_attention[0]
    assert attention[4] / attention.sum() > 0.8, "exp(5) is 148 times what another patch gets"
    negative = unit(boxed.shown.images.sum(axis=0))
    expected = unit(0.5 * START.image + 0.25 * unit(outcome.summary.vector) - 0.25 * negative)
    assert outcome.query.image == pytest.approx(expected, abs=1e-6)


def test_boxes_are_crops_where_nothing_can_be_steered(summarizer: TokenSummarizer) -> None:
    policy = replace(BUILT_IN["auto"], boxes=Boxes(mode="afs"))
    boxed = replace(listed(), regions=Regions(unit(rows(60, 1, 8)).astype(np.float32), np.array([1.0])))
    crops = refine(BUILT_IN["auto"], START, START, boxed)
    assert crops.strategy == "boxes"
    for one in (refine(policy, START, START, boxed), refine(policy, START, START, boxed, summarizer=summarizer)):
        assert one.query.image == pytest.approx(crops.query.image)


def test_what_a_list_says_unasked_stays_within_its_budget_and_does_not_add_up(summarizer: TokenSummarizer) -> None:
    """Guesses upon guesses stay within 0.98 of where the shopper's words led, turn after turn."""
    auto = BUILT_IN["auto"]
    told = refine(auto, START, START, Feedback(listed().shown, words=unit(rows(9, 8)).astype(np.float32)))
    now, base = told.query, told.base
    for _ in range(12):
        outcome = refine(auto, START, now, listed(), base=base, summarizer=summarizer)
        now, base = outcome.query, outcome.base
        assert now.image @ told.query.image >= 0.98 - 1e-6
    assert outcome.decision in ("blended", "held")
    assert base.image == pytest.approx(told.base.image)


def test_a_strategy_over_lists_is_applied_with_what_was_said(summarizer: TokenSummarizer) -> None:
    words = unit(rows(9, 8)).astype(np.float32)
    feedback = replace(listed(), words=words)
    outcome = refine(AFS, START, START, feedback, summarizer=summarizer)
    alone = refine(AFS, START, START, listed(), summarizer=summarizer)
    assert outcome.strategy == "afs+text"
    assert outcome.query.image == pytest.approx(unit(alone.query.image + words), abs=1e-6)
    only = refine(Policy(strategy="text"), START, START, feedback, summarizer=summarizer)
    assert only.strategy == "text"


def test_hard_negatives_weigh_images_and_captions_by_one_similarity(summarizer: TokenSummarizer) -> None:
    """M = sum of (1 - w_i) (v_i + c_i), w the softmax of cos(q, c_i) / 0.05; without captions, of cos(q, v_i)."""
    policy = replace(AFS, negative_weighting="similarity")
    for feedback in (listed(), listed(captions=False)):
        images, captions = feedback.shown.images, feedback.shown.captions
        compared = images if np.isnan(captions).any() else captions
        powers = np.exp(compared @ START.image / 0.05)
        against = 1 - powers / powers.sum()
        negative = unit(against @ (images + np.nan_to_num(captions)))
        outcome = refine(policy, START, START, feedback, summarizer=summarizer)
        assert outcome.summary is not None
        expected = unit(0.8 * START.image + 0.1 * unit(outcome.summary.vector) - 0.1 * negative)
        assert outcome.query.image == pytest.approx(expected, abs=1e-6)
