"""Training a summarizer, what comes of it, and the generation that has it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sqlalchemy.orm import Session

from backend.access.audit import record
from backend.errors import Conflict
from backend.generations.bootstrap import with_summarizer
from backend.generations.promote import go_live
from backend.generations.repository import live_encoder, live_generation, lock_generations
from backend.generations.summarizers import store_summarizer
from backend.ml.feedback_examples import CaptionedPictures
from backend.ml.summarizer import AttentiveSummarizer, SummarizerConfig, dump_summarizer, load_summarizer
from backend.ml.summarizer_gain import Gain, measure_gain
from backend.ml.summarizer_training import Epoch, Run, TrainingPlan

HELD_BACK = 0.1
"""Share of the pictures that decides when training ends and what it gained; none of them is learned from."""


class NoGain(Conflict):
    """What was trained finds no more than what it would join."""

    title = "No gain"


@dataclass(frozen=True)
class Trained:
    """A trained summarizer.

    Args:
        weights: as `dump_summarizer` writes them.
        gain: over pictures that were held back.
        report: what training measured, as summarizers and generations keep it.
    """

    weights: bytes
    gain: Gain
    report: dict[str, Any]


def train_summarizer(
    held: CaptionedPictures,
    encoder_id: str,
    plan: TrainingPlan,
    *,
    device: torch.device,
    checkpoint: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train a summarizer for the tokens of ``held``, nine in ten of its pictures, and measure it on the others.

    Args:
        held: pictures with captions.
        encoder_id: whose tokens they are.
        plan: how.
        device: where.
        checkpoint: where to go on, if it is there; written after each epoch.
        on_step: told how many of how many steps of an epoch are done.
        on_epoch: told what each epoch came to.
    """
    back = held_back(len(held.pictures), plan.seed)
    training, validation = held.examples(~back), held.examples(back)
    torch.manual_seed(plan.seed)
    config = SummarizerConfig.for_encoder(held.words.width, held.patches.width, held.pictures.shape[1])
    run = Run(AttentiveSummarizer(config), plan, device)
    best = run.train(training, validation, checkpoint=checkpoint, on_step=on_step, on_epoch=on_epoch)
    weights = dump_summarizer(run.model, encoder_id)
    queries = held.captions[validation.asked]
    gain = measure_gain(load_summarizer(weights), validation, queries, held.captions, np.flatnonzero(back))
    report = {
        "plan": asdict(plan),
        "pictures": int((~back).sum()),
        "queries": len(training.asked),
        "epochs": len(run.epochs),
        "validation_loss": best,
        "gain": asdict(gain),
    }
    return Trained(weights, gain, report)


def held_back(pictures: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of the pictures (m,) are held back: one in ten, 20 at least."""
    chosen = np.zeros(pictures, np.bool_)
    chosen[np.random.default_rng(seed).permutation(pictures)[: max(20, round(HELD_BACK * pictures))]] = True
    return chosen


def keep(session: Session, encoder_id: str, trained: Trained, *, actor: str) -> int:
    """Store a trained summarizer and make a generation that is the live one with it, ready; its number.

    Raises:
        Conflict: another encoder is live by now.
    """
    lock_generations(session)
    live, encoder = live_generation(session), live_encoder(session)
    if live is None or encoder is None or encoder.id != encoder_id:
        raise Conflict(
            "The encoder changed while the summarizer was trained.",
            found=encoder and encoder.id,
            expected=encoder_id,
        )
    number = store_summarizer(session, encoder_id, trained.weights, trained.report)
    generation = with_summarizer(session, live, number, trained.report)
    record(session, actor=actor, action="summarizer.trained", subject=f"s{number}", details={"generation": generation})
    return generation


def promote(session: Session, generation: int, trained: Trained, *, actor: str) -> None:
    """Go live with a generation that `keep` made.

    Raises:
        NoGain: what was trained gained nothing on what was held back; the generation stays ready.
    """
    if not trained.gain.difference.above:
        interval = trained.gain.difference
        raise NoGain(
            f"The summarizer gains nothing that is certain; g{generation} stays ready.",
            found=f"{interval.mean:+.4f} MRR@5, interval {interval.low:+.4f} to {interval.high:+.4f}",
            expected="an interval above 0",
        )
    go_live(session, generation, actor=actor)
