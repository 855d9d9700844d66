"""``morelike experiment``: who sees what."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.stores import opened
from backend.errors import Unprocessable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from backend.experiments.models import Experiment
    from backend.experiments.schemas import ExperimentRead
    from backend.settings import Settings

ACTOR = "command line"

experiments = typer.Typer(
    help="Experiments: arms of generations and policies, and who is in them.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The experiment, as `morelike experiment list` shows it: e3.")]


def register(app: typer.Typer) -> None:
    """Add ``experiment`` to ``app``."""
    app.add_typer(experiments, name="experiment")


@experiments.command("list")
def show_all() -> None:
    """List experiments, the newest first."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from backend.experiments.lifecycle import list_experiments

    heads = ("id", "name", "layer", "status", "traffic", "coverage", "arms", "from, to")
    table = Table(*heads, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    with _session() as (session, _settings):
        for one in list_experiments(session, 50):
            times = "\n".join(f"{at:%y-%m-%d %H:%M}" for at in (one.started_at, one.ended_at) if at)
            arms = "\n".join(_arm(arm) for arm in one.arms)
            shares = (f"{share:.2%}" for share in (one.traffic, one.coverage))
            table.add_row(f"e{one.id}", one.name, f"{one.layer}, {one.method}", one.status, *shares, arms, times)
    Console().print(table)


@experiments.command("show")
def show(name: Name) -> None:
    """Print one experiment as JSON, with an estimate of how long it takes."""
    from backend.experiments.lifecycle import find_experiment

    _run(lambda session: find_experiment(session, _number(name)))


@experiments.command("create")
def create(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The experiment as JSON, as the API takes it.")
    ],
) -> None:
    """Make an experiment, as a draft."""
    from pydantic import ValidationError

    from backend.catalog.schemas import problems
    from backend.experiments.lifecycle import create_experiment
    from backend.experiments.schemas import ExperimentIn

    try:
        asked = ExperimentIn.model_validate_json(file.read_bytes())
    except ValidationError as error:
        said = "; ".join(
            f"{one.field or 'it'}: found {one.found!r}, expected {one.expected}" for one in problems(error)
        )
        raise Unprocessable(f"this is no experiment: {said}") from error
    _run(lambda session: create_experiment(session, asked, actor=ACTOR))


@experiments.command("start")
def start(name: Name) -> None:
    """Let a draft assign units; every process follows within seconds."""
    from backend.experiments.lifecycle import start_experiment

    _run(lambda session: start_experiment(session, _number(name), actor=ACTOR))


@experiments.command("ramp")
def ramp(
    name: Name,
    traffic: Annotated[float | None, typer.Option(help="Share of the layer that it has from now on.")] = None,
    coverage: Annotated[float | None, typer.Option(help="Share of that which takes part from now on.")] = None,
) -> None:
    """Let more units in; nobody who is in changes arms."""
    from backend.experiments.lifecycle import ramp_experiment
    from backend.experiments.schemas import RampIn

    _check_shares(traffic, coverage)
    asked = RampIn(traffic=traffic, coverage=coverage)
    _run(lambda session: ramp_experiment(session, _number(name), asked, actor=ACTOR))


@experiments.command("stop")
def stop(name: Name) -> None:
    """Send everybody back to what is live."""
    from backend.experiments.lifecycle import stop_experiment

    _run(lambda session: stop_experiment(session, _number(name), actor=ACTOR))


@experiments.command("conclude")
def conclude(
    name: Name,
    winner: Annotated[str | None, typer.Option(help="The arm that won; none where none did.")] = None,
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Note what was decided, and end it if it runs."""
    from backend.experiments.lifecycle import conclude_experiment
    from backend.experiments.schemas import ConcludeIn

    asked = ConcludeIn.model_construct(winner=winner, note=note[:1000])
    _run(lambda session: conclude_experiment(session, _number(name), asked, actor=ACTOR))


@experiments.command("results")
def results(name: Name) -> None:
    """Print what an experiment came to so far as JSON: arms, sample ratio, metrics, verdict."""
    from backend.experiments.lifecycle import find_experiment
    from backend.experiments.results import NEEDED, results_of

    with _session() as (session, settings):
        one = find_experiment(session, _number(name))
        found = results_of(session, one, needed=settings.screen_units if one.purpose else NEEDED)
    typer.echo(found.model_dump_json(indent=2))


@experiments.command("override")
def override(
    name: Name,
    arm: Annotated[str | None, typer.Argument(help="Its arm; without one the tester is taken out again.")] = None,
    shopper: Annotated[str | None, typer.Option(help="The tester's anonymous id.")] = None,
    user: Annotated[str | None, typer.Option(help="The tester's id when signed in.")] = None,
) -> None:
    """Put a tester into an arm, before or after the start."""
    from backend.experiments.lifecycle import override as put
    from backend.experiments.routes import hashed_tester

    _run(lambda session: put(session, _number(name), hashed_tester(session, shopper, user), arm, actor=ACTOR))


@experiments.command("explore")
def explore(
    share: Annotated[float | None, typer.Option(help="Share of sessions that explore from now on; 0 is none.")] = None,
) -> None:
    """Print how many sessions explore, how, and what it costs at most; change the share where one is given."""
    from backend.experiments.exploration import ExplorationChange, change_exploration, read_exploration

    if share is not None and not 0 <= share <= 1:
        raise Unprocessable("this is no share", found=share, expected="0 to 1")
    with _session() as (session, settings):
        default = settings.exploration_share
        if share is None:
            found = read_exploration(session, default)
        else:
            asked = ExplorationChange(share=share)
            found = change_exploration(session, asked, default_share=default, actor=ACTOR)
    typer.echo(found.model_dump_json(indent=2))


@contextmanager
def _session() -> "Iterator[tuple[Session, Settings]]":
    from backend.db import session_scope

    with opened() as stores, session_scope(stores.sessions) as session:
        yield session, stores.settings


def _run(change: "Callable[[Session], Experiment]") -> None:
    from backend.experiments.routes import shown

    with _session() as (session, settings):
        found: ExperimentRead = shown(session, change(session), settings)
    typer.echo(found.model_dump_json(indent=2))


def _number(name: str) -> int:
    if re.fullmatch("e?[0-9]{1,18}", name) is None:
        raise Unprocessable("this names no experiment", found=name, expected="e3")
    return int(name.removeprefix("e"))


def _check_shares(*shares: float | None) -> None:
    for share in shares:
        if share is not None and not 0.0001 <= share <= 1:
            raise Unprocessable("this is no share", found=share, expected="0.0001 to 1")


def _arm(arm: dict[str, Any]) -> str:
    """``g8 x1: g8, gentle``."""
    generation = f"g{arm['generation_id']}" if arm["generation_id"] else None
    explores = json.dumps(arm["exploration"]) if arm["exploration"] else None
    said = ", ".join(each for each in (generation, arm["refine_policy"], explores) if each)
    return f"{arm['name']} x{arm['weight']:g}{f': {said}' if said else ''}"
