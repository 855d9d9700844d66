"""``morelike train encoder``: the last blocks of an encoder, trained on captioned pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.bars import bars
from backend.commands.learning import place

if TYPE_CHECKING:
    from backend.evaluation.unfreezing import Unfrozen
    from backend.ml.partial_unfreezing import UnfreezingPlan, UnfrozenEpoch


def register(trainings: typer.Typer) -> None:
    """Add ``encoder`` to ``trainings``."""
    trainings.command("encoder")(unfrozen)


def unfrozen(
    dataset: Annotated[Path, typer.Argument(help="Captions to learn from: Karpathy's JSON, JSON lines or CSV.")],
    keep: Annotated[Path, typer.Option(help="Other captions, which must be found as well as before.")],
    out: Annotated[Path, typer.Option(help="Directory to write the encoder to; absent or empty.")],
    images: Annotated[Path | None, typer.Option(help="Folder or zip of the pictures; by default beside them.")] = None,
    split: Annotated[str | None, typer.Option(help="Rows to take; by default test or val, where there are.")] = None,
    keep_images: Annotated[Path | None, typer.Option(help="Folder or zip of the pictures of --keep.")] = None,
    keep_split: Annotated[str | None, typer.Option(help="Rows of --keep to take.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder; by default that of MORELIKE_ENCODER.")] = None,
    text_blocks: Annotated[int, typer.Option(min=-1, help="Last blocks of the text tower; -1 freezes it.")] = 1,
    image_blocks: Annotated[int, typer.Option(min=-1, help="Last blocks of the image tower; -1 freezes it.")] = -1,
    rate: Annotated[float, typer.Option(min=0, help="Learning rate of blocks; projections have 10 times that.")] = 1e-5,
    pull: Annotated[float, typer.Option(min=0, help="How strongly weights are drawn back to where they began.")] = 0.01,
    ema: Annotated[float, typer.Option(min=0, max=0.9999, help="Decay of an average over steps; 0 for none.")] = 0.0,
    epochs: Annotated[int, typer.Option(min=1, help="Most passes; it ends earlier when nothing improves.")] = 20,
    batch: Annotated[int, typer.Option(min=2, help="Pairs a step.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the split and the order.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Torch threads; 0 takes one per core.")] = 0,
) -> None:
    """Unfreeze the last blocks of an encoder; writes a directory to switch to if it finds more and forgets nothing."""
    import torch

    from backend.errors import Conflict
    from backend.generations.encoders import DEMO_ENCODER
    from backend.ml.encoder import cores, write_encoder
    from backend.ml.encoder_directory import require_free
    from backend.ml.partial_unfreezing import UnfreezingPlan

    require_free(out)
    plan = UnfreezingPlan(
        text_blocks=None if text_blocks < 0 else text_blocks,
        image_blocks=None if image_blocks < 0 else image_blocks,
        rate=rate,
        pull=pull,
        ema=ema,
        epochs=epochs,
        batch=batch,
        seed=seed,
    )
    torch.set_num_threads(threads or cores())
    trained = _trained((dataset, images, split), (keep, keep_images, keep_split), encoder, plan, place(device))
    _say_verdict(trained)
    if not trained.report.passed:
        raise Conflict(
            "This encoder is not better than the one it began from, or forgets: it is not written.",
            found=" ".join(trained.report.reasons),
            expected="a gain beyond doubt, and retention",
        )
    write_encoder(trained.unfreezing.parts, out, name=out.resolve().name, demo_dir=DEMO_ENCODER)
    typer.echo(f"Written. `morelike encoder switch local-dir:{out.resolve()}` embeds the catalogue with it.")


Named = tuple[Path, Path | None, str | None]
"""Captions, pictures, split."""


def _trained(learned: Named, kept: Named, encoder: str | None, plan: "UnfreezingPlan", device: str) -> "Unfrozen":
    from tempfile import TemporaryDirectory

    import torch

    from backend.evaluation.datasets import open_dataset
    from backend.evaluation.unfreezing import unfreeze_on
    from backend.generations.encoders import DEMO_ENCODER
    from backend.ml.encoder import open_parts
    from backend.settings import Settings

    settings = Settings()
    data, keep = (open_dataset(captions, images=images, split=split) for captions, images, split in (learned, kept))
    parts = open_parts(encoder or settings.encoder, demo_dir=DEMO_ENCODER)
    settings.home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=settings.home, prefix="unfreeze-") as scratch, bars() as told:
        return unfreeze_on(
            parts, data, keep, plan, Path(scratch), device=torch.device(device), told=told, on_epoch=_say_epoch
        )


def _say_epoch(epoch: "UnfrozenEpoch") -> None:
    mark = "  best" if epoch.best else ""
    typer.echo(f"pass {epoch.number}: R@10 {epoch.recall_at_10:.3f}, MRR {epoch.mrr:.3f} on what it is chosen by{mark}")


def _say_verdict(trained: "Unfrozen") -> None:
    report = trained.report
    for name, change in (("R@10", report.recall_at_10), ("MRR", report.mrr)):
        low, high = change.interval.low, change.interval.high
        typer.echo(
            f"{name} on {report.queries:,} captions held out: {change.before:.3f} before, {change.after:.3f} after "
            f"({change.interval.mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f})."
        )
    kept = report.retention
    typer.echo(
        f"Kept of what must be found as before ({kept.queries:,} captions): {kept.recall_at_10:.3f} of R@10, "
        f"{kept.mrr:.3f} of MRR, at {report.gamma:g} of the way to the trained weights."
    )
