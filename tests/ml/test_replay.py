"""Words that mean what they meant stay where they are, while others are learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.ml.adapter_plan import AdapterPlan
from backend.ml.exact_ranks import pair_ranks
from backend.ml.heads import drift
from backend.ml.metrics import hits
from backend.ml.pairs import Pairs, PairsUnfit, split
from backend.ml.training import train_adapter

WIDTH, PLAN = 32, AdapterPlan(which="text", epochs=12, batch=64, rate=1e-2, hidden=32, patience=12, dropout=0.0)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def two_languages(products: int = 500) -> tuple[Pairs, Pairs]:
    """(slang, plain) of the same pictures: plain texts lie near them, slang ones in directions that pictures lack."""
    rng = np.random.default_rng(3)
    half = rng.normal(size=(products, WIDTH // 2))
    images = unit(np.hstack([half, 0.05 * rng.normal(size=half.shape)]))
    plain = unit(images + 0.05 * rng.normal(size=images.shape))
    slang = unit(np.hstack([0.3 * rng.normal(size=half.shape), half + 0.1 * rng.normal(size=half.shape)]))
    numbers = np.arange(products)
    return Pairs(slang, images, numbers, numbers), Pairs(plain, images, numbers, numbers)


def test_replayed_texts_stay_while_others_are_learned() -> None:
    torch.set_num_threads(1)
    slang, plain = two_languages()
    learned, validation, judged = split(slang, (0.6, 0.15, 0.25), seed=1)
    kept, _, asked = split(plain, (0.6, 0.15, 0.25), seed=1)  # one seed: the same products in the same parts
    free = train_adapter(learned, validation, PLAN)
    held = train_adapter(learned, validation, PLAN, replay=kept)
    for run in (free, held):
        assert hits(pair_ranks(judged, text=run.text), 10).mean() > hits(pair_ranks(judged), 10).mean() + 0.3
    moved = [drift(asked.texts[asked.rows], run.text(asked.texts[asked.rows])) for run in (free, held)]
    assert moved[1] < 0.1 * moved[0]
    assert hits(pair_ranks(asked, text=held.text), 10).mean() >= hits(pair_ranks(asked), 10).mean() - 0.01


def test_without_its_weight_replay_changes_nothing_and_unfit_vectors_are_refused() -> None:
    torch.set_num_threads(1)
    slang, plain = two_languages(120)
    learned, validation = split(slang, (0.7, 0.3), seed=1)
    plan = replace(PLAN, epochs=1, replay=0.0)
    one, other = train_adapter(learned, validation, plan), train_adapter(learned, validation, plan, replay=plain)
    assert (one.text.outward == other.text.outward).all()
    texts = plain.texts.copy()
    texts[7] = np.nan
    with pytest.raises(PairsUnfit, match="1 of 120 text vectors"):
        train_adapter(learned, validation, plan, replay=replace(plain, texts=texts))
