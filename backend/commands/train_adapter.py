"""``morelike train adapter``: residual heads learned from the catalogue, or from what its shoppers say."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.adapter_report import say_epoch, say_left_out, show, write
from backend.commands.bars import bars
from backend.commands.learning import place, require_live_encoder, state_file
from backend.commands.stores import Stores, opened

if TYPE_CHECKING:
    from backend.generations.models import EncoderRecord
    from backend.learning.adapter import TrainedAdapter
    from backend.learning.adapter_parts import Parts
    from backend.ml.adapter_plan import AdapterPlan

ACTOR = "command line"
RATES = [3e-3, 3e-4]
"""Words that an encoder never saw lie far from where they belong; those that it knows want a nudge."""


class Which(StrEnum):
    """Which heads are learned."""

    TEXT = "text"
    BOTH = "both"
    SHARED = "shared"


def register(trainings: typer.Typer) -> None:
    """Add ``adapter`` to ``trainings``."""
    trainings.command("adapter")(adapter)


@dataclass(frozen=True)
class Taking:
    """What the command line says of the data and of what becomes of the heads."""

    pairs: Path | None
    rejected: Path | None
    products: int
    out: Path | None
    promote: bool
    device: str
    threads: int


@dataclass(frozen=True)
class Learning:
    """What is learned from, how, and where an interrupted run leaves its state."""

    parts: "Parts"
    data_range: dict[str, object]
    encoder_id: str
    plans: "list[AdapterPlan]"
    taking: Taking
    home: Path

    def checkpoint(self, plan: "AdapterPlan") -> Path:
        """The state of a run of this plan, encoder and data."""
        data = self.data_range.get("sha256", self.taking.products)
        return state_file(self.home, "adapter", self.encoder_id, plan, data)

    def forget(self) -> bool:
        """Remove what interrupted runs left; whether there was anything."""
        left = [path for path in map(self.checkpoint, self.plans) if path.exists()]
        for path in left:
            path.unlink()
        return bool(left)


def adapter(
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Pairs of a text and a product's id or SKU: CSV or JSON lines; else the catalogue's captions."
        ),
    ] = None,
    rejected: Annotated[Path | None, typer.Option(help="File for the lines of --pairs that were left out.")] = None,
    products: Annotated[int, typer.Option(min=100, help="Most products read.")] = 200_000,
    which: Annotated[
        Which, typer.Option(help="Heads: of texts, of texts and of pictures, or one for both.")
    ] = Which.TEXT,
    alpha: Annotated[float, typer.Option(min=0, max=0.99, help="Share of the adapter in what comes out.")] = 0.2,
    learn_alpha: Annotated[bool, typer.Option(help="Learn that share, from --alpha on.")] = False,
    hidden: Annotated[int, typer.Option(min=0, help="Hidden units; 0 for a quarter of the vector's length.")] = 0,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Of the hidden layer.")] = 0.1,
    replay: Annotated[float, typer.Option(min=0, help="How strongly plain captions hold the text head back.")] = 30.0,
    hard_negatives: Annotated[int, typer.Option(min=0, help="Further negatives a text; 0 for none.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Most passes; it ends earlier when nothing improves.")] = 30,
    patience: Annotated[int, typer.Option(min=1, help="Passes without an improvement after which it ends.")] = 10,
    batch: Annotated[int, typer.Option(min=2, help="Pairs a step.")] = 256,
    rate: Annotated[
        list[float], typer.Option(min=0, help="Highest learning rate; of several, the one that does best is kept.")
    ] = RATES,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of AdamW.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Of everything drawn at random.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Torch threads; 0 takes one per core.")] = 0,
    promote: Annotated[bool, typer.Option(help="Go live with it if its gate lets it.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the heads and the report; no generation is made.")
    ] = None,
) -> None:
    """Train an adapter on the live catalogue; what passes its gate becomes a generation.

    Interrupted and called again with the same options, it goes on where it was.
    """
    from backend.errors import Unprocessable
    from backend.ml.adapter_plan import AdapterPlan

    if promote and out is not None:
        raise Unprocessable("A folder cannot go live.", found="--out and --promote", expected="one of them")
    plan = AdapterPlan(
        which=which.value,
        alpha=alpha,
        learn_alpha=learn_alpha,
        hidden=hidden or None,
        dropout=dropout,
        replay=replay,
        hard_negatives=hard_negatives,
        epochs=epochs,
        patience=patience,
        batch=batch,
        weight_decay=weight_decay,
        seed=seed,
    )
    plans = [replace(plan, rate=one) for one in rate]
    _train(Taking(pairs, rejected, products, out, promote, device, threads), plans)


def _train(taking: Taking, plans: "list[AdapterPlan]") -> None:
    from tempfile import TemporaryDirectory

    import torch

    from backend.ml.encoder import cores

    torch.set_num_threads(taking.threads or cores())
    with opened() as stores:
        encoder = require_live_encoder(stores)
        home = stores.settings.home
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=home, prefix="train-") as scratch:
            parts, data_range = _read(stores, encoder, taking, plans[0].seed, Path(scratch))
            learning = Learning(parts, data_range, encoder.id, plans, taking, home)
            trained = _resumed(learning)
        show(trained, parts)
        if taking.out is not None:
            write(trained, taking.out)
        else:
            _keep(stores, encoder.id, trained, promote=taking.promote)
        learning.forget()


def _read(
    stores: Stores, encoder: "EncoderRecord", taking: Taking, seed: int, directory: Path
) -> "tuple[Parts, dict[str, object]]":
    """The parts that are learned from, and what they come from."""
    from backend.generations.encoders import open_recorded
    from backend.learning.adapter_data import read_gallery, read_pairs
    from backend.learning.adapter_parts import parts_of_catalogue, parts_of_file
    from backend.learning.pairs_file import PairsFile

    file = None if taking.pairs is None else PairsFile(taking.pairs)
    with bars() as told:
        gallery = read_gallery(stores.sessions, encoder, directory, taking.products, told)
        if file is not None:
            opened_encoder = open_recorded(stores.settings, encoder.id, encoder.source)
            logged = read_pairs(stores.sessions, gallery, file, opened_encoder.encode_texts, directory, told)
    if gallery.shared or gallery.bare:
        typer.echo(
            f"{gallery.shared:,} captions that several products share and {gallery.bare:,} of products without an "
            "embedded picture are left out."
        )
    if file is None or taking.pairs is None:
        return parts_of_catalogue(gallery, seed), {"source": "catalogue"}
    say_left_out(logged.left_out, taking.rejected)
    data_range: dict[str, object] = {"source": taking.pairs.name, "sha256": _sha256(taking.pairs)}
    return parts_of_file(gallery, logged.texts, seed), data_range | {"left_out": len(logged.left_out)}


def _resumed(learning: Learning) -> "TrainedAdapter":
    """What comes of a run that goes on where it was; from the start where the catalogue has changed since."""
    from backend.errors import Conflict

    try:
        return _run(learning)
    except Conflict:
        if not learning.forget():
            raise
        typer.echo("The catalogue has changed since this was interrupted: it starts again.")
        return _run(learning)


def _run(learning: Learning) -> "TrainedAdapter":
    from backend.learning.adapter import train_on_parts

    parts, where = learning.parts, place(learning.taking.device)
    typer.echo(
        f"Learning from {len(parts.training):,} texts; {len(parts.validation):,} of other products decide and "
        f"{len(parts.judged):,} judge, over {len(parts.training.images):,} pictures, on {where}."
    )
    with bars() as told:
        return train_on_parts(
            parts,
            learning.encoder_id,
            learning.plans,
            data_range=learning.data_range,
            device=where,
            checkpoint=learning.checkpoint,
            on_step=lambda done, steps: told("Training", done, steps),
            on_epoch=say_epoch,
        )


def _keep(stores: Stores, encoder_id: str, trained: "TrainedAdapter", *, promote: bool) -> None:
    from backend.db import session_scope
    from backend.generations.models import Generation
    from backend.learning.adapter import keep
    from backend.queue import ADVANCE_BUILDS

    with session_scope(stores.sessions) as session:
        number = keep(session, encoder_id, trained, promote=promote, actor=ACTOR)
        stores.queue.nudge_after_commit(session, ADVANCE_BUILDS)
        state = session.get_one(Generation, number).state
    said = {
        "rejected": f"g{number} is rejected and cannot go live; `morelike generation show g{number}` shows why.",
        "ready": f"g{number} is ready with it. `morelike generation promote g{number}` goes live.",
        "live": f"g{number} is live with it. `morelike generation rollback` goes back.",
        "trained": f"g{number} is trained; its index is being built"
        + (", and it goes live then." if promote else f". Then `morelike generation promote g{number}` goes live."),
    }
    typer.echo(said[state])


def _sha256(path: Path) -> str:
    from hashlib import file_digest

    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
