"""``morelike evaluate``: quality, measured on data of one's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.evaluation.photographs import Means, Plan
    from backend.evaluation.report import Report
    from backend.ml.encoder import Encoder

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
        Path,
        typer.Argument(
            help="Captions: Karpathy's JSON (Flickr30k, COCO), or JSON lines or CSV with image and caption."
        ),
    ],
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
    """Measure relevance feedback on photographs with captions: tables, JSON, plots and a page with pictures."""
    from backend.evaluation.datasets import open_dataset
    from backend.evaluation.photographs import evaluate_photos

    data = open_dataset(captions, images=images, split=split, caption_column=caption_column, generated=generated)
    logged = open_dataset(references, images=references.parent, split=references_split) if references else None
    plan = _plan(
        protocol, turns, study, accumulate=accumulate, queries=queries, pictured=pictures, seed=seed, tokens=tokens
    )
    opened = _encoder(encoder, device, threads)
    with _bars() as told:
        means = _means(opened, summarizer or [], told)
        report = evaluate_photos(data, means, plan, logged)
    _write(report, out)


def _plan(protocol: Protocol, turns: int, study: list[str] | None, *, tokens: Tokens, **chosen: Any) -> "Plan":
    from backend.errors import Unprocessable
    from backend.evaluation.photographs import Plan

    wanted = None if study in (None, ["all"]) else () if study == ["none"] else tuple(study or ())
    protocols: Any = ("first", "all") if protocol == Protocol.BOTH else (protocol.value,)
    form: Any = None if tokens == Tokens.COMPUTED else tokens.value
    try:
        return Plan(protocols, turns, studies=wanted, form=form, **chosen)
    except ValueError as error:
        raise Unprocessable("This cannot be measured.", found=str(error)) from error


def _encoder(source: str | None, device: str | None, threads: int) -> "Encoder":
    """In full precision: differences of a thousandth are what is measured."""
    from backend.generations.encoders import DEMO_ENCODER
    from backend.ml.encoder import load_encoder
    from backend.settings import Settings

    settings = Settings()
    return load_encoder(
        source or settings.encoder,
        device=device or settings.device,
        precision="fp32",
        threads=threads,
        demo_dir=DEMO_ENCODER,
    )


def _means(encoder: "Encoder", summarizers: list[str], told: "Callable[[str, int, int], None]") -> "Means":
    from backend.evaluation.photographs import Means, read_summarizer
    from backend.settings import Settings

    opened = {}
    for named in summarizers:
        name, _, path = named.rpartition("=")
        opened[name or Path(path).stem] = read_summarizer(Path(path), encoder)
    return Means(encoder, Settings().home / "evaluation", opened, told, told)


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
def _bars() -> "Iterator[Callable[[str, int, int], None]]":
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
