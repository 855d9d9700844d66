"""Training heads: planted truth, step 0, seeds, a run that was killed, and what is poisoned."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.errors import Conflict
from backend.ml.adapter_gate import judge
from backend.ml.adapter_plan import AdapterPlan, AdapterRun
from backend.ml.exact_ranks import pair_ranks
from backend.ml.heads import Head, drift
from backend.ml.metrics import hits
from backend.ml.pairs import Pairs, PairsUnfit, split
from backend.ml.training import train_adapter
from backend.ml.training_steps import DivergedError

PLAN = AdapterPlan(which="text", epochs=15, batch=64, rate=1e-2, hidden=32, patience=15)
WIDTH = 16


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def planted(products: int = 600, seed: int = 0, shuffled: bool = False) -> Pairs:
    """Texts lie near their pictures, but for four directions in which they are turned: by 110 degrees in two planes."""
    rng = np.random.default_rng(seed)
    images = unit(rng.normal(size=(products, WIDTH)))
    angle = np.deg2rad(110)
    turn = np.eye(WIDTH)
    for first in (0, 2):
        turn[first : first + 2, first : first + 2] = [
            [np.cos(angle), -np.sin(angle)],
            [np.sin(angle), np.cos(angle)],
        ]
    texts = unit(images @ turn + 0.15 * rng.normal(size=images.shape))
    image_of = rng.permutation(products) if shuffled else np.arange(products)
    return Pairs(texts, images, image_of, np.arange(products))


@pytest.fixture(scope="module")
def parts() -> tuple[Pairs, ...]:
    return split(planted(), (0.6, 0.15, 0.25), seed=1)


@pytest.fixture(scope="module")
def run(parts: tuple[Pairs, ...]) -> AdapterRun:
    return train_adapter(parts[0], parts[1], PLAN)


def recall(pairs: Pairs, text: Head | None = None, image: Head | None = None) -> float:
    return float(hits(pair_ranks(pairs, text=text, image=image), 10).mean())


def same(first: AdapterRun, second: AdapterRun) -> bool:
    pairs = zip((first.text, first.image), (second.text, second.image), strict=True)
    return all(
        one is other is None
        or (one is not None and other is not None and (one.outward == other.outward).all() and one.alpha == other.alpha)
        for one, other in pairs
    )


def test_a_rotation_of_some_directions_is_undone_for_products_that_were_held_out(
    parts: tuple[Pairs, ...], run: AdapterRun
) -> None:
    before, after = recall(parts[2]), recall(parts[2], run.text)
    assert before < 0.75
    assert after > before + 0.15
    assert run.image is None
    assert run.item_heads.image is run.item_heads.caption is None
    assert run.query_heads.text is run.text
    assert 0 < drift(parts[2].texts, run.text(parts[2].texts)) < 0.5


def test_the_gate_passes_it(parts: tuple[Pairs, ...], run: AdapterRun) -> None:
    before, after = pair_ranks(parts[2]), pair_ranks(parts[2], text=run.text)
    assert judge(before, after, before, after).passed


def test_pairs_that_were_shuffled_are_refused_by_the_gate(parts: tuple[Pairs, ...]) -> None:
    shuffled = planted(shuffled=True)
    learned, validation, _ = split(shuffled, (0.6, 0.15, 0.25), seed=1)
    run = train_adapter(learned, validation, replace(PLAN, epochs=6))
    last = train_adapter(learned, learned, replace(PLAN, epochs=6))  # judged by what it was misled with
    for heads in (run, last):
        before, after = pair_ranks(parts[2]), pair_ranks(parts[2], text=heads.text)
        report = judge(before, after, before, after)
        assert not report.passed
        assert any("not above the untouched encoder" in reason for reason in report.reasons)


@pytest.mark.parametrize("which", ["text", "both", "shared"])
def test_before_the_first_step_ranks_are_those_of_the_untouched_encoder(which: str, parts: tuple[Pairs, ...]) -> None:
    run = train_adapter(parts[0], parts[1], replace(PLAN, which=which, epochs=0))  # type: ignore[arg-type]
    assert (pair_ranks(parts[2], text=run.text, image=run.image) == pair_ranks(parts[2])).all()
    assert (run.text(parts[2].texts) == parts[2].texts).all()
    assert [epoch.number for epoch in run.history] == [0]


def test_one_seed_gives_one_set_of_weights_and_another_another(parts: tuple[Pairs, ...]) -> None:
    plan = replace(PLAN, which="both", epochs=2, learn_alpha=True, hard_negatives=2, band=(2, 8))
    torch.manual_seed(5)
    first = train_adapter(parts[0], parts[1], plan)
    torch.manual_seed(6)  # what others draw has no say
    assert same(first, train_adapter(parts[0], parts[1], plan))
    assert not same(first, train_adapter(parts[0], parts[1], replace(plan, seed=2)))
    assert first.text.alpha != 0.2


def test_what_others_draw_is_left_as_it_was(parts: tuple[Pairs, ...]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_adapter(parts[0], parts[1], replace(PLAN, epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_one_head_for_both_sides_is_one_head(parts: tuple[Pairs, ...]) -> None:
    run = train_adapter(parts[0], parts[1], replace(PLAN, which="shared", epochs=1))
    heads = (run.query_heads.text, run.query_heads.image, run.item_heads.image, run.item_heads.caption)
    assert all(head is run.text for head in heads)


KILLED = replace(PLAN, epochs=4, which="both", hard_negatives=2, band=(2, 8))


def test_a_run_that_was_ended_goes_on_and_ends_with_the_same_weights(parts: tuple[Pairs, ...], tmp_path: Path) -> None:
    class EndedError(Exception):
        pass

    told: list[int] = []

    def end(step: int, _steps: int) -> None:
        if len(told) == 2 and step == 3:  # in the middle of the third epoch
            raise EndedError

    checkpoint = tmp_path / "run.pt"
    with pytest.raises(EndedError):
        train_adapter(
            parts[0], parts[1], KILLED, checkpoint=checkpoint, on_step=end, on_epoch=lambda one: told.append(one.number)
        )
    assert_goes_on(parts, checkpoint)
    with pytest.raises(Conflict, match="another plan or of other pairs"):
        train_adapter(parts[1], parts[0], KILLED, checkpoint=checkpoint)
    with pytest.raises(Conflict, match="another plan or of other pairs"):
        train_adapter(parts[0], parts[1], replace(KILLED, rate=1e-4), checkpoint=checkpoint)


KILL = """
import os, signal, sys, torch
from pathlib import Path
from tests.ml.test_training import KILLED, planted, split, train_adapter
torch.set_num_threads(1)
epochs = []
def kill(step, steps):
    if len(epochs) == 2 and step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
learned, validation, _ = split(planted(), (0.6, 0.15, 0.25), seed=1)
train_adapter(learned, validation, KILLED, checkpoint=Path(sys.argv[1]), on_step=kill, on_epoch=epochs.append)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_weights(parts: tuple[Pairs, ...], tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.pt"
    killed = subprocess.run([sys.executable, "-c", KILL, str(checkpoint)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert_goes_on(parts, checkpoint)


def assert_goes_on(parts: tuple[Pairs, ...], checkpoint: Path) -> None:
    """From after the second epoch, to the weights of a run that nothing ended."""
    told: list[int] = []
    resumed = train_adapter(
        parts[0], parts[1], KILLED, checkpoint=checkpoint, on_epoch=lambda one: told.append(one.number)
    )
    assert told == [3, 4]
    whole = train_adapter(parts[0], parts[1], KILLED)
    assert same(resumed, whole)
    assert resumed.history == whole.history


def test_it_ends_when_nothing_improves_and_the_best_weights_are_kept(parts: tuple[Pairs, ...]) -> None:
    run = train_adapter(parts[0], parts[1], replace(PLAN, epochs=60, rate=0.05, patience=2))
    assert run.stopped == "patience"
    assert len(run.history) < 61
    best = max(run.history, key=lambda epoch: epoch.merit)
    assert best.best
    assert best.number == run.history[-1].number - 2
    assert recall(parts[1], run.text) == best.recall_at_10


def test_the_scale_never_exceeds_its_limit_and_can_come_down_from_it(parts: tuple[Pairs, ...]) -> None:
    run = train_adapter(parts[0], parts[1], replace(PLAN, epochs=3, scale=99.99, rate=0.05))
    assert all(epoch.scale <= 100.0001 for epoch in run.history)
    assert run.history[-1].scale < 99


def test_a_poisoned_row_is_refused_before_anything_is_learned() -> None:
    pairs = planted(40)
    pairs.texts[11, 3] = np.nan
    learned, validation = split(pairs, (0.5, 0.5), seed=1)
    with pytest.raises(PairsUnfit) as refused:
        train_adapter(learned, validation, PLAN)
    assert refused.value.extensions["rows"] == [11]


def test_a_loss_that_is_no_number_ends_a_training(parts: tuple[Pairs, ...]) -> None:
    """Rows that were fit at the door and are not when their turn comes: a file that somebody else writes to."""
    learned = parts[0]
    changing = Pairs(learned.texts.copy(), learned.images, learned.image_of, learned.product_of, learned.rows)

    def spoil(step: int, _steps: int) -> None:
        if step == 2:
            changing.texts[:] = np.nan

    with pytest.raises(DivergedError, match="a loss of nan in step 3 of epoch 1"):
        train_adapter(changing, parts[1], PLAN, on_step=spoil)


def test_pairs_that_are_there_twice_change_nothing(parts: tuple[Pairs, ...]) -> None:
    twice = parts[0].only(np.concatenate([parts[0].rows, parts[0].rows]))
    plan = replace(PLAN, epochs=2)
    run = train_adapter(twice, parts[1], plan)
    assert run.merged == len(parts[0])
    assert same(run, train_adapter(parts[0], parts[1], plan))


def test_what_holds_heads_back_makes_them_drift_less(parts: tuple[Pairs, ...], run: AdapterRun) -> None:
    held = train_adapter(parts[0], parts[1], replace(PLAN, identity=5.0))
    texts = parts[2].texts
    assert drift(texts, held.text(texts)) < 0.5 * drift(texts, run.text(texts))
