"""``morelike train``: what is learned from a shop, or from a benchmark."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands import train_adapter, train_encoder
from backend.commands.bars import bars
from backend.commands.learning import place, require_live_encoder, state_file
from backend.commands.stores import Stores, opened

if TYPE_CHECKING:
    from backend.learning.summarizer import Trained
    from backend.ml.feedback_examples import CaptionedPictures
    from backend.ml.summarizer_training import Epoch, TrainingPlan

ACTOR = "command line"

trainings = typer.Typer(help="Learn from the catalogue.", no_args_is_help=True)


class Loss(StrEnum):
    """What a summary is drawn to."""

    IMAGE = "image"
    CAPTION = "caption"
    BOTH = "both"


def register(app: typer.Typer) -> None:
    """Add ``train`` to ``app``."""
    train_encoder.register(trainings)
    train_adapter.register(trainings)
    app.add_typer(trainings, name="train")


@trainings.callback()
def train() -> None:
    """Learn from the catalogue."""


@trainings.command("summarizer")
def summarizer(
    dataset: Annotated[
        Path | None,
        typer.Option(help="Captions to learn from instead of the catalogue: Karpathy's JSON, JSON lines or CSV."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder or zip of the pictures of --dataset.")] = None,
    split: Annotated[str, typer.Option(help="Rows of --dataset to take.")] = "train",
    encoder: Annotated[str | None, typer.Option(help="Encoder for --dataset; by default MORELIKE_ENCODER.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write the weights to; --dataset needs it.")] = None,
    products: Annotated[int, typer.Option(min=100, help="Most products of the catalogue to learn from.")] = 50_000,
    loss: Annotated[Loss, typer.Option(help="What a summary is drawn to: pictures, captions, or both.")] = Loss.IMAGE,
    contrast: Annotated[float, typer.Option(min=0, help="Weight of telling the right picture from others.")] = 0.0,
    shown: Annotated[int, typer.Option(min=1, max=10, help="Products of each list that are learned from.")] = 5,
    mask_items: Annotated[bool, typer.Option(help="Leave some of them out at random.")] = False,
    patch_share: Annotated[float, typer.Option(min=0.05, max=1, help="Share of patch tokens that a step sees.")] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="Most passes; it ends earlier when nothing improves.")] = 100,
    patience: Annotated[int, typer.Option(min=1, help="Passes without an improvement after which it ends.")] = 10,
    batch: Annotated[int, typer.Option(min=2, help="Queries a step.")] = 512,
    rate: Annotated[float, typer.Option(min=0, help="Learning rate.")] = 3e-4,
    seed: Annotated[int, typer.Option(help="Of everything drawn at random.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Torch threads; 0 takes one per core.")] = 0,
    promote: Annotated[bool, typer.Option(help="Go live with it if it gains on what was held back.")] = False,
) -> None:
    """Train an attentive summarizer on the catalogue's tokens; a generation with it is then ready.

    Interrupted and called again with the same options, it goes on where it was.
    """
    from backend.ml.summarizer_training import TrainingPlan

    _require_whole(dataset, out, promote=promote)
    plan = TrainingPlan(
        loss=loss.value,
        contrast=contrast,
        shown=shown,
        mask_items=mask_items,
        patch_share=patch_share,
        epochs=epochs,
        patience=patience,
        batch=batch,
        rate=rate,
        seed=seed,
    )
    if dataset is not None and out is not None:
        _train_on_dataset(dataset, images, split, encoder, out, plan, device, threads)
    else:
        _train_on_catalogue(products, out, plan, device, threads, promote=promote)


def _require_whole(dataset: Path | None, out: Path | None, *, promote: bool) -> None:
    from backend.errors import Unprocessable

    if dataset is not None and out is None:
        raise Unprocessable("What is learned from a dataset belongs to no catalogue.", expected="--out FILE")
    if promote and out is not None:
        raise Unprocessable("A file cannot go live.", found="--out and --promote", expected="one of them")


def _train_on_dataset(
    dataset: Path,
    images: Path | None,
    split: str,
    encoder: str | None,
    out: Path,
    plan: "TrainingPlan",
    device: str,
    threads: int,
) -> None:
    from backend.evaluation.datasets import open_dataset
    from backend.evaluation.features import compute_features
    from backend.evaluation.pairs import captioned_pictures
    from backend.generations.encoders import DEMO_ENCODER
    from backend.ml.encoder import load_encoder
    from backend.settings import Settings

    settings = Settings()
    data = open_dataset(dataset, images=images, split=split)
    model = load_encoder(
        encoder or settings.encoder, device=device, precision="fp32", threads=threads, demo_dir=DEMO_ENCODER
    )
    with bars() as told:
        features = compute_features(model, data, settings.home / "evaluation", tokens=True, progress=told)
    held = captioned_pictures(features, model)
    checkpoint = state_file(settings.home, "summarizer", model.id, plan, data.key)
    trained = _run(held, model.id, plan, device, checkpoint)
    out.write_bytes(trained.weights)
    typer.echo(f"Written: {out}.")
    checkpoint.unlink(missing_ok=True)


def _train_on_catalogue(
    products: int, out: Path | None, plan: "TrainingPlan", device: str, threads: int, *, promote: bool
) -> None:
    from tempfile import TemporaryDirectory

    import torch

    from backend.learning.summarizer_data import read_catalogue
    from backend.ml.encoder import cores

    torch.set_num_threads(threads or cores())
    with opened() as stores:
        encoder = require_live_encoder(stores)
        home = stores.settings.home
        home.mkdir(parents=True, exist_ok=True)
        checkpoint = state_file(home, "summarizer", encoder.id, plan, products)
        with TemporaryDirectory(dir=home, prefix="train-") as scratch:
            with bars() as told:
                held = read_catalogue(
                    stores.sessions, encoder, Path(scratch), products, lambda done, all_: told("Tokens", done, all_)
                )
            trained = _run(held, encoder.id, plan, device, checkpoint)
        if out is not None:
            out.write_bytes(trained.weights)
            typer.echo(f"Written: {out}.")
        else:
            _keep(stores, encoder.id, trained, promote=promote)
        checkpoint.unlink(missing_ok=True)


def _keep(stores: Stores, encoder_id: str, trained: "Trained", *, promote: bool) -> None:
    from backend.db import session_scope
    from backend.learning.summarizer import keep
    from backend.learning.summarizer import promote as go_live

    with session_scope(stores.sessions) as session:
        number = keep(session, encoder_id, trained, actor=ACTOR)
    if not promote:
        typer.echo(f"g{number} is ready with it. `morelike generation promote g{number}` goes live.")
        return
    with session_scope(stores.sessions) as session:
        go_live(session, number, trained, actor=ACTOR)
    typer.echo(f"g{number} is live with it. `morelike generation rollback` goes back.")


def _run(held: "CaptionedPictures", encoder_id: str, plan: "TrainingPlan", device: str, checkpoint: Path) -> "Trained":
    import torch

    from backend.learning.summarizer import train_summarizer

    where = place(device)
    typer.echo(f"Learning from {len(held.pictures):,} pictures and {len(held.captions):,} captions on {where}.")
    with bars() as told:
        trained = train_summarizer(
            held,
            encoder_id,
            plan,
            device=torch.device(where),
            checkpoint=checkpoint,
            on_step=lambda done, steps: told("Training", done, steps),
            on_epoch=_say,
        )
    gain = trained.gain
    typer.echo(
        f"MRR@5 on {gain.queries:,} queries held back: {gain.before:.3f} without feedback, {gain.after:.3f} with it "
        f"({gain.difference.mean:+.3f}, 95 % interval {gain.difference.low:+.3f} to {gain.difference.high:+.3f})."
    )
    return trained


def _say(epoch: "Epoch") -> None:
    mark = "  best" if epoch.best else ""
    typer.echo(
        f"epoch {epoch.number}: loss {epoch.training_loss:.4f}, held back {epoch.validation_loss:.4f}, "
        f"hits@1 in a batch {epoch.hits_at_1:.3f}{mark}"
    )
