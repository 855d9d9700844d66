"""``morelike nightly``: learn from what shoppers did, now; how far it is; what came of it."""

import math
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.stores import Stores, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.generations.models import EncoderRecord
    from backend.learning.adapter_data import Encode
    from backend.learning.models import NightlyRun, NightlyStep
    from backend.learning.nightly.begin import NightAsked
    from backend.learning.nightly.night import Works

ACTOR = "command line"
SHOWN = 10

nights = typer.Typer(help="The nightly job: a better generation, or a sentence why not.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The night, as `morelike nightly status` shows it: n7; the last one.")]


def register(app: typer.Typer) -> None:
    """Add ``nightly`` to ``app``."""
    app.add_typer(nights, name="nightly")


@nights.command("run")
def run(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Learn and judge, and change nothing.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what a night would do and what its gates wait for, and do nothing.")
    ] = False,
    item_heads: Annotated[
        bool | None, typer.Option(help="Let heads of items learn, too; without this, where their time has come.")
    ] = None,
    window_days: Annotated[float | None, typer.Option(min=0.01, max=3660, help="Days that are learned from.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Of everything drawn at random.")] = None,
) -> None:
    """Work on a night now, in this process; without options, one that was left half-way is taken up first."""
    from backend.learning.nightly.begin import NightAsked

    asked = NightAsked(ACTOR, None, dry_run, item_heads, window_days, seed)
    with opened() as stores:
        if explain:
            _explain(stores, asked)
            return
        say(_worked_on(stores, asked))


@nights.command("status")
def status() -> None:
    """Show the last nights, and how far each step of the newest is."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from backend.db import session_scope
    from backend.learning.nightly.runs import list_nights, steps_of

    table = Table("night", "begun", "state", "generation", "said", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    with opened() as stores, session_scope(stores.sessions) as session:
        found = list_nights(session, SHOWN)
        for one in found:
            said = one.error or one.reason
            made = f"g{one.generation_id}" if one.generation_id else ""
            table.add_row(f"n{one.id}", f"{one.started_at:%y-%m-%d %H:%M}", one.outcome or one.state, made, said)
        steps = steps_of(session, found[0].id) if found else []
        typer.echo("" if found else "No night has been yet. ", nl=False)
        at = stores.settings.nightly_at
        typer.echo("No schedule: MORELIKE_NIGHTLY_AT is off." if at == "off" else f"The schedule's time is {at} UTC.")
    if found:
        Console().print(table)
        Console().print(_steps(steps))


@nights.command("report")
def report(name: Name = "") -> None:
    """Show what a night came to: its gates, what each of them found, and what it waits for."""
    from rich.console import Console

    from backend.db import session_scope
    from backend.errors import NotFound
    from backend.learning.nightly.runs import find_night, list_nights, steps_of

    with opened() as stores, session_scope(stores.sessions) as session:
        last = [] if name else list_nights(session, 1)
        if not name and not last:
            raise NotFound("No night has been yet.", expected="`morelike nightly run`, or the schedule's time")
        found = last[0] if last else find_night(session, number_of(name))
        steps, measured = steps_of(session, found.id), found.report
    say(found)
    for trial in ("screen", "guard"):
        if told := measured.get(trial):
            named = f"{trial.capitalize()} {told['experiment'] or ''}".rstrip()
            typer.echo(f"{named}, {told['state']}: {told['sentence']}")
    Console().print(_steps(steps))
    for table in _gates(measured.get("night", {})):
        Console().print(table)


@nights.command("cancel")
def cancel() -> None:
    """End the night that is under way: what it has not changed by now, it never will."""
    from backend.db import session_scope
    from backend.errors import Conflict
    from backend.learning.nightly.begin import cancel_night
    from backend.learning.nightly.runs import running_night

    with opened() as stores, session_scope(stores.sessions) as session:
        running = running_night(session)
        if running is None:
            raise Conflict("No night is under way.")
        cancel_night(session, running.id, actor=ACTOR)
    typer.echo(f"n{running.id} is cancelled.")


def say(run: "NightlyRun") -> None:
    """One line about a night."""
    made = f" as g{run.generation_id}" if run.generation_id else ""
    what = {"promoted": f"live{made}", "ready": f"ready{made}", "screening": f"on trial{made}"}
    what["rolled_back"] = f"rolled back{made}"
    said = run.error if run.state == "failed" else run.reason
    typer.echo(f"n{run.id}: {what.get(run.outcome or '', run.outcome or run.state)}. {said}".rstrip())


def number_of(name: str) -> int:
    """``n7`` -> 7.

    Raises:
        NotFound: it is no night's name.
    """
    from backend.errors import NotFound

    if re.fullmatch("n?[0-9]{1,18}", name) is None:
        raise NotFound("this is no night", found=name, expected="n7")
    return int(name.removeprefix("n"))


def _worked_on(stores: Stores, asked: "NightAsked") -> "NightlyRun":
    """The night after this process has worked on it: the one that was left half-way, else a new one."""
    from backend.commands.bars import bars
    from backend.db import session_scope
    from backend.learning.nightly.begin import NightAsked, NightRunning, begin_night
    from backend.learning.nightly.runs import running_night
    from backend.learning.nightly.steps import NIGHT
    from backend.learning.nightly.work import take_up
    from backend.logs import configure_logs

    configure_logs("WARNING", as_json=False)  # the bar says how far it is
    with session_scope(stores.sessions) as session:
        left = running_night(session)
        same = NightAsked(asked.actor, dry_run=left.dry_run) if left is not None else asked
        if left is not None and asked != same:
            said = "The night that was left half-way is not the one that is asked for: wait for it, or cancel it."
            raise NightRunning(said, found=f"n{left.id}", expected="`morelike nightly cancel`")
        number = left.id if left is not None else begin_night(session, stores.settings, asked).id
    try:
        with bars() as told:
            run = take_up(_works(stores, told), NIGHT, number)
    except KeyboardInterrupt:
        typer.echo(f"n{number} is left half-way: a worker takes it up, or `morelike nightly cancel` ends it.", err=True)
        raise typer.Exit(130) from None
    if run is None:
        raise NightRunning("A worker has taken this night up: see `morelike nightly status`.", found=f"n{number}")
    return run


def _explain(stores: Stores, asked: "NightAsked") -> None:
    from rich.console import Console

    from backend.db import session_scope
    from backend.learning.nightly.explain import explain_night

    with session_scope(stores.sessions) as session:
        found = explain_night(session, stores.settings, asked)
    run = found.run
    typer.echo(f"It would learn from {found.lists:,} lists since {run.window_from:%Y-%m-%d %H:%M} UTC,")
    typer.echo(f"with {found.satisfied:,} products that shoppers stayed on, kept or bought, in these arms:")
    typer.echo(f"{', '.join(found.arms)}; against g{run.production_id}, which is live.")
    if run.options["identity"]:
        typer.echo(f"g{run.production_id} has learned from rows that were erased since: nothing is carried on from it.")
    waits = _waits([one.to_json() for one in found.waits])
    if waits is None:
        typer.echo("Every gate has enough to decide by, as far as counts tell.")
    else:
        Console().print(waits)


def _works(stores: Stores, told: Any) -> "Works":
    from backend.learning.nightly.night import Works

    def encoder(record: "EncoderRecord") -> "Encode":
        from backend.generations.encoders import open_recorded

        return open_recorded(stores.settings, record.id, record.source).encode_texts

    return Works(stores.sessions, stores.queue, stores.settings, encoder, told=told)


def _steps(steps: "Sequence[NightlyStep]") -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("step", "state", "seconds", "what", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for step in steps:
        took = (step.ended_at - step.started_at).total_seconds() if step.started_at and step.ended_at else None
        progress = step.progress
        what = ", ".join(f"{key} {value}" for key, value in step.result.items()) or (
            f"{progress['what']}: {progress['done']:,} of {progress['total']:,}" if progress else ""
        )
        table.add_row(step.name, step.state, "" if took is None else f"{took:.1f}", what)
    return table


def _gates(verdict: dict[str, Any]) -> "list[Any]":
    """A table of each gate's checks, and one of what the gates wait for."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    look: dict[str, Any] = {"box": SIMPLE_HEAD, "show_edge": False, "pad_edge": False}
    tables = []
    for gate in verdict.get("gates", []):
        said = {True: "passed", False: "refused", None: "untested"}[gate["passed"]]
        table = Table("check", "found", "expected", "", title=f"{gate['id']} {gate['title']}: {said}", **look)
        for check in gate["checks"]:
            passed = {True: "yes", False: "no", None: "" if check["sense"] == "told" else "untested"}[check["passed"]]
            asked = {"least": "at least ", "most": "at most "}.get(check["sense"], "") + _plain(check["expected"])
            found = _plain(check["found"])
            if "low" in check:  # what is asked is asked of the interval's end
                found += f" ({_plain(check['low'])} to {_plain(check['high'])})"
            table.add_row(check["name"], found, asked if check["expected"] is not None else "", passed)
        tables.append(table)
    waits = _waits(verdict.get("waits", []))
    return tables if waits is None else [*tables, waits]


def _waits(waits: list[dict[str, Any]]) -> Any:
    """A table of what the gates wait for, and how long that takes at this rate; None where they wait for nothing."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if not waits:
        return None
    look: dict[str, Any] = {"box": SIMPLE_HEAD, "show_edge": False, "pad_edge": False}
    table = Table("gate", "waits for", "found", "needed", "days", title="What the gates wait for", **look)
    for one in waits:
        days = math.ceil((one["needed"] - one["found"]) / one["per_day"]) if one["per_day"] else None
        table.add_row(one["gate"], one["what"], _plain(one["found"]), _plain(one["needed"]), _plain(days))
    return table


def _plain(value: Any) -> str:
    return "" if value is None else f"{value:,.4g}" if isinstance(value, float) else str(value)
