import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from backend.demo.attributes import training_items
from backend.demo.retrieval import Recall, recall
from backend.demo.train_encoder import augment, captions_for, pick_rows
from backend.demo.training_run import Run, TrainingConfig, contrast, export, learning_rate
from backend.demo.training_set import SIDE, training_set


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_contrast_of_orthogonal_pairs_by_hand() -> None:
    """Two orthogonal pairs at scale 1: every row is -log(e / (e + 1)) = log(1 + 1/e)."""
    rows = torch.eye(2)
    torch.testing.assert_close(contrast(rows, rows, torch.tensor(1.0)), torch.tensor(math.log(1 + math.exp(-1))))


def test_learning_rate_warms_up_and_ends_low() -> None:
    config = TrainingConfig(minutes=10, seed=1, rate=1.0, warmup_steps=10)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 100, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 100, 300.0) == pytest.approx(0.51)
    assert learning_rate(config, 100, 9999.0) == pytest.approx(0.02)


def test_batches_hold_a_few_kinds_and_no_row_twice() -> None:
    kinds = [np.arange(start, start + 100) for start in range(0, 1200, 100)]
    rows = pick_rows(kinds, TrainingConfig(minutes=1, seed=1, batch=64), np.random.default_rng(0))
    assert len(set(rows.tolist())) == 64
    assert len({row // 100 for row in rows.tolist()}) == 4


def test_augment_leaves_its_argument_and_stays_in_range() -> None:
    drawings = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    before = drawings.copy()
    varied = augment(drawings, np.random.default_rng(2))
    assert varied.shape == drawings.shape
    assert 0 <= varied.min() <= varied.max() <= 255
    assert np.array_equal(drawings, before)


def test_recall_by_hand() -> None:
    scores = np.zeros((2, 12), np.float32)
    scores[0, 3] = 1
    scores[1, :6] = np.arange(6, 0, -1)
    assert recall(scores, [frozenset({3}), frozenset({5})]) == Recall(0.5, 0.5, 1.0)


def test_training_set_resumes(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        told.append((done, total))

    first = training_set(tmp_path, 4, 11, 1, note)
    again = training_set(tmp_path, 4, 11, 1, note)
    assert told == [(4, 4)]
    assert first.items == again.items == list(islice(training_items(11), 4))
    assert np.array_equal(first.drawings, again.drawings)
    assert first.drawings.std() > 10


def test_run_learns_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    items = list(islice(training_items(12), 8))
    drawings = np.random.default_rng(3).integers(0, 256, (8, SIDE, SIDE, 3)).astype(np.float32)
    assert len(captions_for(items, Random(1))) == 16
    tokens = torch.randint(0, 4000, (16, 32))
    config = TrainingConfig(minutes=1, seed=1, batch=8, warmup_steps=1)
    run = Run(config, torch.device("cpu"))
    losses = [run.train_step(drawings, tokens) for _ in range(4)]
    assert losses[-1] < losses[0]
    run.save(tmp_path / "checkpoint.pt")
    resumed = Run(config, torch.device("cpu"))
    resumed.load(tmp_path / "checkpoint.pt")
    assert resumed.step == 4
    assert resumed.train_step(drawings, tokens) == pytest.approx(run.train_step(drawings, tokens), rel=1e-3)
    export(run.average, tmp_path / "encoder")
    assert sum(path.stat().st_size for path in (tmp_path / "encoder").iterdir()) < 12 * 2**20
