"""``morelike shopper``: what is kept of one shopper, handed out or deleted."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.stores import opened
from backend.errors import Unprocessable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from backend.privacy.erase import Erased
    from backend.privacy.rows import Theirs

ACTOR = "command line"

shoppers = typer.Typer(help="One shopper's rows: hand them out, or delete them.", no_args_is_help=True)

UserId = Annotated[str | None, typer.Option(help="Id of the account; takes in the browsers that it was used in.")]
ShopperId = Annotated[str | None, typer.Option(help="Id of the browser or app.")]
SessionId = Annotated[str | None, typer.Option(help="Id of a session.")]


def register(app: typer.Typer) -> None:
    """Add ``shopper`` to ``app``."""
    app.add_typer(shoppers, name="shopper")


@shoppers.command("export")
def export(
    user_id: UserId = None,
    shopper_id: ShopperId = None,
    session_id: SessionId = None,
    to: Annotated[Path | None, typer.Option(dir_okay=False, help="File to write; without one it is printed.")] = None,
) -> None:
    """Write everything that is kept of one shopper, as JSON."""
    from backend.db import session_scope
    from backend.privacy.export import export as exported

    with opened() as stores, session_scope(stores.sessions) as session:
        found = exported(session, _theirs(session, user_id, shopper_id, session_id))
    written = json.dumps(found, indent=2, ensure_ascii=False)
    if to is None:
        typer.echo(written)
        return
    to.write_text(f"{written}\n", encoding="utf-8")
    typer.echo(f"{', '.join(f'{len(rows):,} {name}' for name, rows in found.items())} are in {to}")


@shoppers.command("erase")
def erase(
    user_id: UserId = None,
    shopper_id: ShopperId = None,
    session_id: SessionId = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Repeat every erasure that is remembered, after a backup was brought back.")
    ] = False,
) -> None:
    """Delete everything that is kept of one shopper. It cannot be undone."""
    from backend.db import session_scope
    from backend.privacy.erase import erase as erased
    from backend.privacy.erase import erase_again

    with opened() as stores, session_scope(stores.sessions) as session:
        if again:
            done = erase_again(session, actor=ACTOR)
        else:
            theirs = _theirs(session, user_id, shopper_id, session_id)
            if not yes:
                typer.confirm(f"Delete {len(theirs.query_ids):,} searches and all that was done with them?", abort=True)
            named = [one for one in (user_id, shopper_id, session_id) if one is not None]
            done = [erased(session, theirs, named=named, actor=ACTOR)]
    _say(done)


def _say(done: "Sequence[Erased]") -> None:
    for one in done:
        counts = ", ".join(f"{count:,} {name}" for name, count in one.counts.items() if count)
        typer.echo(f"Erasure {one.erasure} deleted {counts or 'nothing: there was nothing'}.")
        if one.generations:
            named = ", ".join(f"g{generation}" for generation in one.generations)
            typer.echo(f"Learned from days of theirs: {named}. The next training learns without them.")
    if not done:
        typer.echo("Every erasure that is remembered still holds.")


def _theirs(session: "Session", user_id: str | None, shopper_id: str | None, session_id: str | None) -> "Theirs":
    from backend.events.units import load_unit_hasher
    from backend.privacy.rows import find, hashed

    if not (user_id or shopper_id or session_id):
        raise Unprocessable("nobody is named", expected="--user-id, --shopper-id or --session-id")
    units = hashed(load_unit_hasher(session), user_id=user_id, shopper_id=shopper_id, session_id=session_id)
    return find(session, units)
