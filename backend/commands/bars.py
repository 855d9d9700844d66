"""One progress bar for a command that does one thing after another."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@contextmanager
def bars() -> "Iterator[Callable[[str, int, int], None]]":
    """A progress bar for whatever is under way, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        shown = progress.add_task("", total=None)

        def told(what: str, done: int, total: int) -> None:
            progress.update(shown, description=what, completed=done, total=total)

        yield told
