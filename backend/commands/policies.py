"""``morelike policy``: ways to refine, by name."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.stores import opened
from backend.errors import Unprocessable

if TYPE_CHECKING:
    from backend.search.refinement.policies import NamedPolicy

ACTOR = "command line"

policies = typer.Typer(help="Refine policies: how feedback moves a search.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``policy`` to ``app``."""
    app.add_typer(policies, name="policy")


@policies.command("list")
def show_all() -> None:
    """List the policies that are built in, then those that were added."""
    from rich.console import Console
    from rich.table import Table

    from backend.db import session_scope
    from backend.search.refinement.policies import list_policies

    table = Table("name", "strategy", "parameters that differ from the defaults", "added by", "added")
    with opened() as stores, session_scope(stores.sessions) as session:
        for one in list_policies(session):
            table.add_row(*_columns(one))
    Console().print(table)


@policies.command("show")
def show(name: Annotated[str, typer.Argument(help="Name of the policy.")]) -> None:
    """Print a policy with all of its parameters, as JSON."""
    from backend.db import session_scope
    from backend.search.refinement.policies import POLICY, find_policy

    with opened() as stores, session_scope(stores.sessions) as session:
        found = find_policy(session, name)
    typer.echo(json.dumps(POLICY.dump_python(found.policy, mode="json"), indent=2))


@policies.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits, `_`, `.` and `-`.")],
    based_on: Annotated[
        str | None, typer.Option(help="Policy whose parameters it takes where nothing else is said.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter, as drift_budget=0.8 or likes.c=0.2; may be repeated."),
    ] = None,
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Parameters as a JSON object.")] = None,
) -> None:
    """Add a policy. It never changes: another one needs another name."""
    from backend.db import session_scope
    from backend.search.refinement.policies import add_policy

    changes = _object(file.read_text(encoding="utf-8")) if file else {}
    for said in set_ or []:
        _put(changes, said)
    with opened() as stores, session_scope(stores.sessions) as session:
        add_policy(session, name, changes, base=based_on, actor=ACTOR)
    typer.echo(f"The policy {name} is there. MORELIKE_REFINE_POLICY={name} lets all refinements follow it.")


def _columns(one: "NamedPolicy") -> list[str]:
    from backend.search.refinement.policies import POLICY

    differing = POLICY.dump_python(one.policy, mode="json", exclude_defaults=True)
    differing.pop("strategy", None)
    shown = "\n".join(f"{name} {json.dumps(value)}" for name, value in differing.items())
    added = f"{one.created_at:%Y-%m-%d %H:%M}" if one.created_at else "built in"
    return [one.name, one.policy.strategy, shown, one.actor or "", added]


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError as error:
        raise Unprocessable(f"the file is not JSON: {error}", expected="a JSON object of parameters") from None
    if not isinstance(said, dict):
        raise Unprocessable("the file holds no parameters", found=said, expected="a JSON object")
    return said


def _put(changes: dict[str, Any], said: str) -> None:
    """Put ``likes.c=0.2`` into ``changes``. A value that is not JSON is a word."""
    path, equals, value = said.partition("=")
    *parts, last = path.split(".")
    if not equals or not all((*parts, last)):
        raise Unprocessable("this sets no parameter", found=said, expected="NAME=VALUE, as in drift_budget=0.8")
    place = changes
    for part in parts:
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            raise Unprocessable("a parameter is set twice, once as a whole", found=path, expected="one of both")
        place = inner
    try:
        place[last] = json.loads(value)
    except ValueError:
        place[last] = value
