"""What the person who started the stack sees."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class Terminal:
    """Steps with a tick and their seconds, and lines that something happened."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show ``what`` while it goes on and when it is done."""
        began = time.monotonic()
        with self.console.status(f"{escape(what)} …"):
            yield
        seconds = time.monotonic() - began
        self.console.print(f"[green]✓[/green] {escape(what)} [dim]{seconds:.1f} s[/dim]", highlight=False)

    def say(self, line: str) -> None:
        """Show ``line``, with the time: the stack may have run for days."""
        stamp = time.strftime("%H:%M:%S")
        self.console.print(f"[dim]{stamp}[/dim] {escape(line)}", highlight=False, soft_wrap=True)

    def show(self, line: str = "") -> None:
        """Show ``line`` as it is, for people to copy."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
