"""``morelike evaluate adapters``: what heads on a frozen encoder bring, and what they cost."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.evaluate import Opening, evaluations, opened_encoder, told_by_bars
from backend.commands.stores import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.evaluation.adapters.paired import PairedTexts
    from backend.evaluation.adapters.plan import Plan
    from backend.evaluation.adapters.report import Report
    from backend.ml.adapter_plan import AdapterPlan


@dataclass(frozen=True)
class Source:
    """What the command line says of some pairs."""

    pairs: Path
    images: Path | None = None
    split: str | None = None
    caption_column: str | None = None


@dataclass(frozen=True)
class Wanted:
    """What the command line says is measured."""

    methods: list[str] | None
    studies: list[str] | None
    changes: list[str]
    folds: int
    seeds: int
    first: int
    trials: int
    record: Path
    pictures: int


@evaluations.command("adapters")
def adapters(
    pairs: Annotated[
        Path | None,
        typer.Argument(
            help="Vectors (.npz with image and text), or captions of pictures as `evaluate feedback` reads; without, "
            "the live catalogue."
        ),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder or zip of the pictures.")] = None,
    split: Annotated[str | None, typer.Option(help="Captions: rows to take; by default test or val.")] = None,
    caption_column: Annotated[str | None, typer.Option(help="Captions: their column; else found out.")] = None,
    products: Annotated[int, typer.Option(min=10, help="Live catalogue: most products read.")] = 5000,
    retention: Annotated[
        Path | None, typer.Option(help="Pairs of the same encoder that are only asked: what must not be forgotten.")
    ] = None,
    retention_images: Annotated[Path | None, typer.Option(help="Folder or zip of their pictures.")] = None,
    retention_split: Annotated[str | None, typer.Option(help="Rows of --retention to take.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder; by default that of MORELIKE_ENCODER.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Row by name: naive, probe, text, both, shared, hard, alpha. Default: all."),
    ] = None,
    study: Annotated[
        list[str] | None, typer.Option(help="Sweep by name: alpha, pairs, scale; `all`, or `none`. Default: all.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE: of the plan that heads are trained by.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the products, each held out once.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Times that all is repeated.")] = 3,
    seed: Annotated[int, typer.Option(help="The first of them.")] = 1,
    search: Annotated[int, typer.Option(min=0, help="Trials of a search for hyper-parameters; 0 for none.")] = 0,
    pictures: Annotated[int, typer.Option(min=0, max=50, help="Queries pictured for each method, of each kind.")] = 3,
    mlflow: Annotated[str | None, typer.Option(help="Also log there; by default MORELIKE_MLFLOW_URI.")] = None,
    device: Annotated[str | None, typer.Option(help="Where pictures are encoded; by default MORELIKE_DEVICE.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Torch threads; 0 takes one per core.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for report.json, plots and page.html.")] = Path("evaluation"),
) -> None:
    """Measure adapters on held-out products: tables, JSON, plots and a page with pictures."""
    record = out / "trials.jsonl"
    plan = _plan(Wanted(method, study, change or [], folds, seeds, seed, search, record, pictures))
    opening = Opening(encoder, device, threads)
    out.mkdir(parents=True, exist_ok=True)
    with told_by_bars() as told:
        source = None if pairs is None else Source(pairs, images, split, caption_column)
        data = _shop(products) if source is None else _read(source, opening, told)
        kept = _read(Source(retention, retention_images, retention_split), opening, told) if retention else None
        report = _measured(data, kept, plan, threads, told)
    _write(report, out)
    _log(report, out, mlflow)


def _plan(wanted: Wanted) -> "Plan":
    from backend.errors import Unprocessable
    from backend.evaluation.adapters.experiment import Protocol
    from backend.evaluation.adapters.methods import RATES, chosen_methods, chosen_studies
    from backend.evaluation.adapters.plan import Plan

    adapter = _adapter(wanted.changes)
    none = () if wanted.studies == ["none"] else None if wanted.studies in (None, ["all"]) else wanted.studies
    rates = () if any(change.startswith("rate=") for change in wanted.changes) else RATES
    try:
        return Plan(
            methods=chosen_methods(adapter, wanted.methods, rates),
            studies=chosen_studies(adapter, none, rates),
            protocol=Protocol(wanted.folds, wanted.seeds, first=wanted.first),
            adapter=adapter,
            trials=wanted.trials,
            record=wanted.record,
            pictured=wanted.pictures,
        )
    except ValueError as error:
        raise Unprocessable("This cannot be measured.", found=str(error)) from error


def _adapter(changes: list[str]) -> "AdapterPlan":
    """The plan with what ``--set`` says of it."""
    from dataclasses import asdict

    from pydantic import TypeAdapter, ValidationError

    from backend.errors import Unprocessable
    from backend.ml.adapter_plan import AdapterPlan

    values = asdict(AdapterPlan())
    given = dict(change.partition("=")[::2] for change in changes)
    if unknown := sorted(set(given) - set(values)):
        raise Unprocessable("The plan has no such value.", found=unknown, expected=sorted(values))
    try:
        return TypeAdapter(AdapterPlan).validate_python(values | given)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise Unprocessable("This is no plan to train by.", found=found) from error


def _read(source: Source, opening: Opening, told: "Callable[[str, int, int], None]") -> "PairedTexts":
    from backend.evaluation.adapters.paired import paired_photos, read_embeddings
    from backend.evaluation.datasets import open_dataset
    from backend.evaluation.features import compute_features
    from backend.settings import Settings

    if source.pairs.suffix == ".npz":
        return read_embeddings(source.pairs, source.images)
    data = open_dataset(source.pairs, images=source.images, split=source.split, caption_column=source.caption_column)
    settings = Settings()
    encoder = opened_encoder(settings, opening)
    features = compute_features(encoder, data, settings.home / "evaluation", tokens=False, progress=told)
    return paired_photos(data, features)


def _shop(products: int) -> "PairedTexts":
    """The catalogue of the stack that runs here."""
    from backend.blobs import BlobStore
    from backend.evaluation.adapters.shop import read_shop

    with opened() as stores:
        return read_shop(stores.sessions, BlobStore(stores.settings.blob_dir), products)


def _measured(
    data: "PairedTexts",
    retention: "PairedTexts | None",
    plan: "Plan",
    threads: int,
    told: "Callable[[str, int, int], None]",
) -> "Report":
    import torch

    from backend.evaluation.adapters.plan import evaluate_adapters

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return evaluate_adapters(data, plan, retention=retention, advance=told)
    finally:
        torch.set_num_threads(before)


def _write(report: "Report", out: Path) -> None:
    from rich.console import Console

    from backend.evaluation.adapters.page import write_page
    from backend.evaluation.adapters.plots import write_plots
    from backend.evaluation.adapters.tables import show

    report.write_json(out / "report.json")
    write_plots(report, out)
    write_page(report, out / "page.html")
    show(report, Console())
    typer.echo(f"Written: {out / 'page.html'}, report.json and plots beside it.")


def _log(report: "Report", out: Path, uri: str | None) -> None:
    """Where a tracking server is named: a run a row, and one with the files."""
    from dataclasses import asdict

    from backend.evaluation.adapters.report import numbers
    from backend.settings import Settings
    from backend.tracking import Tracker

    if address := uri or Settings().mlflow_uri:
        tracker = Tracker(address, f"adapters on {report.data}")
        for row in report.rows:
            tracker.log(row.name, report.setting["adapter"], numbers(row))
        tracker.log("report", asdict(report)["setting"], {}, files=out)
        typer.echo(f"Logged to {address}.")


def register(app: typer.Typer) -> None:
    """``evaluate adapters`` hangs below ``evaluate``, which `evaluate` adds to ``app``."""
    del app
