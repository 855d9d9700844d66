"""``morelike evaluate``: quality, measured on data of one's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.stores import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.evaluation.plan import Plan
    from backend.evaluation.report import Report
    from backend.ml.encoder import Encoder
    from backend.ml.summarizer import TokenSummarizer
    from backend.settings import Settings

evaluations = typer.Typer(help="Measure quality on data of your own.", no_args_is_help=True)


class Protocol(StrEnum):
    """Which captions ask."""

    FIRST = "first"
    ALL = "all"
    BOTH = "both"


class Tokens(StrEnum):
    """How the summarizer's tokens are kept."""

    COMPUTED = "computed"
    INT8 = "int8"
    POOLED = "pooled"


def register(app: typer.Typer) -> None:
    """Add ``evaluate`` to ``app``."""
    app.add_typer(evaluations, name="evaluate")


@evaluations.callback()
def evaluate() -> None:
    """Measure quality on data of your own."""


@evaluations.command("feedback")
def feedback(
    captions: Annotated[
        Path | None,
        typer.Argument(
            help="Karpathy's JSON (Flickr30k, COCO), JSON lines or CSV of image and caption; none: the live catalogue."
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip of the pictures; by default beside the captions.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Rows to take; by default test or val, where there are.")] = None,
    caption_column: Annotated[str | None, typer.Option(help="Column of the captions; else found out.")] = None,
    generated: Annotated[
        Path | None, typer.Option(help="Captions a model wrote: JSON or JSON lines by the pictures' names.")
    ] = None,
    references: Annotated[
        Path | None, typer.Option(help="Captions that stand for a log of queries: nearest-neighbour normalisation.")
    ] = None,
    references_split: Annotated[str | None, typer.Option(help="Rows of --references to take.")] = None,
    asked: Annotated[
        Path | None,
        typer.Option("--asked", help="Live catalogue: JSON lines of queries and the ids of their products."),
    ] = None,
    products: Annotated[int, typer.Option(min=2, help="Live catalogue: most products searched.")] = 5000,
    encoder: Annotated[str | None, typer.Option(help="Encoder; by default that of MORELIKE_ENCODER.")] = None,
    summarizer: Annotated[
        list[str] | None, typer.Option(help="File of a summarizer's weights, or NAME=FILE; several are compared.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="First captions ask, or all, or both in turn.")] = Protocol.BOTH,
    turns: Annotated[int, typer.Option(min=2, max=20, help="Lists a session has; the first is plain retrieval.")] = 5,
    accumulate: Annotated[
        bool, typer.Option(help="A turn moves the query of the turn before, rather than the first.")
    ] = True,
    study: Annotated[
        list[str] | None, typer.Option(help="Sweep or ablation by name; `all`, or `none`. Default: all.")
    ] = None,
    queries: Annotated[int, typer.Option(min=0, help="Most queries, drawn at random; 0 takes all.")] = 0,
    tokens: Annotated[Tokens, typer.Option(help="As the token store would keep them.")] = Tokens.COMPUTED,
    pictures: Annotated[int, typer.Option(min=0, max=50, help="Sessions pictured for each strategy.")] = 4,
    seed: Annotated[int, typer.Option(help="Of everything drawn at random.")] = 7,
    device: Annotated[str | None, typer.Option(help="Where pictures are encoded; by default MORELIKE_DEVICE.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Torch threads; 0 takes one per core.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for report.json, plots and page.html.")] = Path("evaluation"),
) -> None:
    """Measure relevance feedback: tables, JSON, plots and a page with pictures."""
    given = {"queries": queries, "pictured": pictures, "seed": seed, "accumulate": accumulate, "turns": turns}
    plan = _plan(protocol, study, tokens, given)
    if captions is None:
        _write(_on_catalogue(plan, asked, products, summarizer or []), out)
        return
    data = Photographs(captions, images, split, caption_column, generated, references, references_split)
    _write(_on_photographs(data, plan, Opening(encoder, device, threads), summarizer or []), out)


@dataclass(frozen=True)
class Photographs:
    """What the command line says of the data."""

    captions: Path
    images: Path | None
    split: str | None
    caption_column: str | None
    generated: Path | None
    references: Path | None
    references_split: str | None


@dataclass(frozen=True)
class Opening:
    """What the command line says of the encoder."""

    source: str | None
    device: str | None
    threads: int


def _on_photographs(named: Photographs, plan: "Plan", opening: Opening, summarizers: list[str]) -> "Report":
    from backend.evaluation.datasets import open_dataset
    from backend.evaluation.photographs import Means, evaluate_photos
    from backend.settings import Settings

    data = open_dataset(
        named.captions,
        images=named.images,
        split=named.split,
        caption_column=named.caption_column,
        generated=named.generated,
    )
    logged = open_dataset(named.references, split=named.references_split) if named.references else None
    settings = Settings()
    encoder = opened_encoder(settings, opening)
    with told_by_bars() as told:
        means = Means(encoder, settings.home / "evaluation", _summarizers(summarizers, encoder.id), told, told)
        return evaluate_photos(data, means, plan, logged)


def _on_catalogue(plan: "Plan", asked: Path | None, products: int, summarizers: list[str]) -> "Report":
    """Of the stack that runs here. Its own summarizer is measured unless others are named."""
    from backend.blobs import BlobStore
    from backend.evaluation.catalogue import read_catalogue
    from backend.evaluation.catalogue_queries import caption_queries, read_queries
    from backend.evaluation.live import evaluate_catalogue, own_summarizer
    from backend.generations.encoders import open_recorded

    with opened() as stores, told_by_bars() as told:
        settings = stores.settings
        catalogue = read_catalogue(stores.sessions, BlobStore(settings.blob_dir), products)
        encoder = open_recorded(settings, catalogue.serving.encoder_id, catalogue.encoder_source)
        if asked is None:
            queries = caption_queries(catalogue, stores.sessions, plan.queries, seed=plan.seed)
        else:
            queries = read_queries(asked, catalogue, encoder)
        loaded = _summarizers(summarizers, encoder.id) or own_summarizer(stores.sessions, catalogue.serving)
        return evaluate_catalogue(catalogue, queries, loaded, plan, encoder_parameters=encoder.parameters, advance=told)


def _plan(protocol: Protocol, study: list[str] | None, tokens: Tokens, given: dict[str, Any]) -> "Plan":
    from backend.errors import Unprocessable
    from backend.evaluation.plan import Plan

    wanted = None if study in (None, ["all"]) else () if study == ["none"] else tuple(study or ())
    protocols: Any = ("first", "all") if protocol == Protocol.BOTH else (protocol.value,)
    form: Any = None if tokens == Tokens.COMPUTED else tokens.value
    try:
        return Plan(protocols, studies=wanted, form=form, **given)
    except ValueError as error:
        raise Unprocessable("This cannot be measured.", found=str(error)) from error


def opened_encoder(settings: "Settings", opening: Opening) -> "Encoder":
    """In full precision: differences of a thousandth are what is measured."""
    from backend.generations.encoders import DEMO_ENCODER
    from backend.ml.encoder import load_encoder

    return load_encoder(
        opening.source or settings.encoder,
        device=opening.device or settings.device,
        precision="fp32",
        threads=opening.threads,
        demo_dir=DEMO_ENCODER,
    )


def _summarizers(named: list[str], encoder_id: str) -> "dict[str, TokenSummarizer]":
    """Those ``named``, by name."""
    from backend.evaluation.plan import read_summarizer

    pairs = [one.rpartition("=") for one in named]
    return {name or Path(path).stem: read_summarizer(Path(path), encoder_id) for name, _, path in pairs}


def _write(report: "Report", out: Path) -> None:
    from rich.console import Console

    from backend.evaluation.page import write_page
    from backend.evaluation.plots import write_plots
    from backend.evaluation.tables import show

    out.mkdir(parents=True, exist_ok=True)
    report.write_json(out / "report.json")
    write_plots(report, out)
    write_page(report, out / "page.html")
    show(report, Console())
    typer.echo(f"Written: {out / 'page.html'}, report.json and plots beside it.")


@contextmanager
def told_by_bars() -> "Iterator[Callable[[str, int, int], None]]":
    """A progress bar for whatever is under way, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        shown = progress.add_task("", total=None)

        def told(what: str, done: int, total: int) -> None:
            if progress.tasks[0].description != what:
                progress.reset(shown, description=what)
            progress.update(shown, completed=done, total=total)

        yield told
