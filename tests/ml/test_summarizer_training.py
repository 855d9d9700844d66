"""Training a summarizer: the losses by hand, a planted task, early stopping, and a run that was ended in between."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.ml.summarizer import AttentiveSummarizer, SummarizerConfig
from backend.ml.summarizer_examples import Examples, draw_queries
from backend.ml.summarizer_training import TEMPERATURE, Epoch, Run, TrainingPlan, token_batch
from backend.ml.token_table import TokenTable

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(seed: int = 1) -> AttentiveSummarizer:
    torch.manual_seed(seed)
    return AttentiveSummarizer(SummarizerConfig(8, 8, 8, width=16, heads=2))


def planted(items: int, seed: int) -> Examples:
    """Two queries for each item, which is among the three shown; its tokens say what it is, as its query does."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(items, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    targets = np.repeat(np.arange(items), 2)
    others = rng.integers(0, items, (2 * items, 2))
    shown = np.concatenate([targets[:, None], others], axis=1)
    patches = TokenTable.of([np.stack([one, -one]) for one in vectors], 8)
    words = TokenTable.of([one[None] for one in vectors], 8)
    return Examples(words, targets, targets, shown, shown, patches, vectors, vectors[targets])


def test_a_planted_task_is_learned_and_the_best_weights_are_kept() -> None:
    training, validation = planted(300, 1), planted(60, 2)
    run = Run(network(), TrainingPlan(epochs=20, batch=50, rate=1e-2, shown=3))
    before = run.validate(validation)[0]
    best = run.train(training, validation)
    assert best == min(epoch.validation_loss for epoch in run.epochs) < 0.6 * before
    assert run.validate(validation)[0] == pytest.approx(best, rel=1e-3)
    assert run.epochs[-1].hits_at_1 > 0.6


def test_a_run_that_was_ended_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    training, validation = planted(40, 1), planted(10, 2)
    plan = TrainingPlan(epochs=4, batch=16, rate=3e-3, shown=3, mask_items=True)
    whole = Run(network(), plan)
    whole.train(training, validation)

    class KilledError(Exception):
        pass

    def kill(step: int, _steps: int) -> None:
        if len(ended.epochs) == 2 and step == 2:  # in the middle of the third epoch
            raise KilledError

    ended = Run(network(), plan)
    with pytest.raises(KilledError):
        ended.train(training, validation, checkpoint=tmp_path / "run.pt", on_step=kill)
    resumed = Run(network(seed=99), plan)
    resumed.train(training, validation, checkpoint=tmp_path / "run.pt")
    assert resumed.epochs == whole.epochs
    assert all(torch.equal(a, b) for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True))


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    data = planted(8, 1)
    Run(network(), TrainingPlan(epochs=1, shown=3)).train(data, data, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="plan"):
        Run(network(), TrainingPlan(epochs=2, shown=3)).train(data, data, checkpoint=tmp_path / "run.pt")


def test_it_ends_when_nothing_improves() -> None:
    data = planted(8, 1)
    run = Run(network(), TrainingPlan(epochs=50, rate=0.0, patience=3, shown=3))
    told: list[Epoch] = []
    run.train(data, data, on_epoch=told.append)
    assert [epoch.best for epoch in told] == [True, False, False, False]


@pytest.mark.parametrize(("loss", "parts"), [("image", (0.5, 0.0)), ("caption", (0.0, 0.5)), ("both", (0.5, 0.5))])
def test_losses_are_halves_of_one_minus_cosines(loss: str, parts: tuple[float, float]) -> None:
    """(3) to (5): each part counts by half, alone as well."""
    data = planted(5, 3)
    captions = np.roll(data.vectors, 1, axis=1)[data.targets]
    data = replace(data, other_captions=captions)
    run = Run(network(), TrainingPlan(loss=loss, shown=3), precision="fp32")  # type: ignore[arg-type]
    rows = np.arange(0, 10, 2)
    with torch.inference_mode():
        summaries = torch.nn.functional.normalize(run.model(token_batch(data, rows, run.plan)), dim=1).numpy()
    image = 1 - (summaries * data.vectors).sum(axis=1)
    caption = 1 - (summaries * captions[rows]).sum(axis=1)
    assert run.validate(data)[0] == pytest.approx(float((parts[0] * image + parts[1] * caption).mean()), abs=1e-6)


def test_contrast_is_a_cross_entropy_over_the_batch_and_what_was_shown() -> None:
    """One query, whose list holds its target and one other: log(1 + exp((cos other - cos target) / T))."""
    data = planted(2, 4)
    lists = np.array([[0, 1, -1]] * 4)
    data = replace(data, shown=lists, captions_shown=lists)
    run = Run(network(), TrainingPlan(contrast=1.0, shown=3, batch=1), precision="fp32")
    with torch.inference_mode():
        summary = torch.nn.functional.normalize(run.model(token_batch(data, np.array([0]), run.plan)), dim=1).numpy()[0]
        loss = run._losses(data, np.array([0]), None)[0].item()
    own, other = (float(summary @ vector) for vector in data.vectors)
    assert loss == pytest.approx(0.5 * (1 - own) + math.log1p(math.exp((other - own) / TEMPERATURE)), abs=1e-5)


def test_the_caption_loss_needs_captions() -> None:
    data = planted(4, 1)
    data = replace(data, other_captions=None)
    with pytest.raises(ValueError, match="other captions"):
        Run(network(), TrainingPlan(loss="both", shown=3)).validate(data)


def test_examples_need_tokens_and_lists_for_each_query() -> None:
    data = planted(4, 1)
    with pytest.raises(ValueError, match="neither"):
        replace(data, images=None, captions_shown=None)
    with pytest.raises(ValueError, match="as many"):
        replace(data, targets=data.targets[:3])


def test_an_epoch_asks_once_for_each_target() -> None:
    targets = np.array([3, 3, 3, 0, 0, 7])
    drawn = [draw_queries(targets, np.random.default_rng(seed)) for seed in range(40)]
    assert all(sorted(targets[rows].tolist()) == [0, 3, 7] for rows in drawn)
    assert {row for rows in drawn for row in rows.tolist()} == set(range(6))


def test_items_left_out_are_fewer_than_all() -> None:
    data = planted(30, 1)
    plan = TrainingPlan(shown=3, mask_items=True)
    batch = token_batch(data, np.arange(60), plan, np.random.default_rng(1))
    assert batch.image_mask is not None
    assert batch.caption_mask is not None
    for mask in (batch.image_mask, batch.caption_mask):
        kept = mask.any(dim=2).sum(dim=1)
        assert set(kept.tolist()) == {1, 2, 3}
    assert not torch.equal(batch.image_mask.any(dim=2), batch.caption_mask.any(dim=2))
